from __future__ import annotations

from pathlib import Path

import pytest

from fanlight.errors import NotPossibleNow, StorageError, Unreachable
from fanlight.protocol.signing import raw_public_key
from fanlight.services.device.identity import Identity
from fanlight.services.device.role import DeviceRole
from tests.unit.device.federation import FakeFederation
from tests.unit.device.joined import announced, done, failed, turn


def public_key(role: DeviceRole) -> bytes:
    return raw_public_key(role.identity.device.private)


def test_a_new_key_is_taken_by_both_servers_and_the_id_stays(
    federation: FakeFederation, device: DeviceRole, tmp_path: Path
) -> None:
    turn(device)
    before, key = device.identity.device.device, public_key(device)
    device.membership.renew_key()
    assert public_key(device) != key
    assert federation.keys == dict.fromkeys(("main", "aggregator"), public_key(device))
    assert device.identity.device.device == before
    again = Identity(tmp_path / "device-1", federation.trust)
    assert (again.device.device, raw_public_key(again.device.private)) == (before, public_key(device))
    turn(device)
    announced(device)


def test_an_interrupted_change_of_key_goes_on_after_a_restart(
    federation: FakeFederation, device: DeviceRole, tmp_path: Path, drawn: Path
) -> None:
    turn(device)
    old = public_key(device)
    federation.down.add("aggregator")
    with pytest.raises(Unreachable):
        device.membership.renew_key()
    assert device.membership.changing_key
    assert (federation.keys["main"] == old, federation.keys["aggregator"] == old) == (False, True)
    device.stop()
    federation.down.clear()
    again = federation.device(tmp_path / "device-1", drawn)
    turn(again)
    assert not again.membership.changing_key
    assert federation.keys == dict.fromkeys(("main", "aggregator"), public_key(again))
    again.stop()


def test_no_change_of_key_before_enrolment_or_during_a_report(federation: FakeFederation, device: DeviceRole) -> None:
    with pytest.raises(NotPossibleNow) as caught:
        device.membership.renew_key()
    assert caught.value.slug == "not-enrolled-yet"
    announced(device)
    federation.open_round()
    turn(device)
    done(device, device.steps.send())
    with pytest.raises(NotPossibleNow) as caught:
        device.membership.renew_key()
    assert caught.value.slug == "report-on-its-way"


def test_no_report_is_built_during_a_change_of_key(federation: FakeFederation, device: DeviceRole) -> None:
    announced(device)
    federation.down.add("aggregator")
    with pytest.raises(Unreachable):
        device.membership.renew_key()
    federation.open_round()
    device.agent.refresh()
    assert failed(device, device.steps.send()) == "key-change"
    federation.down.clear()
    turn(device)
    done(device, device.steps.send())


def test_only_the_first_key_enrols_again(federation: FakeFederation, device: DeviceRole) -> None:
    turn(device)
    device.membership.forget_enrolments()
    assert not device.membership.is_enrolled("main")
    turn(device)
    device.membership.renew_key()
    device.membership.forget_enrolments()
    assert device.membership.is_enrolled("main")


def test_a_state_folder_belongs_to_one_federation(federation: FakeFederation, tmp_path: Path) -> None:
    Identity(tmp_path / "state", federation.trust)
    other = FakeFederation(tmp_path / "other")
    with pytest.raises(StorageError) as caught:
        Identity(tmp_path / "state", other.trust)
    assert caught.value.slug == "foreign-state"


@pytest.mark.parametrize("content", [b"", b"zz", b"00" * 31, bytes(range(32))], ids=["empty", "no-hex", "short", "raw"])
def test_a_damaged_key_is_named(federation: FakeFederation, tmp_path: Path, content: bytes) -> None:
    Identity(tmp_path / "state", federation.trust)
    (tmp_path / "state" / "device.key").write_bytes(content)
    with pytest.raises(StorageError, match=r"device\.key"):
        Identity(tmp_path / "state", federation.trust)


def test_a_key_that_others_can_read_is_refused(federation: FakeFederation, tmp_path: Path) -> None:
    Identity(tmp_path / "state", federation.trust)
    (tmp_path / "state" / "device.key").chmod(0o644)
    with pytest.raises(StorageError) as caught:
        Identity(tmp_path / "state", federation.trust)
    assert caught.value.slug == "secret-not-private"
