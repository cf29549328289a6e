"""In any world nobody is lost: who is asked drops out, is late or reports, and the clock goes forward."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from fanlight.simulation.worlds.course import run
from fanlight.simulation.worlds.hardware import Work
from fanlight.simulation.worlds.world import World

DEVICES = 30
SHARES = st.sampled_from(["0", "0.2", "0.5", "1"])
WHEN = st.one_of(
    st.just("always"),
    st.builds("random:{}".format, SHARES),
    st.builds("diurnal:{},zones={},share={}".format, st.integers(0, 24), st.integers(1, 24), SHARES),
)
OTHERS = st.lists(
    st.one_of(
        st.just("speeds:mixed,jitter=0.5"),
        st.builds("drop:model={},train={},report={}".format, SHARES, SHARES, SHARES),
        st.builds("over:{}".format, st.integers(0, 400)),
        st.builds("deadline:{}".format, st.sampled_from([0, 0.01, 1, 100])),
        st.builds("join:{},from=2,to=5".format, SHARES),
        st.builds("leave:{},from=3".format, SHARES),
        st.builds("every:{}".format, st.sampled_from([0, 60])),
    ),
    unique_by=lambda term: term.partition(":")[0],
    max_size=6,
)


@given(
    WHEN,
    OTHERS,
    st.integers(0, DEVICES),
    st.integers(1, 8),
    st.floats(0, 1e7),
    st.integers(0, 1000),
    st.lists(st.booleans(), min_size=DEVICES, max_size=DEVICES),
)
def test_who_is_asked_drops_out_is_late_or_reports(
    when: str, others: list[str], size: int, number: int, at_s: float, seed: int, able: list[bool]
) -> None:
    world = World.of("+".join([when, *others]), DEVICES, seed)
    work = Work(np.full(DEVICES, 100.0), 1e5, 1e5)
    told = run(world, number, at_s, work, size=size, fewest_reports=2, able=np.array(able))
    assert sum(told.dropped.values()) + told.late + len(told.reported) == len(told.asked)
    assert set(told.reported) <= set(told.asked)
    assert len(set(told.asked)) == len(told.asked) <= min(told.present, sum(able))
    present = world.present(number, at_s)
    assert all(present[device] and able[device] for device in told.asked)
    assert not size or len(told.reported) <= size
    assert told.failed == (len(told.reported) < 2)
    assert told.ended_s >= at_s
    assert told.ended_s > at_s or not told.failed
    assert not world.deadline_s or told.failed or told.ended_s - at_s <= world.deadline_s + 1e-6 * max(at_s, 1)
    assert world.next_opening(told.opened_s, told.ended_s) >= told.ended_s
