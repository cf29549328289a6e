"""A device leaves: at once here, at each server as soon as that can be told, and then for good."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from fanlight.errors import NotPossibleNow, Unreachable
from fanlight.protocol.device_round import Delivery
from fanlight.services.device import status
from fanlight.services.device.role import DeviceRole
from tests.unit.device.federation import FakeFederation
from tests.unit.device.joined import announced, done, kept_y, turn


def test_both_servers_are_told_and_nothing_else_is_asked_of_them(
    federation: FakeFederation, device: DeviceRole
) -> None:
    turn(device)
    device.leave()
    assert set(federation.departed) == {"main", "aggregator"}
    assert status.status(device)["leaving"] == {
        name: {"knows": True, "problem": None} for name in ("main", "aggregator")
    }
    seen = len(federation.seen)
    turn(device)
    device.leave()
    assert len(federation.seen) == seen


def test_a_server_that_is_away_is_told_later(federation: FakeFederation, device: DeviceRole) -> None:
    turn(device)
    federation.down.add("aggregator")
    device.leave()
    assert set(federation.departed) == {"main"}
    leaving = status.status(device)["leaving"]
    assert leaving["main"]["knows"]
    assert (leaving["aggregator"]["knows"], leaving["aggregator"]["problem"]["slug"]) == (False, "unreachable")
    federation.down.clear()
    device.agent._say_goodbye()
    assert set(federation.departed) == {"main", "aggregator"}
    assert status.status(device)["leaving"]["aggregator"] == {"knows": True, "problem": None}


def test_an_answer_that_is_lost_does_no_harm(federation: FakeFederation, device: DeviceRole) -> None:
    turn(device)
    federation.lose_answers_to.add("departures")
    device.leave()
    assert not device.membership.has_told_all
    federation.lose_answers_to.clear()
    device.leave()
    assert device.membership.has_told_all


def test_who_left_unheard_can_come_back_and_who_was_heard_cannot(
    federation: FakeFederation, device: DeviceRole
) -> None:
    turn(device)
    federation.down |= {"main", "aggregator"}
    device.leave()
    device.come_back()
    assert not status.status(device)["left"]
    federation.down.clear()
    turn(device)
    federation.down.add("main")
    device.leave()
    with pytest.raises(NotPossibleNow) as caught:
        device.come_back()
    assert caught.value.slug == "left"
    assert status.status(device)["left"]


def test_who_came_back_after_the_loop_had_looked_is_not_thrown_out(
    federation: FakeFederation, device: DeviceRole
) -> None:
    turn(device)
    federation.down |= {"main", "aggregator"}
    device.leave()
    assert device.agent._has_left  # the loop has looked, and is about to tell the servers
    device.come_back()
    federation.down.clear()
    device.agent._say_goodbye()
    assert not federation.departed
    assert not device.store.departure.told


def test_leaving_goes_on_after_a_restart(
    federation: FakeFederation, device: DeviceRole, tmp_path: Path, drawn: Path
) -> None:
    turn(device)
    federation.down.add("main")
    device.leave()
    device.stop()
    federation.down.clear()
    again = federation.device(tmp_path / "device-1", drawn)
    assert status.status(again)["left"]
    again.agent._say_goodbye()
    assert again.membership.has_told_all
    again.stop()


def test_leaving_in_the_middle_of_a_change_of_key_uses_the_key_that_each_server_knows(
    federation: FakeFederation, device: DeviceRole
) -> None:
    turn(device)
    federation.down.add("aggregator")
    with pytest.raises(Unreachable):
        device.membership.renew_key()
    device.leave()
    assert set(federation.departed) == {"main"}
    federation.down.clear()
    device.leave()
    assert set(federation.departed) == {"main", "aggregator"}


def test_what_was_not_sent_is_deleted_and_no_step_reaches_a_server(
    federation: FakeFederation, device: DeviceRole
) -> None:
    announced(device)
    signed = federation.open_round()
    turn(device)
    done(device, device.steps.send())
    device.leave()
    record = device.store.report(signed.hash)
    assert record is not None
    assert record.at is Delivery.CONFIRMED
    assert kept_y(device.store, signed.hash) is None
    for step in (device.steps.announce, device.steps.send):
        with pytest.raises(NotPossibleNow) as caught:
            step()
        assert caught.value.slug == "left"


def test_a_pause_keeps_what_has_not_arrived(federation: FakeFederation, device: DeviceRole) -> None:
    announced(device)
    federation.open_round()
    turn(device)
    federation.down.add("aggregator")
    device.jobs.wait(device.steps.send().id, 60)
    federation.down.clear()
    device.rounds.wishes.pause(True)
    turn(device)
    assert not federation.uploads
    device.rounds.wishes.pause(False)
    turn(device)
    assert len(federation.uploads) == 1


def _made(state: Path) -> list[Path]:
    return [path for name in ("thumbnails", "features") for path in (state / name).rglob("*") if path.is_file()]


def test_leaving_deletes_what_was_made_of_the_pictures(federation: FakeFederation, device: DeviceRole) -> None:
    announced(device)
    device.library.thumbnail(device.library.page().pictures[0].sha256)
    assert len(_made(device.settings.state)) > 10
    device.leave()
    assert not _made(device.settings.state)
    assert device.library.page().total == 10


def test_with_the_folder_of_pictures_goes_what_was_made_of_them(
    federation: FakeFederation, tmp_path: Path, drawn: Path
) -> None:
    data = Path(shutil.copytree(drawn, tmp_path / "data"))
    role = federation.device(tmp_path / "device-2", data)
    announced(role)
    role.library.thumbnail(role.library.page().pictures[0].sha256)
    assert _made(role.settings.state)
    shutil.rmtree(data)
    assert status.status(role)["pictures"]["error"]["slug"] == "data-folder-gone"
    assert not _made(role.settings.state)
    role.stop()
