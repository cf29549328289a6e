"""Every pair of state and event of every machine, first against grids written by hand, then through the functions.

In a grid a row is a state and a column an event; ``-`` means that the event is refused and changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np
import pytest

from fanlight.errors import FanlightError, NotPossibleNow
from fanlight.protocol import aggregator_round, device_round, main_round
from fanlight.protocol.transitions import Table
from tests.protocol_world import HEAD, NOW, Round, World, digest_of

AGGREGATOR = """
            open        report      close   agree   release   finish    abandon
offered     collecting  -           -       -       -         -         -
collecting  collecting  collecting  closed  -       -         -         abandoned
closed      -           -           closed  agreed  -         -         abandoned
agreed      -           -           -       agreed  released  -         abandoned
released    -           -           -       -       released  finished  -
finished    -           -           -       -       -         finished  -
abandoned   -           -           -       -       -         -         abandoned
"""

MAIN = """
           open  beacon     accept  dismiss    release   fail    countersign  publish   abandon
proposed   open  -          -       -          -         -       -            -         -
open       open  open       judged  dismissed  -         -       -            -         abandoned
judged     -     judged     -       -          released  failed  -            -         abandoned
dismissed  -     dismissed  -       -          -         -       -            -         abandoned
released   -     released   -       -          -         -       released     complete  -
complete   -     complete   -       -          -         -       complete     complete  -
failed     -     failed     -       -          -         -       failed       -         -
abandoned  -     abandoned  -       -          -         -       -            -         abandoned
"""

PREPARATION = """
           train    announce   send  answer  new_model  abandoned  ended
idle       trained  -          -     -       idle       -          -
trained    trained  announced  -     sent    idle       -          -
announced  trained  announced  sent  sent    idle       -          -
sent       trained  -          -     -       idle       announced  idle
"""

DELIVERY = """
           receipt    confirm    end
committed  receipted  -          ended
receipted  receipted  confirmed  ended
confirmed  -          confirmed  ended
ended      -          -          ended
"""


def cells(grid: str, states: type[StrEnum], events: type[StrEnum]) -> dict[tuple[Any, Any], Any]:
    """The grid as (state, event) -> next state or None; it must name every state and event once."""
    head, *rows = (line.split() for line in grid.strip().splitlines())
    columns = [events[name.upper()] for name in head]
    assert columns == list(events)
    assert [row[0] for row in rows] == list(states)
    return {
        (states(row[0]), event): None if cell == "-" else states(cell)
        for row in rows
        for event, cell in zip(columns, row[1:], strict=True)
    }


MACHINES: list[tuple[Table[Any, Any], dict[tuple[Any, Any], Any]]] = [
    (aggregator_round.TABLE, cells(AGGREGATOR, aggregator_round.State, aggregator_round.Event)),
    (main_round.TABLE, cells(MAIN, main_round.State, main_round.Event)),
    (device_round.PREPARATION, cells(PREPARATION, device_round.Preparation, device_round.PreparationEvent)),
    (device_round.DELIVERY, cells(DELIVERY, device_round.Delivery, device_round.DeliveryEvent)),
]


@pytest.mark.parametrize(
    ("table", "state", "event", "after"),
    [(table, *pair, after) for table, grid in MACHINES for pair, after in grid.items()],
)
def test_every_pair_of_every_table(table: Table[Any, Any], state: Any, event: Any, after: Any) -> None:
    assert table.allows(state, event) == (after is not None)
    if after is not None:
        assert table.next(state, event) is after
        return
    with pytest.raises(NotPossibleNow) as caught:
        table.next(state, event)
    assert caught.value.slug == f"round-{state}"
    assert caught.value.message == table.reasons.get(state) or event.value in caught.value.message
    assert caught.value.next == table.advice.get(state, "")


@pytest.mark.parametrize(("table", "grid"), MACHINES)
def test_tables_hold_nothing_else(table: Table[Any, Any], grid: dict[tuple[Any, Any], Any]) -> None:
    assert dict(table.moves) == {pair: after for pair, after in grid.items() if after is not None}


def test_servers_always_say_what_to_do_next() -> None:
    assert set(aggregator_round.TABLE.advice) == set(aggregator_round.State)
    assert set(main_round.TABLE.advice) == set(main_round.State)
    assert all(aggregator_round.TABLE.advice.values())
    assert all(main_round.TABLE.advice.values())


def test_terminal_states_lead_nowhere_else() -> None:
    for table, states in (
        (aggregator_round.TABLE, aggregator_round.TERMINAL),
        (main_round.TABLE, main_round.TERMINAL),
    ):
        moves: dict[tuple[Any, Any], Any] = dict(table.moves)
        assert all(after is state for (state, _), after in moves.items() if state in states)


@dataclass
class Story:
    """One round's records in every state, and all that was said in it."""

    world: World
    round: Round
    aggregator: dict[aggregator_round.State, aggregator_round.Record]
    main: dict[main_round.State, main_round.Record]
    said: dict[str, Any]


def tell() -> Story:
    world = World(2)
    told = Round(world)
    at_a: dict[aggregator_round.State, aggregator_round.Record] = {}
    at_m: dict[main_round.State, main_round.Record] = {}
    said: dict[str, Any] = {}

    def note() -> None:
        at_m[told.m.at] = told.m
        at_a[told.a.at] = told.a

    at_m[told.m.at] = told.m
    said["countersigned"] = told.offer().reply
    note()
    said["manifest"] = told.open().signed
    note()
    told.collect()
    said["close"] = told.close()
    open_m = told.m
    said["verdict"] = told.judge(said["close"]).reply
    at_m[told.m.at] = told.m
    note()
    dismissed = world.main.judge(open_m, said["close"], {}, {}, told.main_round_key, HEAD)
    at_m[dismissed.record.at] = dismissed.record
    told.take_verdict(said["verdict"])
    note()
    abandoned = world.aggregator.abandon(told.a, "operator")
    at_a[abandoned.record.at], said["abandonment"] = abandoned.record, abandoned.reply
    at_m[main_round.State.ABANDONED] = world.main.abandoned(open_m, abandoned.reply).record
    said["release"], said["sum"] = told.release()
    failed = world.main.take_release(told.m, said["release"], said["sum"].copy(), None)
    at_m[failed.record.at], said["failure"] = failed.record, failed.reply
    said["outcome"] = told.take_release(said["release"], said["sum"].copy()).reply
    note()
    said["countersigned failure"] = world.aggregator.finish(told.a, failed.reply).reply
    said["countersigned outcome"] = told.finish(said["outcome"])
    told.m = world.main.publish(told.m).record
    note()
    return Story(world, told, at_a, at_m, said)


STORY = tell()
SAID, SENT = STORY.said, STORY.round.reports[0]


def test_the_story_visits_every_state() -> None:
    assert set(STORY.aggregator) == set(aggregator_round.State)
    assert set(STORY.main) == set(main_round.State)


def act_as_aggregator(event: aggregator_round.Event, record: aggregator_round.Record) -> aggregator_round.Step:
    server, held = STORY.world.aggregator, STORY.round.held
    acts: dict[aggregator_round.Event, Callable[[], aggregator_round.Step]] = {
        aggregator_round.Event.OPEN: lambda: server.open(record, SAID["manifest"]),
        aggregator_round.Event.REPORT: lambda: take_report(record),
        aggregator_round.Event.CLOSE: lambda: server.close(record, held, HEAD),
        aggregator_round.Event.AGREE: lambda: server.take_verdict(record, SAID["verdict"], held),
        aggregator_round.Event.RELEASE: lambda: server.release(record, held, [digest_of(SAID["sum"])], HEAD),
        aggregator_round.Event.FINISH: lambda: server.finish(record, SAID["outcome"]),
        aggregator_round.Event.ABANDON: lambda: server.abandon(record, "operator"),
    }
    return acts[event]()


def take_report(record: aggregator_round.Record) -> aggregator_round.Step:
    server = STORY.world.aggregator
    header = server.check_report(
        record, SENT.envelope, SENT.owner.member.public_key, STORY.round.aggregator_round_key, NOW
    )
    return server.take_report(record, None, 0, SENT.envelope, header, NOW)


def act_as_main(event: main_round.Event, record: main_round.Record) -> main_round.Step:
    server, told = STORY.world.main, STORY.round
    in_failure = record.at is main_round.State.FAILED
    acts: dict[main_round.Event, Callable[[], main_round.Step]] = {
        main_round.Event.OPEN: lambda: server.open(record, SAID["countersigned"]),
        main_round.Event.BEACON: lambda: main_round.Step(record, bytes(bool(beacon(record)))),
        main_round.Event.ACCEPT: lambda: judge(record, STORY.world.members),
        main_round.Event.DISMISS: lambda: judge(record, {}),
        main_round.Event.RELEASE: lambda: server.take_release(
            record, SAID["release"], SAID["sum"].copy(), told.main_round_key
        ),
        main_round.Event.FAIL: lambda: server.take_release(record, SAID["release"], SAID["sum"].copy(), None),
        main_round.Event.COUNTERSIGN: lambda: server.countersigned(
            record, SAID["countersigned failure" if in_failure else "countersigned outcome"]
        ),
        main_round.Event.PUBLISH: lambda: server.publish(record),
        main_round.Event.ABANDON: lambda: server.abandoned(record, SAID["abandonment"]),
    }
    return acts[event]()


def beacon(record: main_round.Record) -> bytes:
    return STORY.world.main.take_beacon(record, SENT.owner.id, SENT.record.receipt).report_id


def judge(record: main_round.Record, members: dict[bytes, bytes]) -> main_round.Step:
    return STORY.world.main.judge(record, SAID["close"], members, {}, STORY.round.main_round_key, HEAD)


@pytest.mark.parametrize("event", list(aggregator_round.Event))
@pytest.mark.parametrize("state", list(aggregator_round.State))
def test_the_aggregator_follows_its_table(state: aggregator_round.State, event: aggregator_round.Event) -> None:
    record = STORY.aggregator[state]
    before = record.encode()
    if aggregator_round.TABLE.allows(state, event):
        assert act_as_aggregator(event, record).record.at is aggregator_round.TABLE.moves[state, event]
    else:
        with pytest.raises(NotPossibleNow):
            act_as_aggregator(event, record)
    assert record.encode() == before


# A manifest, a close and a release that came before are answered as before, whatever has happened since.
CAME = {
    main_round.Event.OPEN: "manifest",
    main_round.Event.ACCEPT: "close",
    main_round.Event.DISMISS: "close",
    main_round.Event.RELEASE: "release",
    main_round.Event.FAIL: "release",
}


@pytest.mark.parametrize("event", list(main_round.Event))
@pytest.mark.parametrize("state", list(main_round.State))
def test_main_follows_its_table(state: main_round.State, event: main_round.Event) -> None:
    record = STORY.main[state]
    before = record.encode()
    # Before it is open a round has no ``mh``: whatever comes for it is foreign.
    refusal = NotPossibleNow if record.mh else FanlightError
    if main_round.TABLE.allows(state, event):
        assert act_as_main(event, record).record.at is main_round.TABLE.moves[state, event]
    elif event in CAME and getattr(record, CAME[event]):
        assert act_as_main(event, record).record is record
    else:
        with pytest.raises(refusal):
            act_as_main(event, record)
    assert record.encode() == before


@pytest.mark.parametrize("event", list(device_round.DeliveryEvent))
@pytest.mark.parametrize("state", list(device_round.Delivery))
def test_a_report_follows_its_table(state: device_round.Delivery, event: device_round.DeliveryEvent) -> None:
    owner, record = SENT.owner.device, SENT.record.with_(delivery=state.value)
    answer = STORY.world.main.outcome_for(STORY.round.m, SENT.owner.id)
    assert answer is not None
    acts: dict[device_round.DeliveryEvent, Callable[[], device_round.Record]] = {
        device_round.DeliveryEvent.RECEIPT: lambda: owner.take_receipt(record, SENT.record.receipt),
        device_round.DeliveryEvent.CONFIRM: lambda: owner.confirm(record),
        device_round.DeliveryEvent.END: lambda: owner.end(record, answer).record,
    }
    if device_round.DELIVERY.allows(state, event):
        assert acts[event]().at is device_round.DELIVERY.moves[state, event]
    else:
        with pytest.raises(NotPossibleNow):
            acts[event]()
    assert record.at is state


def test_records_survive_storage_in_every_state() -> None:
    for record in STORY.aggregator.values():
        assert aggregator_round.Record.decode(record.encode()) == record
    for main_record in STORY.main.values():
        assert main_round.Record.decode(main_record.encode()) == main_record
    assert device_round.Record.decode(SENT.record.encode()) == SENT.record


def test_a_refused_release_leaves_the_vector_as_it_came() -> None:
    vector = SAID["sum"].copy()
    for state in (main_round.State.ABANDONED, main_round.State.OPEN):
        judged = STORY.main[main_round.State.JUDGED]
        record = judged.with_(state=state.value)
        with pytest.raises(NotPossibleNow):
            STORY.world.main.take_release(record, SAID["release"], vector, STORY.round.main_round_key)
        assert np.array_equal(vector, SAID["sum"])
