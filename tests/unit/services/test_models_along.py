"""The file of a small model comes with the offer, if a device that has another one asks for it along."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from fanlight.errors import StorageError
from fanlight.protocol.exchange import ALONG_BYTES, PREFIX
from fanlight.services.main_server import offers
from tests.services_world import ProtocolDevice, World, running


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with running(tmp_path) as made:
        yield made


@pytest.fixture
def device(world: World) -> ProtocolDevice:
    return world.enrolled(2)[0]


def file_with_offer(device: ProtocolDevice, query: str) -> bytes | None:
    """What came along."""
    answer = device.main.remote.send("GET", f"{PREFIX}/offer?after=0&wait=0{query}")
    return device.main._read_offer(answer).file


def test_it_comes_to_who_asks_for_it_and_does_not_have_it(world: World, device: ProtocolDevice) -> None:
    sha256 = device.offer().model
    model = world.main.service.model(sha256)
    assert len(model) <= ALONG_BYTES, "or nobody would get it along"
    enough = f"&most={len(model)}"
    assert file_with_offer(device, enough) == model
    assert file_with_offer(device, enough + f"&have={bytes(32).hex()}") == model
    assert file_with_offer(device, enough + f"&have={sha256.hex()}") is None
    assert file_with_offer(device, f"&most={len(model) - 1}") is None
    assert file_with_offer(device, "") is None
    assert device.main.offer(along=True).file == model, "as devices do"
    assert device.main.offer().file is None, "signs of life do not ask for it"


def test_a_large_one_does_not_come_however_much_is_asked_for(
    device: ProtocolDevice, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = f"&most={1 << 40}"
    assert file_with_offer(device, asked) is not None
    monkeypatch.setattr(offers, "ALONG_BYTES", 100)
    assert file_with_offer(device, asked) is None


def test_offers_go_on_if_the_file_is_damaged(
    world: World, device: ProtocolDevice, monkeypatch: pytest.MonkeyPatch
) -> None:
    def damaged(_sha256: bytes) -> bytes:
        raise StorageError("It is damaged.")

    monkeypatch.setattr(world.main.service, "model", damaged)
    offer = device.main.offer()
    assert (offer.file, offer.fid) == (None, world.main.service.identity.trust.fid)
