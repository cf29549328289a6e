"""The law of the sum: from the released masked sums to the published model, recomputed from what a witness saw."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fanlight.core import ring
from fanlight.core.masks import add_mask
from fanlight.core.packing import pack
from fanlight.core.segments import is_long
from fanlight.learning.algorithms.algorithm import Gathered, State
from fanlight.learning.heads import SoftmaxHead, head_layout
from fanlight.learning.held_back import HeldBack
from fanlight.learning.local_training import head_of, vector_of
from fanlight.learning.model_file import HeadModel, decode
from fanlight.protocol import aggregator_round, main_round
from fanlight.protocol.closing import (
    SUM_NOT_USABLE,
    Outcome,
    Release,
    Result,
    SignedOutcome,
    read_releases,
    stored_close,
    stored_verdict,
)
from fanlight.protocol.contribution import Totals, centre, check_sum, read_totals
from fanlight.protocol.digests import vector_digest
from fanlight.protocol.report import report_id
from fanlight.protocol.sealing import MASK_MAIN, mask_key
from fanlight.protocol.shards import Shard, divide
from fanlight.services.main_server.algorithm_memories import remembered
from fanlight.services.main_server.solving import solve
from fanlight.services.main_server.version_files import MODELS_FOLDER, read_version
from fanlight.storage.tables import main as main_tables
from tests.faults.laws import Law, law
from tests.faults.roles import MAIN
from tests.faults.view import View, rows
from tests.faults.witness import Report
from tests.faults.world import World


def check_sums(world: World, view: View) -> None:
    """From the released masked sums to the published model: nothing but the accepted reports is in it, all exact."""
    for mh, record in view.aggregator.items():
        if not record.release:
            continue
        close, verdict = stored_close(record.close), stored_verdict(record.verdict)
        accepted = {listed.device: report_id(listed.header) for listed in close.reports}
        accepted = {device: accepted[device] for device in verdict.accepted}
        shards = divide(record.terms.proposal, record.lots, record.cohort, accepted)
        _check_division(record, shards, accepted)
        sums = []
        for shard, release in zip(shards, read_releases(record.release), strict=True):
            reports = [world.witness.reports[accepted[device]] for device in shard.devices]
            sums.append(_check_sum(record, release, shard, reports))
        if record.outcome:
            outcome = Outcome.decode(SignedOutcome.decode(record.outcome).payload)
            _check_use(world, view.main[mh], outcome, shards, sums)


def _check_division(record: aggregator_round.Record, shards: Sequence[Shard], accepted: Collection[bytes]) -> None:
    """Each accepted report is in one sum, of ``k_min`` reports at least."""
    summed = [device for shard in shards for device in shard.devices]
    law(Law.SUM, sorted(summed) == sorted(accepted), f"round {record.number}: shards leave somebody out, or overlap")
    k_min = record.terms.proposal.k_min
    law(Law.SUM, all(len(shard.devices) >= k_min for shard in shards), f"round {record.number}: a small sum")


def _check_sum(
    record: aggregator_round.Record, release: Release, shard: Shard, reports: Sequence[Report]
) -> NDArray[np.int64]:
    """What was released of a shard is the sum of its reports; returns it, with all masks off."""
    layout = record.terms.proposal.layout
    total: NDArray[np.int64] = np.sum([report.plain for report in reports], axis=0)
    masked: NDArray[Any] = total.view(np.uint64) if is_long(layout) else total.astype(np.uint32)
    plain = centre(layout, masked.copy()).astype(np.int64)
    for report in reports:
        add_mask(masked, mask_key(report.seeds[MASK_MAIN], MASK_MAIN, record.mh, report.device))
    where = f"round {record.number}, shard {shard.number}"
    law(Law.SUM, (release.shard, release.count) == (shard.number, len(reports)), f"{where}: another set")
    same = release.sum_hash == vector_digest(ring.to_bytes(pack(masked, layout)))
    law(Law.SUM, same, f"{where}: the released sum is another one")
    return plain


def _check_use(
    world: World,
    record: main_round.Record,
    outcome: Outcome,
    shards: Sequence[Shard],
    sums: Sequence[NDArray[np.int64]],
) -> None:
    """Main has left out the sums that cannot be right, and published what follows from the others."""
    layout, number = record.terms.layout, record.number
    if len(shards) == 1 and outcome.shards is None:
        told = [outcome.reason]
    else:
        told = [shard.reason for shard in outcome.shards or ()]
    found = [check_sum(layout, plain, len(shard.devices)) for shard, plain in zip(shards, sums, strict=True)]
    said = [SUM_NOT_USABLE if reason else "ok" for reason in found]
    law(Law.SUM, told == said, f"round {number}: {told} is said, it is {found}")
    good = [(len(shard.devices), plain) for shard, plain, reason in zip(shards, sums, found, strict=True) if not reason]
    models = {row.round: row.sha256 for row in rows(world, MAIN, main_tables.models)}
    if 2 * len(good) < len(shards) or not good:
        law(Law.SUM, outcome.result == Result.FAILED, f"round {number} is {outcome.result} without good sums")
        law(Law.SUM, number not in models, f"failed round {number} has made a model")
        return
    law(Law.SUM, outcome.result == Result.RELEASED, f"round {number} is {outcome.result} with good sums")
    plain: NDArray[np.int64] = np.sum([one for _, one in good], axis=0)
    totals = read_totals(layout, plain, sum(count for count, _ in good))
    if totals.mean is None and totals.sums is None:
        law(Law.SUM, number not in models, f"measuring round {number} has made a model")
        return
    folder = world.folder / MAIN / MODELS_FOLDER
    after, start = (decode(read_version(folder, sha256)) for sha256 in (models[number], record.terms.model))
    head = _head(world, record, totals, start)
    same = np.array_equal(after.weight, head.weight) and np.array_equal(after.bias, head.bias)
    law(Law.SUM, same, f"round {number}: the model is not made of its sum")


def _head(world: World, record: main_round.Record, totals: Totals, start: HeadModel) -> SoftmaxHead:
    """What follows from the sum, by the task's own rule, as a whole; that nobody is held back, all tasks here say."""
    if totals.sums is not None:
        return solve(world.scenario.task.plan, totals.sums, HeldBack(np.zeros(len(start.classes), np.bool_)))[0]
    choice, layout = world.scenario.task.algorithm, head_layout(*start.weight.shape)
    with world.database(MAIN).reading() as tx:
        memory = remembered(tx, start.version, choice)
    control = None if totals.control is None else totals.control * totals.control_unit
    begun = choice.algorithm.init(vector_of(layout, start))
    before = State(begun.parameters, memory or begun.memory)
    assert totals.mean is not None
    after = choice.algorithm.apply(
        before, Gathered(totals.mean, totals.count, weight=totals.weight or 0, control=control)
    )
    return head_of(layout, after.parameters)
