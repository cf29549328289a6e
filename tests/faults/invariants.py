"""What must hold whatever happened, looked at from outside: in the stores, and in what a witness saw.

Each law has a name, which a violation carries. Most of them hold at every moment; that rounds have ended, and what all
parties say of them, is looked at once everything works again.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import Final

from fanlight.protocol import aggregator_round, main_round, signing
from fanlight.protocol.audit.both import Audit
from fanlight.protocol.audit.source import LogSource
from fanlight.protocol.closing import (
    Outcome,
    Release,
    Result,
    SignedOutcome,
    signed_releases,
)
from fanlight.protocol.device_round import Delivery
from fanlight.protocol.identities import Role
from fanlight.storage.tables import aggregator as aggregator_tables
from fanlight.storage.tables import main as main_tables
from tests.faults.answers import check_nothing_lost, check_same_answers
from tests.faults.laws import Law, law
from tests.faults.request import Route
from tests.faults.roles import MAIN
from tests.faults.routes import AGGREGATOR
from tests.faults.sums import check_sums
from tests.faults.view import View, rows
from tests.faults.world import World

ENDS: Final = {
    main_round.State.COMPLETE: (aggregator_round.State.FINISHED, Result.RELEASED),
    main_round.State.FAILED: (aggregator_round.State.FINISHED, Result.FAILED),
    main_round.State.ABANDONED: (aggregator_round.State.ABANDONED, Result.ABANDONED),
}


def check(world: World) -> View:
    """All laws, in a world that has settled."""
    view = View.of(world)
    check_seeds(world)
    check_same_answers(world, view)
    check_nothing_lost(world, view)
    check_one_release(world, view)
    check_sums(world, view)
    check_ends(world, view)
    check_agreement(view)
    check_logs(world, view)
    return view


def check_seeds(world: World) -> None:
    twice = [seed for seed, times in Counter(world.witness.seeds).items() if times > 1]
    law(Law.SEEDS, not twice, f"{len(twice)} seeds were sealed again")


def check_one_release(world: World, view: View) -> None:
    """One release, of one sum of each shard, was ever sent for a round; and both servers have logged no other one."""
    sent = defaultdict(set)
    for request in world.net.sent:
        if request.route is Route.RELEASE:
            length = int.from_bytes(request.body[:4], "big")
            for signed in signed_releases(request.body[4 : 4 + length]):
                sent[_spent(view, signed)].add(request.body)
    for subject, bodies in sent.items():
        law(Law.ONE_RELEASE, len(bodies) == 1, f"{len(bodies)} releases of {subject} were sent")
    for role, logs in ((MAIN, main_tables.logs), (AGGREGATOR, aggregator_tables.logs)):
        logged = [_spent(view, row.payload) for row in rows(world, role, logs.entries) if row.type == "release"]
        law(Law.ONE_RELEASE, len(logged) == len(set(logged)), f"{role} has logged two: {logged}")


def _spent(view: View, signed: bytes) -> tuple[str, int, int]:
    release = Release.decode(signing.Signed.decode(signed).payload)
    proposal = view.aggregator[release.mh].terms.proposal
    return proposal.task, proposal.round, release.shard


def check_ends(world: World, view: View) -> None:
    """Of both servers, and of all devices but those that are told nothing any more."""
    law(Law.ROUNDS_END, not view.proposed, f"round {view.proposed} never opened")
    for mh, record in view.main.items():
        law(Law.ROUNDS_END, record.at in ENDS, f"round {record.number} is {record.state} at main")
        there = view.aggregator[mh]
        law(Law.ROUNDS_END, there.at in aggregator_round.TERMINAL, f"round {record.number} is {there.state} there")
    staying = (process.life.id for name, process in world.devices.items() if name not in world.gone)
    for device, records in ((device, view.devices[device]) for device in staying):
        left = [record.number for record in records if record.at != Delivery.ENDED]
        law(Law.ROUNDS_END, not left, f"device {device.hex()} does not know how rounds {left} have ended")


def check_agreement(view: View) -> None:
    law(Law.AGREEMENT, view.main.keys() == view.aggregator.keys(), "a server knows a round that the other does not")
    for mh, record in view.main.items():
        state, result = ENDS[record.at]
        said = Outcome.decode(SignedOutcome.decode(record.outcome).payload)
        there = view.aggregator[mh]
        same = (there.at, there.outcome, said.result) == (state, record.outcome, result.value)
        law(Law.AGREEMENT, same, f"round {record.number}: {record.state} at main, {there.state} at the aggregator")
    for records in view.devices.values():
        for mine in records:
            same = mine.at is not Delivery.ENDED or mine.outcome == view.main[mine.mh].outcome
            law(Law.AGREEMENT, same, f"a device was told otherwise of round {mine.number}")


def check_logs(world: World, view: View) -> None:
    """An audit of both finds nothing; what was in each at an earlier look is its beginning."""
    sources = []
    for role, logs in ((MAIN, main_tables.logs), (AGGREGATOR, aggregator_tables.logs)):
        log = world.log(role)
        with world.database(role).reading() as tx:
            entries = list(log.entries(tx, limit=100_000))
        sources.append(LogSource(Role(role), entries.__iter__))
        heads = [row.head for row in rows(world, role, logs.entries)]
        before = world.witness.logs[role]
        law(Law.LOGS, heads[: len(before)] == before, f"{role}'s has lost or changed entries")
        world.witness.logs[role] = heads
    audit = Audit(world.main.life.service.machine.trust, sources)
    told = list(audit.rounds())
    law(Law.LOGS, not audit.findings.kept, "; ".join(finding.message for finding in audit.findings.kept))
    law(Law.LOGS, len(told) == len(view.main), "the logs do not tell of all rounds")
