"""Somebody on the line without TLS gives main's own older answers again: they are signed, and nothing says when."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fanlight.protocol import identities
from fanlight.protocol.closing import stored_outcome
from fanlight.protocol.exchange import PREFIX
from fanlight.services.aggregator.older_copies import MAIN_RESTORED
from fanlight.services.device.offers import Offers
from fanlight.services.device.store import DeviceStore
from fanlight.services.main_server import signed_answers
from tests.services_world import ProtocolDevice, World, running, wait


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with running(tmp_path) as made:
        yield made


def whole_round(world: World, devices: list[ProtocolDevice]) -> None:
    number = world.open_round()
    assert number is not None
    for device in devices:
        device.report()
    world.aggregate()
    wait(lambda: world.open_round() == number + 1, "the next round is open")


def test_an_older_offer_takes_a_device_back_to_an_older_model_as_long_as_somebody_sits_on_the_line(
    world: World, tmp_path: Path
) -> None:
    devices = world.enrolled(2)
    recorded = devices[0].main.remote.send("GET", f"{PREFIX}/offer?after=0&wait=0")
    whole_round(world, devices)
    store = DeviceStore(tmp_path / "device")
    offers = Offers(store, devices[0].main)
    offers.take(devices[0].offer())
    newer = store.held
    offers.take(devices[0].main._read_offer(recorded))
    older = store.held
    assert newer is not None
    assert older is not None
    assert (newer.version, older.version) == (1, 0)
    offers.take(devices[0].offer())
    mended = store.held
    store.close()
    assert mended is not None
    assert mended.sha256 == newer.sha256, "the next true answer mends it"


def test_older_members_shut_new_ones_out_and_let_those_in_again_who_have_left_at_main(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The aggregator asks again with each order, since the version is another one: it lasts as long as the replay."""
    service, main = world.aggregator.service, world.main.service
    gone = world.enrolled(2)[0]
    recorded = signed_answers.member_list(main)
    gone.main.leave(identities.leave(main.identity.trust.fid, gone.id, gone.private, int(world.clock())))
    newcomer = world.protocol_device()
    newcomer.enrol()
    world.wait_members([newcomer.id])
    assert gone.id not in service.reception.confirmed

    asked, ask = list[str](), service.main._ask

    def on_the_line(method: str, path: str, *arguments: Any, **options: Any) -> bytes:
        asked.append(path)
        return recorded if path == "/aggregator/members" else ask(method, path, *arguments, **options)

    with monkeypatch.context() as line:
        line.setattr(service.main, "_ask", on_the_line)
        main.members_changed()
        wait(lambda: gone.id in service.reception.confirmed, "who has left is a member again")
        assert newcomer.id not in service.reception.confirmed
    main.members_changed()
    wait(lambda: newcomer.id in service.reception.confirmed, "the next true answer mends it")
    assert gone.id not in service.reception.confirmed


def test_older_orders_make_the_aggregator_give_its_open_round_up(world: World) -> None:
    """It takes main for one that was put back: such orders are just what that one would give."""
    devices, service = world.enrolled(2), world.aggregator.service
    recorded = signed_answers.orders(world.main.service)
    whole_round(world, devices)
    opened = service.rounds.latest()
    assert opened is not None
    service.follow(service.main._read_orders(recorded))
    (ended,) = (stored.record for stored in service.rounds.since(2) if stored.record.mh == opened.record.mh)
    assert stored_outcome(ended.outcome).reason == MAIN_RESTORED
    wait(lambda: world.open_round() == 3, "rounds go on, and nobody has to answer anything twice")
    whole_round(world, devices)
