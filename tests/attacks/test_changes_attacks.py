"""Attacks on rounds of changes: a sum that is one device's, company that is none, differences over several rounds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest

from fanlight.errors import NotPossibleNow, Refused
from fanlight.protocol import main_round
from fanlight.protocol.contribution import Contribution, Totals, expected_layout
from fanlight.protocol.device_round import Floors, History
from fanlight.protocol.exchange import Change
from fanlight.protocol.plan import Plan
from fanlight.protocol.statistics import STEPS, Sums
from fanlight.services.device.counted import Account, Counted
from fanlight.services.device.values import Values
from fanlight.services.main_server.changers import Changers
from fanlight.services.main_server.collected_sums import TOO_FEW_LEFT, Collected
from fanlight.storage.database import Database
from fanlight.storage.migrating import migrate
from tests.protocol_world import Round, World, contribution_of, floors, plan_of

WORLD = World(5, "changes attacks")
FEATURES, CLASSES, PICTURES = 3, 2, 5
SUPPORTED = np.array([1, 1])


def plan(kind: str = "changes") -> Plan:
    return plan_of(head="analytic", kind=kind)


def sums_of(number: int) -> Sums:
    draw = np.random.default_rng(number)
    parts = []
    for _ in range(2):
        phi = draw.normal(size=(PICTURES, FEATURES))
        phi /= np.linalg.norm(phi, axis=1, keepdims=True)
        y = draw.integers(0, CLASSES, PICTURES)
        gram = (phi.T @ phi)[np.triu_indices(FEATURES)]
        parts.append((gram, phi.T @ np.eye(CLASSES)[y], np.bincount(y, minlength=CLASSES)))
    return Sums.rounded(*parts)


def said(sums: Sums, members: int = 0) -> Contribution:
    supporters = SUPPORTED * members
    return replace(contribution_of(plan(), 0), update=None, sums=sums, members=members, supporters=supporters)


def joins(number: int) -> Contribution:
    return said(sums_of(number), 1)


def leaves(number: int) -> Contribution:
    return said(sums_of(number).without() - sums_of(number), -1)


def changes_round(by: Mapping[int, Contribution], attempt: int = 0) -> Round:
    """Open, after a round before; ``by`` are the devices that have reported, and what they say."""
    earlier = Round(WORLD, plan("statistics")).open()
    earlier.abandon()
    told = Round(WORLD, plan(), previous=earlier, round=2, collection=1, attempt=attempt).open()
    for number, contribution in by.items():
        sent = told.commit(WORLD.owners[number], contribution)
        told.send(sent)
        told.beacon(sent)
    return told


def collected_of(*numbers: int) -> Collected:
    total = sums_of(numbers[0])
    for number in numbers[1:]:
        total = total + sums_of(number)
    return Collected(total, SUPPORTED * len(numbers), len(numbers), 1, 1)


def release(told: Round, collected: Collected) -> main_round.Step:
    """As main's service takes a release."""

    def why(totals: Totals) -> str | None:
        return collected.changed(totals, 2).why_impossible(told.proposal.k_min)

    return WORLD.main.take_release(told.m, *told.release(), told.main_round_key, why)


def test_who_leaves_alone_stays_until_there_is_company() -> None:
    """The sum of a round of changes over one leaver would be the exact integers that it has sent."""
    told = changes_round({0: leaves(0)})
    with pytest.raises(NotPossibleNow, match="1 of the 2 reports"):
        told.close()
    told.abandon("too-few-reports")
    assert not told.end(told.reports[0]).was_included, "nothing is released, and its pictures stay counted"


def test_zeros_are_no_company() -> None:
    """An honest device with nothing to change does not fill a round up, whatever main asks."""
    told = changes_round({0: leaves(0)})
    for number in (1, 2, 3):
        with pytest.raises(NotPossibleNow) as caught:
            told.commit(WORLD.owners[number], said(sums_of(number) - sums_of(number)))
        assert caught.value.slug == "nothing-changed"
    assert len(told.reports) == 1


def test_a_round_below_the_floor_for_sums_of_squares_gets_no_difference() -> None:
    strict: Floors = floors(accept_demo=False, k_min=2)
    proposal = WORLD.proposal(plan(), demo=False, k_min=3, round=3, collection=1)
    signed = WORLD.sign_manifest(proposal)
    with pytest.raises(Refused) as caught:
        WORLD.owners[0].device.check_manifest(
            signed, plan(), proposal.model, None, strict, History({}, 0), proposal.window_s
        )
    assert caught.value.slug == "below-floor"


def test_two_leavers_of_three_do_not_leave_the_third_alone_in_the_sums() -> None:
    """The sum of 0 and 1 is allowed by itself; taken from that of 0, 1 and 2 it would be what 2 has sent."""
    changers = Changers()
    told = changes_round({0: leaves(0), 1: leaves(1)})
    for number in (0, 1):
        changers.say(WORLD.owners[number].id, 1, Change.LEAVES)
    devices = [owner.id for owner in WORLD.owners[:2]]
    assert changers.left_after(3, 1, devices) == 1
    step = WORLD.main.judge(
        told.m,
        told.close(),
        WORLD.members,
        told.beacons,
        told.main_round_key,
        bytes(32),
        lambda accepted: TOO_FEW_LEFT if changers.left_after(3, 1, accepted) < told.proposal.k_min else None,
    )
    verdict = WORLD.main.verdict(step.record)
    assert verdict is not None
    assert (verdict.proceed, verdict.reason) == (False, TOO_FEW_LEFT)
    told.m = step.record
    told.take_verdict(step.reply)
    with pytest.raises(NotPossibleNow):
        told.release()


def test_who_says_it_stays_and_leaves_makes_the_round_fail() -> None:
    """What devices announce is not believed where it matters: the sum says how many are left."""
    collected = collected_of(0, 1, 2)
    told = changes_round({0: leaves(0), 1: leaves(1)}).agree()
    step = release(told, collected)
    assert step.totals is None
    assert step.flaws == (TOO_FEW_LEFT,)


@pytest.mark.parametrize("part", ["gram", "class_sums", "examples"])
def test_a_cheat_that_takes_out_more_than_it_put_in_spoils_the_round_and_no_model(part: str) -> None:
    """Its difference lies in the range; what it leaves behind are no sums of pictures."""
    collected = collected_of(0, 1, 2)
    out = sums_of(0).without() - sums_of(0)
    numbers = getattr(out, part).copy()
    numbers -= 40 * (1 if part == "examples" else STEPS)
    told = changes_round({0: said(replace(out, **{part: numbers}), -1), 3: joins(3)}).agree()
    step = release(told, collected)
    assert told.m.at is main_round.State.JUDGED
    assert step.record.at is main_round.State.FAILED
    assert step.totals is None


def test_over_a_row_of_rounds_of_changes_no_device_is_in_what_main_knows_alone() -> None:
    """Everything main knows are sums; whichever way they are added and subtracted, none is one device's sums.

    A column for each of 0 to 4's sums, before and after a change; a row for each sum that main was given.
    """
    known = []
    collected = collected_of(0, 1, 2, 3)
    row = {(number, "first"): 1 for number in range(4)}
    known.append(row)
    changed = said(sums_of(11) - sums_of(1))
    for by, meaning in (
        ({0: leaves(0), 4: joins(4)}, {(0, "first"): -1, (4, "first"): 1}),
        ({1: changed, 2: leaves(2)}, {(1, "first"): -1, (1, "second"): 1, (2, "first"): -1}),
        ({3: said(sums_of(13) - sums_of(3)), 4: leaves(4), 2: joins(2)},
         {(3, "first"): -1, (3, "second"): 1, (4, "first"): -1, (2, "first"): 1}),
    ):  # fmt: skip
        told = changes_round(by).agree()
        step = release(told, collected)
        assert step.totals is not None
        collected = collected.changed(step.totals, 2)
        known.append(meaning)
    unknowns = sorted({unknown for row in known for unknown in row})
    matrix = np.array([[row.get(unknown, 0) for unknown in unknowns] for row in known], float)
    assert np.linalg.matrix_rank(matrix) == len(known)
    for index, unknown in enumerate(unknowns):
        alone = np.zeros(len(unknowns))
        alone[index] = 1.0
        assert np.linalg.matrix_rank(np.vstack([matrix, alone])) == len(known) + 1, unknown
    expected = sums_of(11) + sums_of(13) + sums_of(2)
    assert (collected.sums - expected).is_empty


def test_main_that_calls_a_round_failed_and_asks_again_without_one_device_has_its_difference() -> None:
    """Succeeds: a history, as with any two sums that differ in one device; differences are exact, so it sees all."""
    by = {0: leaves(0), 1: joins(4), 2: said(sums_of(12) - sums_of(2))}
    first = changes_round(by).agree()
    again = changes_round({number: by[number] for number in (1, 2)}, attempt=1).agree()
    seen = [told.unmasked(told.masked_sum()) for told in (first, again)]
    length = FEATURES * (FEATURES + 1)
    assert np.array_equal((seen[0] - seen[1])[:length], -sums_of(0).gram)


def test_main_that_goes_back_to_older_sums_gets_no_difference_to_them() -> None:
    """A device that is counted in the collection of round 7 answers no round that changes that of round 1."""
    database = Database(None)
    migrate(database, "device")
    account = Account(Values(database))
    mine = Counted(collection=7, round=7, sums=bytes(32), examples=3, supporters=(True, True), pictures=bytes(32))
    account.values.keep("counted-sums", mine.encode())
    with pytest.raises(Refused) as caught:
        account.counted_in(1)
    assert caught.value.slug == "older-collection"
    assert account.counted_in(7) == mine
    assert account.counted_in(9) is None, "collected anew without it: all that it has is new there"
    assert account.change(1, bytes(32), leaves=True) is None
    database.close()


def test_changes_of_nothing_are_no_round() -> None:
    for terms in ({"collection": None}, {"collection": 3}, {"collection": 4}):
        proposal = WORLD.proposal(plan(), round=3, **terms)
        with pytest.raises(Refused) as caught:
            WORLD.owners[0].device.check_manifest(
                WORLD.sign_manifest(proposal), plan(), proposal.model, None, floors(), History({}, 0), 0
            )
        assert caught.value.slug == "bad-manifest"
    assert "members" in [part.kind for part in expected_layout(plan(), 10, 1, with_counts=False)]
