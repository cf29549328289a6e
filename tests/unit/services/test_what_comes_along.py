"""What comes with the offer, if a device asks for it along: a small model that it does not have, how a round ended."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from fanlight.errors import NotFound, StorageError
from fanlight.protocol.closing import OutcomeForDevice
from fanlight.protocol.exchange import ALONG_BYTES, PREFIX, Offer
from fanlight.services.device.client import MainClient
from fanlight.services.main_server import offers
from tests.services_world import ProtocolDevice, World, running, wait


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


def reported_by_all(devices: Sequence[ProtocolDevice]) -> bytes:
    """The round, to which each has reported."""
    (mh,) = {device.report().record.mh for device in devices}
    return mh


def offer_with_end(device: ProtocolDevice, mh: bytes) -> Offer:
    with device.main.remote.open_line() as line:
        return device.main.poll_offer(line, 0, 0, None, mh)


def ended_with_offer(device: ProtocolDevice, mh: bytes) -> OutcomeForDevice | None:
    """What came along."""
    return offer_with_end(device, mh).ended


def test_how_a_round_ended_comes_to_each_with_its_own_proof(world: World) -> None:
    devices, stranger = world.enrolled(2), world.protocol_device()
    stranger.enrol()
    mh = reported_by_all(devices)
    assert ended_with_offer(devices[0], mh) is None, "it is not over"
    assert ended_with_offer(devices[0], bytes(32)) is None, "there is none"
    world.aggregate()
    wait(lambda: world.round(1, state="complete"), "the round is over")
    told = [ended_with_offer(device, mh) for device in (*devices, stranger, *devices)]
    assert told == [device.outcome(mh) for device in (*devices, stranger, *devices)]
    proofs = [answer.proof for answer in told if answer is not None]
    assert [proof is not None for proof in proofs] == [True, True, False, True, True]
    assert proofs[0] != proofs[1]
    assert devices[0].offer().ended is None, "nobody has asked for it"


@pytest.fixture
def ended(world: World) -> tuple[ProtocolDevice, bytes]:
    """A device, and a round of its that is over."""
    devices = world.enrolled(2)
    mh = reported_by_all(devices)
    world.aggregate()
    wait(lambda: world.round(1, state="complete"), "the round is over")
    return devices[0], mh


def test_what_is_long_does_not_come(ended: tuple[ProtocolDevice, bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    device, mh = ended
    assert ended_with_offer(device, mh) is not None
    monkeypatch.setattr(offers, "ALONG_BYTES", 10)
    assert ended_with_offer(device, mh) is None
    assert len(device.outcome(mh).outcome.payload) > 10, "it is there to be asked for"


def test_it_is_taken_from_the_offer_only_if_it_is_about_that_round(
    ended: tuple[ProtocolDevice, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    device, mh = ended
    offer = offer_with_end(device, mh)

    def asked(_self: MainClient, other: bytes) -> OutcomeForDevice:
        raise NotFound(other.hex())

    monkeypatch.setattr(MainClient, "outcome", asked)
    assert device.main.outcome_of(mh, offer) == offer.ended
    for other, said in ((bytes(32), offer), (mh, offer.with_(ended=None)), (mh, None)):
        with pytest.raises(NotFound, match=other.hex()):
            device.main.outcome_of(other, said)
