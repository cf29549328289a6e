"""The simulation can fail: each law is broken on purpose, inside the real roles, and the violation names that law."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import hypothesis
import numpy as np
import pytest
from numpy.typing import NDArray

from fanlight.core.randomness import Keystream
from fanlight.errors import Conflict, StorageError
from fanlight.protocol.aggregator_round import State as AggregatorState
from fanlight.protocol.closing import Outcome, SignedOutcome
from fanlight.protocol.contribution import check_sum
from fanlight.protocol.log import LogEntry, next_head
from fanlight.protocol.main_round import Record, State, Step
from fanlight.protocol.main_server import MainServer
from fanlight.services.aggregator import held_reports
from fanlight.services.aggregator import service as aggregator_service
from fanlight.services.aggregator.masked_sums import MaskedSums
from fanlight.services.aggregator.reception import Reception
from fanlight.services.device import rounds as device_rounds
from fanlight.services.server import chained_log
from tests.faults.cases import cases
from tests.faults.laws import Law, Violation
from tests.faults.lines import Mishap, ServerFault
from tests.faults.mutations import (
    Patch,
    acknowledge_before_commit,
    forget_verdicts,
    list_another_report,
    refuse_repetitions,
    sign_releases_anew,
)
from tests.faults.operations import (
    Abandon,
    Answer,
    Cheat,
    CloseEarly,
    Conduct,
    Crash,
    Everybody,
    Follow,
    Operation,
    Release,
    Rule,
    Turn,
    Upset,
)
from tests.faults.request import Route
from tests.faults.roles import MAIN
from tests.faults.routes import AGGREGATOR
from tests.faults.scenarios import Scenario
from tests.faults.simulation import Simulation
from tests.faults.stores import Kind
from tests.faults.test_regressions import CLOSED_AND_LEFT
from tests.faults.world import NAMES

CASES = 250
"""So many does each half of ``make test`` run."""
ROUND: list[Operation] = [Everybody(), Everybody(), Everybody()]


@pytest.fixture(scope="module")
def simulation(quick_folder: Path) -> Simulation:
    return Simulation(quick_folder / "broken", Kind.MEMORY)


def broken(simulation: Simulation, operations: Sequence[Operation]) -> Law:
    """The law that a case finds broken."""
    with pytest.raises(Violation) as found:
        simulation.run(operations)
    return found.value.law


def test_nothing_is_wrong_with_a_round_as_it_is(simulation: Simulation) -> None:
    assert [record.state for record in simulation.run(ROUND).main.values()] == ["complete"]


def test_a_sum_with_one_more_in_it_is_seen(simulation: Simulation, monkeypatch: Patch) -> None:
    compute = MaskedSums.compute

    def one_more(sums: MaskedSums, *arguments: Any) -> NDArray[np.uint32]:
        total = compute(sums, *arguments)
        total[0] += 1
        return total

    monkeypatch.setattr(MaskedSums, "compute", one_more)
    assert broken(simulation, ROUND) is Law.SUM


def test_a_sum_without_one_of_its_reports_is_seen(simulation: Simulation, monkeypatch: Patch) -> None:
    compute = MaskedSums.compute

    def without_the_last(sums: MaskedSums, record: Any, shards: Any, places: Any) -> NDArray[np.uint32]:
        return compute(sums, record, [*shards[:-1], shards[-1][:-1]], places)

    monkeypatch.setattr(MaskedSums, "compute", without_the_last)
    assert broken(simulation, ROUND) is Law.SUM


ASKED_AND_TOO_LATE: list[Operation] = [
    Rule("always"),
    Upset(AGGREGATOR, MAIN, Mishap.DROP_REPLY, Route.MANIFEST),
    Everybody(),
    Everybody(),
    Upset(NAMES[0], AGGREGATOR, Mishap.DROP_REQUEST, Route.REPORT),
    Turn(NAMES[0]),
    Everybody(),
    Upset(AGGREGATOR, MAIN, Mishap.DROP_REPLY, Route.CLOSE),
    CloseEarly(),
    Release(),
]
"""Found by 20,000 cases: a device was told that nothing of its report is there, and when it asked again, that the round
is closed. Nothing had been acknowledged; the law held the question for one that must always be answered alike."""


ASKED_AND_MUCH_TOO_LATE: list[Operation] = [
    Rule("always"),
    Everybody(),
    Conduct(),
    Follow(),
    Upset(AGGREGATOR, MAIN, Mishap.DROP_REQUEST, Route.RELEASE),
    Conduct(),
    Upset(NAMES[0], AGGREGATOR, Mishap.DROP_REQUEST, Route.REPORT),
    Answer(NAMES[0]),
    Everybody(),
    Upset(AGGREGATOR, MAIN, Mishap.DROP_REPLY, Route.RELEASE),
    CloseEarly(),
    Release(),
    Everybody(),
]
"""The same, when its sum had been released already."""


@pytest.mark.parametrize("operations", [ASKED_AND_TOO_LATE, ASKED_AND_MUCH_TOO_LATE])
def test_who_asks_again_when_a_round_is_closed_may_hear_that(
    simulation: Simulation, operations: Sequence[Operation]
) -> None:
    view = simulation.run(operations, 0, Scenario.IN_PARTS)
    assert "complete" in {record.state for record in view.main.values()}


def test_but_not_once_there_is_a_receipt(simulation: Simulation, monkeypatch: Patch) -> None:
    """The whole report is there, its receipt was lost on the way, and who asks hears that the round is closed."""
    kept = Reception.kept

    def forgetful(reception: Reception, mh: bytes, device: bytes) -> Any:
        if kept(reception, mh, device) is not None:
            raise Conflict("The round is closed.", slug="round-closed")

    monkeypatch.setattr(Reception, "kept", forgetful)
    lost = Upset(NAMES[0], AGGREGATOR, Mishap.DROP_REPLY, Route.REPORT)
    with pytest.raises(Violation) as found:
        simulation.run([Everybody(), Conduct(), Follow(), lost, *ROUND], 0, Scenario.IN_PARTS)
    assert found.value.law is Law.SAME_ANSWER


SHARDS: list[Operation] = [Rule("always"), *ROUND]


def test_a_shard_with_garbage_is_left_out_and_the_other_makes_the_version(simulation: Simulation) -> None:
    view = simulation.run([Rule("always"), *ROUND[:2], Cheat(NAMES[0]), *ROUND])
    told = [Outcome.decode(SignedOutcome.decode(record.outcome).payload) for record in view.main.values()]
    left_out = [[shard.reason != "ok" for shard in outcome.shards or ()] for outcome in told]
    assert sorted(map(sum, left_out)) == [0] * (len(told) - 1) + [1]
    assert {outcome.result for outcome in told} == {"released"}


def test_garbage_without_shards_fails_its_round_and_the_next_one_has_shards(simulation: Simulation) -> None:
    view = simulation.run([Cheat(NAMES[0]), *ROUND, *ROUND])
    first, second, *_ = sorted(view.main.values(), key=lambda record: record.number)
    assert [first.state, first.terms.shards] == ["failed", None]
    assert [second.state, second.terms.shards] == ["complete", 2]


def test_sums_of_other_shards_than_were_drawn_are_seen(simulation: Simulation, monkeypatch: Patch) -> None:
    compute = MaskedSums.compute

    def exchanged(sums: MaskedSums, record: Any, shards: Any, places: Any) -> NDArray[np.uint32]:
        return compute(sums, record, shards[::-1], places)

    monkeypatch.setattr(MaskedSums, "compute", exchanged)
    assert broken(simulation, SHARDS) is Law.SUM


def test_a_good_shard_that_main_leaves_out_is_seen(simulation: Simulation, monkeypatch: Patch) -> None:
    checked = itertools.count()

    def doubt_the_first(*arguments: Any) -> str | None:
        return "doubtful" if next(checked) == 0 else check_sum(*arguments)

    monkeypatch.setattr("fanlight.protocol.unmasking.check_sum", doubt_the_first)
    assert broken(simulation, SHARDS) is Law.SUM


def test_an_aggregator_that_releases_twice_is_seen(simulation: Simulation, monkeypatch: Patch) -> None:
    sign_releases_anew(monkeypatch)
    lost_on_its_way = Upset(AGGREGATOR, MAIN, Mishap.DROP_REQUEST)
    simulation.run(ROUND)
    assert broken(simulation, [*ROUND[:2], CloseEarly(), lost_on_its_way, Release()]) is Law.ONE_RELEASE


def test_a_device_that_uses_a_seed_again_is_seen(simulation: Simulation, monkeypatch: Patch) -> None:
    monkeypatch.setattr(device_rounds, "Keystream", lambda _seed: Keystream(bytes(32)))
    assert broken(simulation, ROUND) is Law.SEEDS


def test_a_server_that_forgets_its_stored_reply_is_seen(simulation: Simulation, monkeypatch: Patch) -> None:
    forget_verdicts(monkeypatch)
    reply_lost = Upset(AGGREGATOR, MAIN, Mishap.DROP_REPLY)
    assert broken(simulation, [*ROUND[:2], reply_lost, CloseEarly(), CloseEarly()]) is Law.SAME_ANSWER


def test_a_report_that_is_refused_when_it_comes_again_is_seen(simulation: Simulation, monkeypatch: Patch) -> None:
    refuse_repetitions(monkeypatch)
    reply_lost = Upset(NAMES[0], AGGREGATOR, Mishap.DROP_REPLY, Route.REPORT)
    simulation.run(ROUND)
    assert broken(simulation, [Everybody(), reply_lost, *ROUND]) is Law.SAME_ANSWER


def test_a_close_that_lists_another_report_than_has_a_receipt_is_seen(
    simulation: Simulation, monkeypatch: Patch
) -> None:
    list_another_report(monkeypatch)
    assert broken(simulation, ROUND) is Law.NOTHING_LOST


def test_a_receipt_before_its_commit_is_seen(simulation: Simulation, monkeypatch: Patch) -> None:
    acknowledge_before_commit(monkeypatch)
    opened: list[Operation] = [Everybody(), Conduct(), Follow(), Turn(NAMES[0])]
    simulation.run([*opened, Turn(NAMES[1])])
    assert broken(simulation, [*opened, Crash(AGGREGATOR, 0, after=False), Turn(NAMES[1])]) is Law.NOTHING_LOST


@pytest.mark.timeout(1800)
@pytest.mark.parametrize(
    ("break_it", "expected"),
    [
        (forget_verdicts, Law.SAME_ANSWER),
        (refuse_repetitions, Law.SAME_ANSWER),
        (sign_releases_anew, Law.ONE_RELEASE),
    ],
)
def test_a_random_search_finds_what_only_a_mishap_shows(
    simulation: Simulation, monkeypatch: Patch, break_it: Callable[[Patch], None], expected: Law
) -> None:
    break_it(monkeypatch)

    @hypothesis.seed(1)
    @hypothesis.settings(
        max_examples=CASES,
        derandomize=False,
        database=None,
        phases=[hypothesis.Phase.generate],
        report_multiple_bugs=False,
        suppress_health_check=list(hypothesis.HealthCheck),
    )
    @hypothesis.given(cases())
    def search(operations: list[Operation]) -> None:
        simulation.run(operations)

    with pytest.raises(Violation) as found:
        search()
    assert found.value.law is expected


def test_a_round_that_nobody_ends_is_seen(simulation: Simulation, monkeypatch: Patch) -> None:
    monkeypatch.setattr(aggregator_service, "_UNDER_WAY", frozenset({AggregatorState.COLLECTING}))
    assert broken(simulation, CLOSED_AND_LEFT) is Law.ROUNDS_END


def test_servers_that_say_two_things_of_a_round_are_seen(simulation: Simulation, monkeypatch: Patch) -> None:
    abandoned = MainServer.abandoned

    def failed(machine: MainServer, record: Record, data: bytes) -> Step:
        step = abandoned(machine, record, data)
        return Step(step.record.with_(state=State.FAILED.value), step.reply, step.entries)

    monkeypatch.setattr(MainServer, "abandoned", failed)
    assert broken(simulation, [*ROUND[:2], Abandon()]) is Law.AGREEMENT


def test_a_log_with_a_loose_link_is_seen(simulation: Simulation, monkeypatch: Patch) -> None:
    def loose(number: int, head: bytes, entry: LogEntry) -> bytes:
        return next_head(number, bytes(32) if number == 3 else head, entry)

    monkeypatch.setattr(chained_log, "next_head", loose)
    assert broken(simulation, ROUND) is Law.LOGS


def test_a_database_that_fails_by_itself_is_seen(simulation: Simulation, monkeypatch: Patch) -> None:
    def fail(*_: Any) -> None:
        raise StorageError("the disk is gone")

    monkeypatch.setattr(held_reports, "keep", fail)
    with pytest.raises(ServerFault):
        simulation.run(ROUND)
