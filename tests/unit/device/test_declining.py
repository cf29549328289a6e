"""A device that will not report says so once, so that nobody waits for it; and one whose clock is wrong reports."""

from __future__ import annotations

from pathlib import Path

import pytest

from fanlight.protocol.closing import Result
from fanlight.protocol.plan import Kind
from fanlight.services.device.role import DeviceRole
from tests.unit.device.federation import NOW, FakeFederation
from tests.unit.device.joined import announced, done, turn


@pytest.mark.parametrize("kind", [Kind.TRAIN, Kind.MEASURE])
def test_a_refused_round_is_declined_once(federation: FakeFederation, tmp_path: Path, drawn: Path, kind: Kind) -> None:
    role = federation.device(tmp_path / "device-2", drawn, accept_demo=False)
    federation.by_itself = True
    first = federation.open_round(kind)
    turn(role)
    turn(role)
    assert federation.declined == [first.hash.hex()]
    second = federation.open_round(kind)
    turn(role)
    assert federation.declined == [first.hash.hex(), second.hash.hex()]
    assert federation.declined_because == ["demo-refused"] * 2
    role.stop()


def test_a_main_server_that_was_started_anew_is_told_again(
    federation: FakeFederation, tmp_path: Path, drawn: Path
) -> None:
    role = federation.device(tmp_path / "device-2", drawn, accept_demo=False)
    signed = federation.open_round()
    turn(role)
    federation.offers_since = 1_000  # it has forgotten who declined, while this device paused between two polls
    turn(role)
    turn(role)
    assert federation.declined == [signed.hash.hex()] * 2
    role.stop()


def test_a_round_over_the_days_limit_is_declined(federation: FakeFederation, tmp_path: Path, drawn: Path) -> None:
    role = federation.device(tmp_path / "device-2", drawn, answers_per_day=1)
    federation.by_itself = True
    federation.open_round()
    turn(role)
    federation.end_round(Result.FAILED)
    signed = federation.open_round(attempt=1)
    turn(role)
    assert (len(federation.uploads), federation.declined) == (1, [signed.hash.hex()])
    assert federation.declined_because == ["answers-per-day"]
    role.stop()


def test_with_nothing_to_learn_from_a_training_round_is_declined(
    federation: FakeFederation, tmp_path: Path, drawn: Path
) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "test").symlink_to(drawn)
    role = federation.device(tmp_path / "device-2", tmp_path / "data")
    federation.by_itself = True
    signed = federation.open_round()
    turn(role)
    turn(role)
    assert federation.declined == [signed.hash.hex()]
    assert federation.declined_because == ["nothing-to-learn-from"]
    federation.open_round(Kind.MEASURE)
    turn(role)
    assert len(federation.uploads) == len(federation.declined) == 1
    role.stop()


def test_with_nothing_to_measure_on_a_measuring_round_is_declined_and_others_are_not(
    federation: FakeFederation, tmp_path: Path, drawn: Path
) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "train").symlink_to(drawn)
    (tmp_path / "data" / "test").mkdir()
    role = federation.device(tmp_path / "device-2", tmp_path / "data")
    federation.by_itself = True
    signed = federation.open_round(Kind.MEASURE)
    turn(role)
    turn(role)
    assert (federation.uploads, federation.declined) == ([], [signed.hash.hex()])
    assert federation.declined_because == ["nothing-to-learn-from"]
    federation.open_round()
    turn(role)
    assert (len(federation.uploads), len(federation.declined)) == (1, 1)
    role.stop()


def test_an_older_main_does_not_know_of_that(federation: FakeFederation, tmp_path: Path, drawn: Path) -> None:
    role = federation.device(tmp_path / "device-2", drawn, accept_demo=False)
    federation.knows_decline = False
    federation.open_round()
    turn(role)
    asked = federation.seen.count("main POST rounds")
    turn(role)
    assert federation.seen.count("main POST rounds") == asked == 1
    role.stop()


def test_a_round_that_is_answered_or_left_to_the_owner_is_not_declined(
    federation: FakeFederation, device: DeviceRole
) -> None:
    federation.open_round()
    turn(device)
    federation.by_itself = True
    turn(device)
    assert (len(federation.uploads), federation.declined) == (1, [])


@pytest.mark.parametrize("clock", [NOW + 86_400, 1.0], ids=["fast", "1970"])
def test_a_clock_that_is_wrong_is_set_right_by_the_servers(
    federation: FakeFederation, tmp_path: Path, drawn: Path, clock: float
) -> None:
    role = federation.device(tmp_path / "device-2", drawn, clock=clock)
    announced(role)
    federation.open_round()
    turn(role)
    done(role, role.steps.send())
    assert role.store.past.reports()[0].committed_at == int(clock)
    role.stop()


def test_a_round_with_a_backbone_that_the_owner_does_not_want_is_refused(
    federation: FakeFederation, tmp_path: Path, drawn: Path
) -> None:
    role = federation.device(tmp_path / "device-2", drawn)
    role.rounds.wishes.allow(["softmax"])
    federation.by_itself = True
    federation.open_round()
    turn(role)
    assert (federation.uploads, federation.declined_because) == ([], ["backbone-refused"])
    role.rounds.wishes.allow(["efficientnet-lite0", "softmax"])
    turn(role)
    assert len(federation.uploads) == 1
    role.stop()
