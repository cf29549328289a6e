"""Attacks on packed reports: what a device could put where nothing belongs, and what it can do to the sum."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pytest
from numpy.typing import NDArray

from fanlight.core import ring
from fanlight.core.packing import pack, padding_is_zero, unpack
from fanlight.core.quantise import norm, norm_of_sum
from fanlight.core.randomness import Keystream
from fanlight.core.segments import layout_words, slices
from fanlight.errors import Refused, RemoteError
from fanlight.protocol import main_round
from fanlight.protocol.closing import SUM_NOT_USABLE, Outcome
from fanlight.protocol.digests import VECTOR_CHUNK_BYTES, vector_digest
from fanlight.protocol.manifest import Manifest, SignedManifest
from fanlight.protocol.report import ReportHeader, sign_report
from fanlight.protocol.signing import Signed
from tests import protocol_world
from tests.large_reports import MANY_CLASSES, give_features
from tests.protocol_world import Round, digest_of, secret
from tests.services_world import ProtocolDevice, Sent, World, running

Words = NDArray[np.uint32]
MEMORY = protocol_world.World(3, "packed attacks")
THIEF = MEMORY.owners[2]


# ---- what is on the wire


@pytest.fixture(scope="module", params=["in one request", "in parts"])
def world(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """An open round of packed updates, whose padding lies in the first or in the last of three chunks."""
    policy = {"update_bits": 16, "n_max": 1000}
    with pytest.MonkeyPatch.context() as patch:
        if request.param == "in parts":
            give_features(patch, 4001)
        classes = MANY_CLASSES[:199] if request.param == "in parts" else ("a", "b")
        with running(tmp_path_factory.mktemp("world"), classes=classes, **policy) as made:
            made.enrolled(2)
            yield made


@pytest.fixture
def device(world: World) -> ProtocolDevice:
    made = world.protocol_device()
    made.enrol()
    world.wait_members([made.id])
    return made


def manifest_of(device: ProtocolDevice) -> Manifest:
    return Manifest.decode(SignedManifest.decode(device.offer().manifest or b"").payload)


def signed_again(device: ProtocolDevice, sent: Sent, y: Words) -> Sent:
    """The report with another y, properly signed by its sender."""
    header = ReportHeader.decode(Signed.decode(sent.envelope.header).payload)
    header = header.with_(length=y.size, y_hash=vector_digest(ring.to_bytes(y)))
    envelope = sign_report(device.private, header, sent.envelope.sealed_main, sent.envelope.sealed_aggregator)
    return Sent(sent.record.with_(envelope=envelope.encode(), length=y.size), y, sent.plain)


@pytest.mark.parametrize("bit", ["lowest", "highest"])
def test_a_report_that_says_something_in_its_padding_is_refused(world: World, device: ProtocolDevice, bit: str) -> None:
    sent, layout = device.commit(), manifest_of(device).proposal.layout
    last = slices(layout)["weight"].stop + layout[1].words - 1
    used = layout[1].length * layout[1].bits % 32
    assert used, "there is padding"
    spoilt = sent.y.copy()
    spoilt[last] |= np.uint32(1 << (used if bit == "lowest" else 31))
    assert padding_is_zero(sent.y, layout)
    with pytest.raises(RemoteError) as caught:
        device.upload(signed_again(device, sent, spoilt))
    assert caught.value.slug == "padding-set"
    assert "says something behind its last number" in caught.value.message
    assert not any(spoilt[last:].tobytes() in held for held in world.report_files().values())
    listed = world.owner("aggregator").get("/api/v1/rounds/held")["rounds"][0]["refused"]
    assert [line["reason"] for line in listed if line["device"] == device.id.hex()] == ["padding-set"]
    device.report(sent)  # what it should have sent is taken


@pytest.mark.parametrize(
    "change",
    [
        lambda y, layout: y[:-1],
        lambda y, layout: np.append(y, np.uint32(0)),
        unpack,
        lambda y, layout: np.delete(y, 5),
    ],
    ids=["shorter", "longer", "not packed", "a word left out"],
)
def test_a_report_of_other_than_its_layouts_words_is_refused(
    device: ProtocolDevice, change: Callable[..., Words]
) -> None:
    sent = device.commit()
    wrong = np.ascontiguousarray(change(sent.y, manifest_of(device).proposal.layout))
    with pytest.raises(RemoteError) as caught:
        device.upload(signed_again(device, sent, wrong))
    assert caught.value.slug == "wrong-length"


def test_a_packed_report_is_as_small_as_promised(world: World, device: ProtocolDevice) -> None:
    sent, proposal = device.commit(), manifest_of(device).proposal
    assert sent.y.size == layout_words(proposal.layout)
    update = next(segment for segment in proposal.layout if segment.kind == "update")
    assert update.bits == 26
    assert 4 * update.words / update.length == pytest.approx(3.25, abs=0.002)
    device.report(sent)
    (held,) = [line for line in world.owner("aggregator").get("/api/v1/rounds/held")["rounds"] if line["reports"]]
    assert held["report_bytes"] == sent.y.nbytes
    assert (sent.y.nbytes > VECTOR_CHUNK_BYTES) == (update.length > 10_000)


# ---- what is in the sum


def cheated(told: Round, change: Callable[[Words], Words]) -> None:
    """All report; the thief adds to its masked vector what it likes, in the ring."""
    layout = told.proposal.layout
    for owner in MEMORY.owners:
        sent = told.commit(owner)
        if owner is THIEF:
            sent.y = pack(change(unpack(sent.y, layout)), layout)
            header = ReportHeader.decode(Signed.decode(sent.envelope.header).payload)
            header = header.with_(y_hash=digest_of(sent.y))
            envelope = sign_report(THIEF.key, header, sent.envelope.sealed_main, sent.envelope.sealed_aggregator)
            sent.record = sent.record.with_(envelope=envelope.encode())
        told.send(sent)


def flaw_of(step: main_round.Step) -> str:
    """The check that the sum has failed: main alone knows."""
    assert Outcome.decode(Signed.decode(step.reply).payload).reason == SUM_NOT_USABLE
    (flaw,) = step.flaws
    return flaw


@pytest.mark.parametrize("update_bits", [10, 16])
def test_a_garbage_mask_fails_the_round(update_bits: int) -> None:
    for number in range(20):
        told = Round(MEMORY, update_bits=update_bits).open().collect().agree()
        layout = told.proposal.layout
        vector = unpack(told.masked_sum(), layout)
        ring.add_into(vector, Keystream(secret(f"garbage-{number}")).uint32(vector.size))
        step = told.take_release(*told.release(pack(vector, layout)))
        assert told.m.at is main_round.State.FAILED
        assert flaw_of(step).endswith(("-out-of-range", "-norm-too-large"))


@pytest.mark.parametrize("update_bits", [10, 16])
@pytest.mark.parametrize("share", [0.0, 0.3, 0.9, 1.1, 3.0, 100.0])
def test_one_cheat_moves_the_sum_by_twice_the_longest_honest_one_at_most(update_bits: int, share: float) -> None:
    """Wherever it points and however often it winds around the ring: what comes out too long fails the round."""
    told = Round(MEMORY, update_bits=update_bits, most_pictures=30).open()
    update, place = told.proposal.layout[1], slices(told.proposal.layout)["update"]
    bound = norm_of_sum(update.hi, update.length, 3, (10 + 20 + 30) / 30)
    push = int(share * bound / np.sqrt(update.length))

    def pushed(vector: Words) -> Words:
        vector[place] -= np.uint32(push)
        return vector

    cheated(told, pushed)
    release, vector = told.agree().release()
    honest = np.sum([sent.plain for sent in told.reports], axis=0)[place]
    found = told.unmasked(vector)[place]
    step = told.take_release(release, vector)
    if told.m.at is main_round.State.FAILED:
        assert norm(found) > bound
        assert flaw_of(step) in ("update-norm-too-large", "update-out-of-range")
        assert share > 0.5
    else:
        assert norm(found) <= bound
        assert norm(found - honest) <= 2 * bound
        assert share < 1.5 or push % 2**update.bits < bound


def test_adding_the_whole_ring_changes_nothing() -> None:
    told = Round(MEMORY, update_bits=16).open()
    place = slices(told.proposal.layout)["update"]

    def wound(vector: Words) -> Words:
        vector[place] += np.uint32(1 << 26)
        return vector

    cheated(told, wound)
    honest = np.sum([sent.plain for sent in told.reports], axis=0)
    assert np.array_equal(told.agree().unmasked(told.masked_sum()), honest)


def test_the_exact_parts_keep_their_headroom_beside_a_packed_update() -> None:
    """A weight, a count or a supporter too many is seen whatever the width of the update."""
    for kind, most in (("weight", 3 * 10_000), ("counts", 3 * 10_000), ("supporters", 3), ("within_clip", 3)):
        told = Round(MEMORY, update_bits=10).open()
        place = slices(told.proposal.layout)[kind]

        def raised(vector: Words, place: slice = place, most: int = most) -> Words:
            vector[place] += np.uint32(most + 1)
            return vector

        cheated(told, raised)
        step = told.agree().take_release(*told.release())
        assert flaw_of(step) == f"{kind}-out-of-range"


def test_the_aggregator_can_say_nothing_in_the_padding_of_the_sum() -> None:
    told = Round(MEMORY, update_bits=16).open().collect().agree()
    vector = told.masked_sum()
    assert padding_is_zero(vector, told.proposal.layout)
    last = told.proposal.layout[0].words + told.proposal.layout[1].words - 1
    vector[last] |= np.uint32(1 << 31)
    release, _ = told.release(vector)
    with pytest.raises(Refused) as caught:
        told.take_release(release, vector)
    assert caught.value.slug == "padding-set"
    assert told.m.at is main_round.State.JUDGED


@pytest.mark.parametrize("more", [-1, 1, 3])
def test_a_packed_sum_of_another_length_is_refused(more: int) -> None:
    told = Round(MEMORY, update_bits=10).open().collect().agree()
    release, vector = told.release()
    with pytest.raises(Refused) as caught:
        told.take_release(release, np.resize(vector, vector.size + more))
    assert caught.value.slug == "wrong-length"


def test_neither_server_alone_sees_a_packed_vector() -> None:
    told = Round(MEMORY, update_bits=10).open()
    sent, layout = told.commit(THIEF), told.proposal.layout
    place = slices(layout)["update"]
    one_mask = unpack(sent.y, layout)
    told.take_off(one_mask, sent)
    for seen in (unpack(sent.y, layout), one_mask):
        numbers = ring.centre(seen[place], layout[1].bits)
        assert np.count_nonzero(numbers == sent.plain[place]) <= 1
