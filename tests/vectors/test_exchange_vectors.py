"""Messages between the signed steps, shards, and the ring of 64 bits: the file = the reference = the package."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from fanlight.core import ring
from fanlight.core.masks import add_mask, subtract_masks
from fanlight.core.packing import pack, unpack
from fanlight.core.segments import Segment
from fanlight.protocol import closing, exchange, log, manifest, plan, signing
from fanlight.protocol.digests import vector_digest
from fanlight.protocol.message import Message
from fanlight.protocol.shards import Lots, Shard, commitment, divide
from tests.protocol_world import World, plan_of
from tests.vectors import reference as ref
from tests.vectors.files import Case, load
from tests.vectors.reference_round import PLAN_FIELDS

EXCHANGE, SHARDS, LONG = load("v1/exchange"), load("v1/shards"), load("v1/long_ring")
Kind = type[Message]
OFFER = "fid version by_itself plan model model_version manifest invitation pause_s"
ORDERS = "fid version members_version order mh proposal cohort"
RELEASE = "mh shard count length sum_hash set_root log_head draw"
MESSAGES: dict[str, tuple[Kind, str, str]] = {
    "welcome": (exchange.Welcome, "", "device name"),
    "offer": (exchange.Offer, exchange.OFFER, OFFER),
    "offer of a round": (exchange.Offer, exchange.OFFER, OFFER),
    "orders": (exchange.Orders, exchange.ORDERS, ORDERS),
    "orders to propose": (exchange.Orders, exchange.ORDERS, ORDERS),
    "enrolments": (exchange.Enrolments, "", "enrolments"),
    "members": (exchange.Members, exchange.MEMBERS, "fid version devices"),
    "decline": (exchange.Decline, "", "reason"),
    "class proposal": (exchange.ClassProposal, "", "name"),
    "log head": (log.LogHead, log.LOG_HEAD, "fid role entries head time"),
    "cohort": (manifest.Cohort, "", "devices"),
    "plan of an algorithm": (plan.Plan, "", " ".join((*PLAN_FIELDS, "algorithm", "augmentation"))),
    "release of a shard": (closing.Release, closing.RELEASE, RELEASE),
    "release of another shard": (closing.Release, closing.RELEASE, RELEASE),
    "releases": (closing.Releases, "", "signed"),
    "left out": (closing.LeftOut, "", "mh shard reason devices"),
    "outcome with shards": (closing.Outcome, "", "mh result reason set_root shards"),
    "outcome for a device": (closing.OutcomeForDevice, "", "outcome proof"),
}
"""By case: what it is, the label that it is signed under, and its fields in order."""


def case(name: str) -> Case:
    return EXCHANGE[name] if name in EXCHANGE else SHARDS[name]


def plain(value: Any) -> Any:
    """A field of a message as it stands in a file."""
    if isinstance(value, Message):
        return value.to_wire()
    return [plain(one) for one in value] if isinstance(value, tuple) else value


@pytest.mark.parametrize("name", MESSAGES)
def test_messages(name: str) -> None:
    kind, label, fields = MESSAGES[name]
    given, payload = case(name).given, case(name).expected["payload"]
    assert tuple(kind.model_fields)[: len(fields.split())] == tuple(fields.split())
    wire = ref.message(*(given.get(field) for field in fields.split()))
    assert ref.cbor(wire) == payload
    ours = kind.decode(payload)
    assert ours.encode() == payload
    for field in given.keys() - {"secret"}:
        assert ref.cbor(plain(getattr(ours, field))) == ref.cbor(given[field])
    assert ("secret" in given) == bool(label)
    if label:
        private = Ed25519PrivateKey.from_private_bytes(given["secret"])
        signed = case(name).expected["signed"]
        assert signing.sign(private, label, payload).encode() == ref.signed(given["secret"], label, payload) == signed
        assert signing.verify_bytes(signing.raw_public_key(private), label, signed) == payload


def test_every_case_is_looked_at() -> None:
    others = {"draw", "places", "joined with the next", "joined with the one before"}
    assert MESSAGES.keys() | others == EXCHANGE.keys() | SHARDS.keys()


def test_a_draw_is_the_hash_of_the_secret() -> None:
    secret, expected = SHARDS["draw"].given["secret"], SHARDS["draw"].expected
    assert commitment(secret) == ref.digest("fanlight/draw/v1", secret) == expected["draw"]
    assert hashlib.sha256(expected["preimage"]).digest() == expected["draw"]


def lots(given: dict[str, Any]) -> Lots:
    return Lots(given["secret"], given["mh"], given["main_signature"])


def test_places_are_drawn_by_digests() -> None:
    given, expected = SHARDS["places"].given, SHARDS["places"].expected
    lot = ref.digest("fanlight/lot/v1", given["secret"], given["mh"], given["main_signature"])
    assert lot == expected["lot"]
    assert [ref.digest("fanlight/place/v1", lot, device) for device in given["cohort"]] == expected["digests"]
    ours = lots(given).places(given["cohort"], given["shards"])
    theirs = ref.places(lot, given["cohort"], given["shards"])
    assert [ours[device] for device in given["cohort"]] == theirs == expected["places"]


@pytest.mark.parametrize("name", ["joined with the next", "joined with the one before"])
def test_shards_of_too_few_are_joined(name: str) -> None:
    given, expected = SHARDS[name].given, SHARDS[name].expected
    drawn = dict(zip(given["cohort"], SHARDS["places"].expected["places"], strict=True))
    theirs = ref.summed(drawn, given["shards"], given["k_min"], given["accepted"])
    assert theirs == dict(zip(expected["numbers"], expected["devices"], strict=True))
    terms = World(2).proposal(plan_of(), k_min=given["k_min"], shards=given["shards"])
    ours = divide(terms, lots(given), given["cohort"], given["accepted"])
    assert ours == tuple(Shard(number, tuple(devices)) for number, devices in theirs.items())


def test_a_vector_in_words_of_64_bits() -> None:
    given, expected = LONG["masked"].given, LONG["masked"].expected
    layout = tuple(Segment(*one) for one in given["layout"])
    keys = (given["main_mask_key"], given["aggregator_mask_key"])
    vector = ring.to_ring(np.array(given["q"], np.int64), 64)
    assert vector.astype("<u8").tobytes() == expected["plain"]
    mask = np.zeros(2, np.uint64)
    add_mask(mask, keys[0])
    assert mask.astype("<u8").tobytes() == expected["first_of_main"]
    for key in keys:
        add_mask(vector, key)
    y = bytes(ring.to_bytes(pack(vector, layout)))
    assert y == b"".join(word.to_bytes(8, "little") for word in ref.masked_long(given["q"], keys)) == expected["y"]
    assert vector_digest(y) == ref.vector_hash(y) == expected["y_hash"]


def test_a_sum_in_words_of_64_bits() -> None:
    given, expected = LONG["sum"].given, LONG["sum"].expected
    layout = tuple(Segment(*one) for one in given["layout"])
    main, agg = given["main_mask_key"], given["aggregator_mask_key"]
    total = ring.zeros(len(expected["sum"]), 64)
    for vector in given["vectors"]:
        ring.add_into(total, unpack(np.frombuffer(vector, "<u4").copy(), layout))
    subtract_masks(total, [main, agg, main])
    assert ring.centre(total).tolist() == expected["sum"]
    rows = [[int.from_bytes(each[at : at + 8], "little") for at in range(0, len(each), 8)] for each in given["vectors"]]
    left = ref.masked_long([sum(column) for column in zip(*rows, strict=True)], [main, agg, main], -1)
    assert [word - (word >> 63 << 64) for word in left] == expected["sum"]
