from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from fanlight.errors import DataError, SettingsError
from fanlight.simulation.worlds.course import LOOK_AGAIN_S, Course, run
from fanlight.simulation.worlds.hardware import CLASSES, Work
from fanlight.simulation.worlds.world import STEPS, World

DEVICES = 900
HOUR = 3600.0


def world(line: str, seed: int = 0, devices: int = DEVICES) -> World:
    return World.of(line, devices, seed)


def work(devices: int = DEVICES, bytes_each_way: float = 51_240.0) -> Work:
    return Work(np.full(devices, 500.0), bytes_each_way, bytes_each_way)


def course(line: str, *, size: int = 0, at_s: float = 0.0, number: int = 1, reports: int = 1) -> Course:
    return run(world(line), number, at_s, work(), size=size, fewest_reports=reports)


def test_in_an_empty_world_all_are_there_always() -> None:
    plain = course("")
    assert plain == course("always")
    assert plain.reported == tuple(range(DEVICES))
    assert plain.dropped == dict.fromkeys(STEPS, 0)
    assert not plain.late
    assert not plain.failed


def test_a_cohort_is_drawn_anew_for_each_round_and_is_that_of_its_seed() -> None:
    there = world("random:0.5")
    assert there.cohort(1, 50) == world("random:0.5").cohort(1, 50)
    assert there.cohort(1, 50) != there.cohort(2, 50)
    assert there.cohort(1, 50) != world("random:0.5", seed=1).cohort(1, 50)
    assert len(set(there.cohort(1, 50))) == 50
    able = np.arange(DEVICES) < 60
    assert set(there.cohort(1, 0, able=able)) <= set(range(60))


def test_what_a_world_says_of_a_round_does_not_depend_on_earlier_rounds() -> None:
    line = "random:0.6+speeds:mixed,jitter=0.5+drop:train=0.2+join:0.3,from=2,to=9+over:20+deadline:20"
    one, other = world(line), world(line)
    for number in (1, 5, 9):
        run(one, number, 0.0, work(), size=100)
    assert run(one, 7, 0.0, work(), size=100) == run(other, 7, 0.0, work(), size=100)


def test_by_chance_a_part_is_there() -> None:
    share = np.mean([world("random:0.3").present(number).mean() for number in range(1, 21)])
    assert share == pytest.approx(0.3, abs=0.02)


def test_a_third_of_the_devices_sleeps_at_night() -> None:
    there = world("diurnal:16,from=7,share=0.333")
    shares = [there.present(1, hour * HOUR).mean() for hour in range(24)]
    assert shares[:7] == [600 / 900] * 7
    assert shares[7:23] == [1.0] * 16
    assert shares[23] == 600 / 900
    assert np.array_equal(there.present(1, 3 * HOUR), there.present(9, 27 * HOUR)), "the same ones each night"
    assert there.next_opening(0.0, 10.0) == HOUR


def test_zones_sleep_one_after_the_other() -> None:
    there = world("diurnal:8,from=0,zones=3")
    by_hour = [there.present(1, hour * HOUR) for hour in (1, 9, 17)]
    assert [int(present.sum()) for present in by_hour] == [300, 300, 300]
    assert np.sum(by_hour, axis=0).tolist() == [1] * DEVICES


def test_a_file_says_who_is_there(tmp_path: Path) -> None:
    file = tmp_path / "there.csv"
    file.write_text("device,from_s,to_s\n0,0,50\n1,25,100\n")
    there = world(f"speeds:mixed+file:{file}", devices=3)
    assert [there.present(1, at_s).tolist() for at_s in (0, 30, 60, 100, 130)] == [
        [True, False, False],
        [True, True, False],
        [False, True, False],
        [True, False, False],
        [True, True, False],
    ]


@pytest.mark.parametrize(
    ("text", "flaw"),
    [
        ("a,b,c\n", "line 1"),
        ("device,from_s,to_s\n", "nobody"),
        ("device,from_s,to_s\n0,0,x", "line 2: not three"),
        ("device,from_s,to_s\n0,0,5\n0,6", "line 3: not three"),
        ("device,from_s,to_s\n9,0,5", "line 2: no interval of a device from 0 to 2"),
        ("device,from_s,to_s\n0,5,5", "line 2: no interval"),
        ("device,from_s,to_s\n0,0,nan", "line 2: no interval"),
        ("device,from_s,to_s\n0,0,inf", "line 2: no interval"),
    ],
)
def test_a_file_of_times_that_cannot_be(tmp_path: Path, text: str, flaw: str) -> None:
    (tmp_path / "there.csv").write_text(text)
    with pytest.raises(DataError, match=flaw):
        world(f"file:{tmp_path / 'there.csv'}", devices=3)


def test_speeds_are_of_classes() -> None:
    there = world("speeds:fast=0.2,middle=0.5,slow=0.3")
    seconds = there.arrivals(1, work())
    expected = {
        name: 51_240 / kind.down_bytes_per_s + 500 / kind.examples_per_s + 51_240 / kind.up_bytes_per_s
        for name, kind in CLASSES.items()
    }
    for share, name in zip((0.2, 0.5, 0.3), CLASSES, strict=True):
        assert np.isclose(seconds, expected[name]).mean() == pytest.approx(share)
    assert sorted(expected, key=expected.__getitem__) == ["fast", "middle", "slow"]


def test_jitter_is_of_a_round_and_has_the_spread_it_should() -> None:
    there = world("speeds:middle=1,jitter=0.4")
    logs = [np.log(there.arrivals(number, work()) / world("").arrivals(number, work())) for number in (1, 2)]
    assert not np.array_equal(logs[0], logs[1])
    assert np.std(logs) == pytest.approx(0.4, abs=0.03)
    assert np.mean(logs) == pytest.approx(0.0, abs=0.04)


def test_without_a_deadline_a_round_waits_for_the_slowest() -> None:
    there = world("speeds:mixed")
    told = run(there, 1, 100.0, work(), size=50)
    assert told.ended_s == 100.0 + there.arrivals(1, work())[list(told.reported)].max()
    assert len(told.reported) == 50


def test_who_asks_more_devices_than_it_needs_does_not_wait_for_the_slowest() -> None:
    plain, more = course("speeds:mixed", size=50), course("speeds:mixed+over:100", size=50)
    assert (len(more.asked), len(more.reported), more.late) == (100, 50, 50)
    assert more.ended_s < plain.ended_s
    arrivals = world("speeds:mixed").arrivals(1, work())
    assert arrivals[list(more.reported)].max() <= np.sort(arrivals[world("speeds:mixed+over:100").cohort(1, 50)])[49]


def test_a_deadline_ends_a_round_without_the_slow() -> None:
    told = course("speeds:mixed+deadline:2", size=90)
    assert told.ended_s == 2.0
    assert 0 < len(told.reported) < 90
    assert told.late == 90 - len(told.reported)
    assert (world("speeds:mixed").arrivals(1, work())[list(told.reported)] <= 2.0).all()
    assert course("deadline:60", size=90).ended_s < 60, "it ends when all have reported"


def test_main_waits_for_those_who_dropped_out_since_it_cannot_know() -> None:
    assert course("drop:train=0.5+deadline:60", size=90).ended_s == 60.0
    assert course("drop:train=0.5", size=90).ended_s < 60.0


def test_devices_drop_out_at_each_step_with_its_probability() -> None:
    told = course("drop:model=0.5,train=0.5,report=0.5")
    assert len(told.asked) == DEVICES
    assert [told.dropped[step] for step in STEPS] == pytest.approx([450, 225, 112], abs=50)
    assert sum(told.dropped.values()) + len(told.reported) == DEVICES
    assert not course("drop:report=1").reported


def test_a_round_of_too_few_fails_and_main_asks_again_later() -> None:
    nobody = course("random:0", at_s=50.0)
    assert nobody.failed
    assert (len(nobody.asked), nobody.reported, nobody.ended_s) == (0, (), 50.0 + LOOK_AGAIN_S)
    assert course("drop:report=1+deadline:30").ended_s == 30.0
    assert course("", size=4, reports=5).failed
    assert not course("", size=5, reports=5).failed


def test_joiners_and_leavers() -> None:
    there = world("join:0.5,from=5,to=6+leave:0.2,from=8")
    counts = [int(there.present(number).sum()) for number in (1, 4, 5, 6, 7)]
    assert counts == [450, 450, 675, 900, 900]
    assert int(there.present(8).sum()) == int(there.present(10_000).sum()) == 720
    assert not (~there.present(8) & there.present(9)).any()


@pytest.mark.parametrize(
    ("line", "flaw", "next_"),
    [
        ("sometimes", "no 'sometimes'", "Choose one of always"),
        ("random", "from 0 to 1", "random:0.5"),
        ("random:1.2", "from 0 to 1", "random:0.5"),
        ("random:0.5+diurnal:3", "who is there, and so does 'random'", "random:0.5"),
        ("diurnal:16,zone=3", "does not know 'zone'", "zones=3"),
        ("diurnal:25", "from 0 to 24", "diurnal:16"),
        ("speeds:fast=0.5", "add up to 1", "speeds:mixed"),
        ("speeds:mixed,fast=1", "add up to 1", "speeds:mixed"),
        ("speeds:quick", "add up to 1", "speeds:mixed"),
        ("drop:0.1", "takes no '0.1'", "train=0.1"),
        ("drop:sleep=0.1", "does not know 'sleep'", "train=0.1"),
        ("deadline:-1", "from 0", "deadline:60"),
        ("over:1e9", "from 0 to 400", "over:20"),
        ("join:0.5", "takes from=NUMBER", "join:0.3,from=5"),
        ("leave:0.5,from=5,to=3", "takes to=NUMBER from 5", "leave:0.3,from=5"),
        ("file", "path", "file:"),
    ],
)
def test_a_line_that_cannot_be_read_says_why(line: str, flaw: str, next_: str) -> None:
    with pytest.raises(SettingsError, match=flaw) as caught:
        world(line)
    assert caught.value.message.startswith("world: ")
    assert next_ in caught.value.next
