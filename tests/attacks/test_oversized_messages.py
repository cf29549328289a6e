"""Messages that are too large, too deep, or promise more than they bring: refused before anything is built of them."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable

import pytest

from fanlight.core.segments import MOST_WORDS, Segment
from fanlight.errors import FanlightError, MalformedMessage, MessageTooLarge, Refused
from fanlight.protocol import codec, signing
from fanlight.protocol.closing import CLOSE, CLOSE_LIMIT, VERDICT
from fanlight.protocol.device_round import History
from fanlight.protocol.manifest import SignedManifest
from fanlight.protocol.report import MAGIC, Envelope, envelope_length
from tests.protocol_world import MODEL, NOW, Round, World, floors

WORLD = World(2, "oversized")
LITTLE = 1 << 20


def costs_little(attack: Callable[[], object], error: type[FanlightError]) -> None:
    """It fails so, and takes next to no memory for it."""
    tracemalloc.start()
    try:
        with pytest.raises(error):
            attack()
        assert tracemalloc.get_traced_memory()[1] < LITTLE
    finally:
        tracemalloc.stop()


HUGE = (1 << 62).to_bytes(8, "big")


@pytest.mark.parametrize(
    "message",
    [
        b"\x5b" + HUGE,  # a byte string of four exabytes
        b"\x7b" + HUGE,  # a text
        b"\x9b" + HUGE,  # an array
        b"\xbb" + HUGE,  # a map
        b"\x81" * 5000 + b"\x00",  # arrays in arrays
        b"\xa1\x00" * 5000 + b"\x00",  # maps in maps
        b"\x9f" + b"\x00" * 100,  # an array without an end
        b"\xc2\x41\x01",  # a big number
    ],
    ids=["bytes", "text", "array", "map", "deep arrays", "deep maps", "endless", "bignum"],
)
def test_a_message_that_promises_more_than_it_brings(message: bytes) -> None:
    costs_little(lambda: codec.decode(message), MalformedMessage)
    costs_little(lambda: Envelope.decode(message), MalformedMessage)
    costs_little(lambda: SignedManifest.decode(message), MalformedMessage)


def test_a_message_over_its_limit_is_not_looked_at() -> None:
    message = codec.encode(bytes(1 << 21))
    costs_little(lambda: codec.decode(message), MessageTooLarge)
    costs_little(lambda: signing.verify_bytes(WORLD.trust.main_key, VERDICT, message), MessageTooLarge)


def test_a_close_or_verdict_over_its_limit() -> None:
    told = Round(WORLD).open().collect()
    close = signing.sign(WORLD.aggregator_key, CLOSE, bytes(CLOSE_LIMIT)).encode()
    verdict = signing.sign(WORLD.main_key, VERDICT, bytes(CLOSE_LIMIT)).encode()
    costs_little(lambda: told.judge(close), MessageTooLarge)
    told.close()
    costs_little(lambda: told.take_verdict(verdict), MessageTooLarge)


@pytest.mark.parametrize("length", [4097, 1 << 31, (1 << 32) - 1])
def test_an_envelope_that_claims_to_be_long(length: int) -> None:
    costs_little(lambda: envelope_length(MAGIC + length.to_bytes(4, "big")), MalformedMessage)


def test_a_vector_longer_than_any_memory_is_refused_before_it_is_made() -> None:
    told = Round(WORLD)
    weight, update, *rest = told.proposal.layout
    longest = Segment(update.kind, MOST_WORDS, 32, *update.scale.as_integer_ratio(), update.lo, update.hi, "stochastic")
    signed = WORLD.sign_manifest(told.proposal.with_(layout=(weight, longest, *rest)))
    device = WORLD.owners[0].device
    costs_little(lambda: device.check_manifest(signed, told.plan, MODEL, None, floors(), History({}, 0), NOW), Refused)
    with pytest.raises(Refused) as caught:
        WORLD.aggregator.offer(
            None, told.proposal.with_(layout=(weight, longest, *rest)), (), bytes(32), bytes(32), NOW
        )
    assert caught.value.slug == "bad-layout"
