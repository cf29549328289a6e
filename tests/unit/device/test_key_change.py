"""A change of key survives a power cut, or a failing disk, at every moment of it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fanlight.errors import StorageError
from fanlight.protocol.plan import Kind
from fanlight.protocol.signing import raw_public_key
from fanlight.services.device import identity
from fanlight.services.device.client import Server
from fanlight.services.device.role import DeviceRole
from fanlight.services.device.values import Values
from tests.unit.device.federation import FakeFederation
from tests.unit.device.joined import turn

MOMENTS = 18
"""Before and after each of two key files written, four rows, one file destroyed, and two servers told."""


class PowerCut(BaseException):
    """Nothing after this happens."""


class Moments:
    """Counts what is written and sent, and ends it at one moment."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.passed, self.cut_at = 0, -1
        self.error: type[BaseException] = PowerCut
        for owner, name in (
            (identity, "write_secret"),
            (identity, "destroy"),
            (Values, "keep"),
            (Server, "rekey"),
        ):
            monkeypatch.setattr(owner, name, self._watched(getattr(owner, name)))

    def _watched(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def watched(*arguments: Any, **options: Any) -> Any:
            self._tick()
            result = function(*arguments, **options)
            self._tick()
            return result

        return watched

    def _tick(self) -> None:
        self.passed += 1
        if self.passed - 1 == self.cut_at:
            raise self.error("in between")

    def cut(self, at: int, error: type[BaseException]) -> None:
        self.passed, self.cut_at, self.error = 0, at, error


@pytest.fixture
def moments(monkeypatch: pytest.MonkeyPatch) -> Moments:
    return Moments(monkeypatch)


def check_all_is_well(federation: FakeFederation, device: DeviceRole) -> None:
    turn(device)
    assert not device.membership.changing_key
    assert federation.keys == dict.fromkeys(("main", "aggregator"), raw_public_key(device.identity.device.private))
    assert not (device.settings.state / identity.NEXT_KEY_FILE).exists()


def test_these_are_all_moments(device: DeviceRole, moments: Moments) -> None:
    turn(device)
    moments.cut(-1, PowerCut)
    device.membership.renew_key()
    assert moments.passed == MOMENTS


@pytest.mark.parametrize("at", range(MOMENTS))
def test_a_power_cut_at_any_moment(
    federation: FakeFederation, device: DeviceRole, moments: Moments, at: int, tmp_path: Path, drawn: Path
) -> None:
    turn(device)
    moments.cut(at, PowerCut)
    with pytest.raises(PowerCut):
        device.membership.renew_key()
    device.stop()
    moments.cut(-1, PowerCut)
    again = federation.device(tmp_path / "device-1", drawn)
    try:
        check_all_is_well(federation, again)
        before = dict(federation.keys)
        again.membership.renew_key()
        check_all_is_well(federation, again)
        assert before["main"] != federation.keys["main"]
        federation.open_round(Kind.MEASURE)
        turn(again)
        assert len(federation.uploads) == 1
    finally:
        again.stop()


@pytest.mark.parametrize("at", range(MOMENTS))
def test_a_failing_disk_at_any_moment(
    federation: FakeFederation, device: DeviceRole, moments: Moments, at: int, tmp_path: Path, drawn: Path
) -> None:
    turn(device)
    moments.cut(at, StorageError)
    with pytest.raises(StorageError):
        device.membership.renew_key()
    moments.cut(-1, PowerCut)
    turn(device)
    device.membership.renew_key()
    check_all_is_well(federation, device)
    device.stop()
    again = federation.device(tmp_path / "device-1", drawn)
    check_all_is_well(federation, again)
    again.stop()


def test_a_next_key_that_nobody_was_told_of_means_nothing(
    federation: FakeFederation, device: DeviceRole, tmp_path: Path, drawn: Path
) -> None:
    device.identity.keys.make_next()
    assert not device.membership.changing_key
    device.stop()
    again = federation.device(tmp_path / "device-1", drawn)
    check_all_is_well(federation, again)
    again.stop()


def test_a_lost_next_key_is_named(federation: FakeFederation, device: DeviceRole) -> None:
    turn(device)
    federation.down.add("main")
    with pytest.raises(Exception, match="does not answer"):
        device.membership.renew_key()
    device.identity.keys.forget_next()
    federation.down.clear()
    federation.keys["main"] = bytes(32)
    with pytest.raises(StorageError) as caught:
        device.membership.resume_change()
    assert caught.value.slug == "next-key-lost"


def test_what_was_learned_of_a_servers_clock_outlives_the_key(
    federation: FakeFederation, tmp_path: Path, drawn: Path
) -> None:
    role = federation.device(tmp_path / "device-2", drawn, clock=1.0)
    turn(role)
    learned = role.rounds.main.remote.auth.clock_offset_s
    role.membership.renew_key()
    assert role.rounds.main.remote.auth.clock_offset_s == learned != 0
    role.stop()
