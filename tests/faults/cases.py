"""How hypothesis draws a case: scenes of one operation, or of a fault and of somebody who is likely to meet it."""

from __future__ import annotations

import itertools
from typing import Final

from hypothesis import strategies as st

from fanlight.protocol.exchange import Order
from fanlight.services.main_server.policy import ShardRule
from tests.faults.answers import SAME_BYTES
from tests.faults.lines import Mishap
from tests.faults.operations import (
    Abandon,
    Advance,
    Answer,
    Arrive,
    Ask,
    Cheat,
    CloseEarly,
    Conduct,
    Crash,
    Enrol,
    Everybody,
    Follow,
    Hear,
    Leave,
    Measure,
    Operation,
    Release,
    Replay,
    Restart,
    Revoke,
    Rule,
    Turn,
    Upload,
    Upset,
)
from tests.faults.request import Route
from tests.faults.roles import MAIN
from tests.faults.routes import AGGREGATOR
from tests.faults.scenarios import WINDOW_S, Scenario
from tests.faults.world import NAMES, ROLES

_device: Final = st.sampled_from(NAMES)
_rule: Final[st.SearchStrategy[ShardRule]] = st.sampled_from(["never", "after-failure", "always"])
_by_a_server: Final[st.SearchStrategy[Operation]] = st.one_of(
    st.builds(Conduct),
    st.builds(Follow),
    st.builds(Follow),
    st.builds(CloseEarly),
    st.builds(Release),
    st.builds(Abandon),
)
_rare: Final[st.SearchStrategy[Operation]] = st.one_of(
    st.builds(Enrol, _device),
    st.builds(Hear, _device),
    st.builds(Ask, st.sampled_from([Order.FINISH, Order.ABANDON])),
    st.builds(Measure),
    st.builds(Cheat, _device),
    st.builds(Leave, _device),
    st.builds(Revoke, _device, st.sampled_from([MAIN, AGGREGATOR])),
    st.builds(Rule, _rule),
    st.builds(Advance, st.sampled_from([1, 20, 61, WINDOW_S + 1])),
    st.builds(Arrive, st.integers(0, 3)),
    st.builds(Replay, st.integers(0, 60)),
    st.builds(Replay, st.integers(0, 3), st.sampled_from(sorted(SAME_BYTES))),
    st.builds(Restart, st.sampled_from(ROLES)),
)
SCENARIOS: Final = st.sampled_from(Scenario)
"""The federation that a case happens to."""
MOST_SCENES: Final = 14
_OPEN: Final[list[Operation]] = [Everybody(), Conduct(), Follow()]
_REPORTED: Final[list[Operation]] = [Everybody(), Everybody()]
_BEGINNINGS: Final[tuple[list[Operation], ...]] = ([], _OPEN, _OPEN, _REPORTED, _REPORTED)
_OF_AGGREGATOR: Final = (Route.CLOSE, Route.RELEASE, Route.MANIFEST, Route.ENDED, None)
"""What mishaps strike on the aggregator's line; without a route it is nearly always a question for orders."""
_OF_DEVICE: Final = (
    (AGGREGATOR, Route.REPORT),
    (AGGREGATOR, None),
    (MAIN, Route.BEACON),
    (MAIN, Route.OUTCOME),
    (MAIN, None),
)


_goes_on: Final[st.SearchStrategy[list[Operation]]] = st.one_of(
    _by_a_server.map(lambda operation: [operation]),
    st.just([Everybody()]),
    st.just([CloseEarly(), Release()]),
    st.just([Conduct(), Follow()]),
)
"""What may bring a round further, and meet what waits on the aggregator's line."""


def _by_device(device: str) -> st.SearchStrategy[Operation]:
    return st.sampled_from([Turn(device), Turn(device), Answer(device), Upload(device)])


@st.composite
def _mishap(draw: st.DrawFn) -> list[Operation]:
    """Something goes wrong on a line, mostly with what matters for ever, and then somebody uses it."""
    mishap = draw(st.sampled_from(Mishap))
    if draw(st.booleans()):
        return [Upset(AGGREGATOR, MAIN, mishap, draw(st.sampled_from(_OF_AGGREGATOR))), *draw(_goes_on)]
    device = draw(_device)
    server, route = draw(st.sampled_from(_OF_DEVICE))
    return [Upset(device, server, mishap, route), draw(_by_device(device))]


_REPEATING: Final = st.sampled_from([Mishap.DROP_REPLY, Mishap.DUPLICATE, *Mishap])


@st.composite
def _opening(draw: st.DrawFn) -> list[Operation]:
    """Something goes wrong where a round opens."""
    return [Upset(AGGREGATOR, MAIN, draw(_REPEATING), Route.MANIFEST), Everybody(), Everybody()]


@st.composite
def _arrival(draw: st.DrawFn) -> list[Operation]:
    """Something goes wrong where a report arrives, or its receipt is shown."""
    device = draw(_device)
    server, route = draw(st.sampled_from([(AGGREGATOR, Route.REPORT), (MAIN, Route.BEACON)]))
    return [Upset(device, server, draw(_REPEATING), route), Turn(device), Turn(device)]


@st.composite
def _ending(draw: st.DrawFn) -> list[Operation]:
    """Something goes wrong where a round comes to its end."""
    route = draw(st.sampled_from([Route.CLOSE, Route.RELEASE]))
    return [Upset(AGGREGATOR, MAIN, draw(_REPEATING), route), CloseEarly(), Release()]


@st.composite
def _death(draw: st.DrawFn) -> list[Operation]:
    """A role dies at one of its next commits, while it does something or is asked to; mostly it is started again."""
    device = draw(_device)
    role = draw(st.sampled_from([MAIN, AGGREGATOR, device]))
    does = _by_device(device) if role == device else st.one_of(_by_a_server, _by_device(device))
    crash = Crash(role, draw(st.sampled_from([0, 0, 1, 2])), after=draw(st.booleans()))
    return [crash, draw(does), *([Restart(role)] if draw(st.booleans()) else [])]


_scene: Final[st.SearchStrategy[list[Operation]]] = st.one_of(
    st.just([Everybody()]),
    _device.flatmap(_by_device).map(lambda operation: [operation]),
    _by_a_server.map(lambda operation: [operation]),
    _rare.map(lambda operation: [operation]),
    _mishap(),
    _mishap(),
    _ending(),
    _death(),
    _death(),
    _death(),
)


@st.composite
def cases(draw: st.DrawFn) -> list[Operation]:
    """Lists of operations; most begin in a round that is open, has its reports or ends, some with shards."""
    beginning: list[Operation] = [*draw(st.sampled_from(_BEGINNINGS))] or draw(_opening())
    if beginning and not draw(st.integers(0, 2)):
        beginning.insert(0, Rule("always"))
    if not draw(st.integers(0, 3)):
        beginning.insert(0, Cheat(draw(_device)))
    if beginning[-2:] == _REPORTED and draw(st.booleans()):
        beginning += draw(_ending())
    elif beginning[-3:] == _OPEN and draw(st.booleans()):
        beginning += draw(_arrival())
    few, many = st.lists(_scene, max_size=MOST_SCENES), st.lists(_scene, min_size=6, max_size=MOST_SCENES)
    return [*beginning, *itertools.chain(*draw(few | many))]
