"""Typed messages: an unknown, missing, mistyped or missized field never gets past ``decode``."""

from __future__ import annotations

import contextlib
from typing import Annotated, Any

import pytest
from pydantic import Field, TypeAdapter, ValidationError
from pydantic.fields import FieldInfo

from fanlight.core.segments import Segment
from fanlight.errors import MalformedMessage, MessageTooLarge
from fanlight.protocol import codec
from fanlight.protocol.closing import InclusionProof, Outcome, OutcomeForDevice, SignedOutcome
from fanlight.protocol.exchange import Offer
from fanlight.protocol.message import U32, Blob, Flag, Hash, Message, Name, SegmentField, _to_wire
from fanlight.protocol.plan import Kind, Plan
from fanlight.protocol.report import (
    ENVELOPE_LIMIT,
    MAGIC,
    PREFIX_BYTES,
    Envelope,
    ReportHeader,
    body_prefix,
    envelope_length,
)
from tests.docs.protocol_tables import MESSAGES, messages_of
from tests.protocol_world import plan_of


class Inner(Message):
    number: U32


class Sample(Message):
    """One field of each kind."""

    number: U32
    hash: Hash
    name: Name
    flag: Flag
    inner: Inner
    items: Annotated[tuple[Inner, ...], Field(max_length=2)]
    segment: SegmentField
    note: Blob | None = None


SEGMENT = Segment("weight", 1, 32, 1, 1, 0, 10_000, "exact")
SAMPLE = Sample(
    number=7, hash=bytes(32), name="n", flag=True, inner=Inner(number=1), items=(Inner(number=2),), segment=SEGMENT
)
WIRE = SAMPLE.to_wire()


def test_a_message_survives_the_wire() -> None:
    assert Sample.decode(SAMPLE.encode()) == SAMPLE
    assert Sample.decode(SAMPLE.encode()).encode() == SAMPLE.encode()


def test_keys_are_positions_and_an_absent_option_is_absent() -> None:
    assert list(WIRE) == [1, 2, 3, 4, 5, 6, 7]
    with_note = SAMPLE.with_(note=b"x")
    assert list(with_note.to_wire()) == [1, 2, 3, 4, 5, 6, 7, 8]
    assert Sample.decode(with_note.encode()).note == b"x"


@pytest.mark.parametrize(
    "change",
    [
        {"number": 1.5},
        {"number": 1 << 64},
        {"name": "\ud800"},
        {"inner": Inner(number=1).with_(number=None, more=1).with_(number=0.5)},
        {"items": (Inner(number=1), None)},
        {"items": (b"", 1, 0.5)},
        {"items": {True: 1}},
        {"segment": SEGMENT.scale},
    ],
)
def test_what_is_changed_to_what_has_no_place_in_a_message_is_not_written(change: dict[str, Any]) -> None:
    with pytest.raises(MalformedMessage):
        SAMPLE.with_(**change).encode()


def test_the_hash_of_a_plan_is_not_that_of_the_one_it_was_changed_from() -> None:
    plan = plan_of()
    before, written = plan.hash, plan.encode()
    changed = plan.with_(epochs=plan.epochs + 1)
    assert changed.hash == Plan.decode(changed.encode()).hash != before
    assert changed.with_(epochs=plan.epochs).hash == before == Plan.decode(written).hash


def test_what_was_worked_out_from_a_plan_is_no_part_of_it() -> None:
    plan, fresh = plan_of(), plan_of()
    assert plan.hash
    assert plan == fresh
    assert fresh == plan
    assert hash(plan) == hash(fresh)
    assert (plan.encode(), repr(plan), plan.model_dump()) == (fresh.encode(), repr(fresh), fresh.model_dump())
    assert vars(plan.with_()) == vars(fresh)


def test_a_plan_of_its_own_kind_is_the_plan() -> None:
    plan = plan_of()
    assert plan.of_kind(Kind(plan.kind)) is plan
    assert plan.of_kind(Kind.MEASURE).hash == Plan.decode(plan.of_kind(Kind.MEASURE).encode()).hash != plan.hash


@pytest.mark.parametrize("key", [0, 9, -1, 1 << 63, "number", None])
def test_a_key_that_is_no_position_is_refused(key: Any) -> None:
    with pytest.raises(MalformedMessage):
        Sample.from_wire({**WIRE, key: 1})


def refuse(wire: dict[int, codec.Value]) -> str:
    with pytest.raises(MalformedMessage) as caught:
        Sample.decode(codec.encode(wire))
    return caught.value.message


@pytest.mark.parametrize("position", range(1, 8))
def test_a_missing_field_is_refused(position: int) -> None:
    wire = {key: value for key, value in WIRE.items() if key != position}
    assert list(Sample.model_fields)[position - 1] in refuse(wire)


@pytest.mark.parametrize("position", [0, 9, 100, (1 << 64) - 1])
def test_an_unknown_key_is_refused(position: int) -> None:
    assert f"unknown key {position}" in refuse({**WIRE, position: 1})


WRONG: list[tuple[int, codec.Value]] = [
    (1, True), (1, "7"), (1, b"7"), (1, -1), (1, 1 << 32), (1, [7]),
    (2, bytes(31)), (2, bytes(33)), (2, "x" * 32), (2, 0), (2, b""),
    (3, ""), (3, "x" * 65), (3, b"n"), (3, 1), (3, ["n"]),
    (4, 1), (4, 0), (4, "true"), (4, b"\x01"),
    (5, 1), (5, [1]), (5, {}), (5, {2: 1}), (5, {1: True}), (5, {1: 1, 2: 2}), (5, b""),
    (6, {}), (6, 1), (6, "ab"), (6, b"ab"), (6, [1]), (6, [{1: 1}] * 3), (6, [[1]]), (6, {1: {1: 1}}),
    (7, []), (7, ["weight"]), (7, {1: 1}), (7, ["weight", 1, 32, 1, 1, 0, True, "exact"]),
    (7, ["weight", 1, 32, 1, 1, 0, 10_000, b"exact"]), (7, ["weight", 1, 32, 1, 1, 0, 10_000, "exact", 1]),
    (8, "x"), (8, 1), (8, []), (8, False),
]  # fmt: skip


@pytest.mark.parametrize(("position", "value"), WRONG)
def test_a_value_of_another_type_or_size_is_refused(position: int, value: codec.Value) -> None:
    assert list(Sample.model_fields)[position - 1] in refuse({**WIRE, position: value})


@pytest.mark.parametrize("value", [[], 1, "x", b"x", True])
def test_a_message_is_a_map(value: codec.Value) -> None:
    with pytest.raises(MalformedMessage):
        Sample.decode(codec.encode(value))


def test_the_limit_reaches_the_codec() -> None:
    with pytest.raises(MessageTooLarge):
        Sample.decode(SAMPLE.encode(), limit=10)


def test_messages_cannot_be_changed() -> None:
    with pytest.raises(ValueError, match="frozen"):
        SAMPLE.number = 8  # type: ignore[misc]


def test_an_error_names_the_fields_but_not_their_values() -> None:
    message = refuse({**WIRE, 3: "secret" * 20})
    assert "name" in message
    assert "secret" not in message


def test_options_of_outcomes_are_absent_and_never_null() -> None:
    outcome = SignedOutcome(payload=b"p", aggregator_signature=bytes(64))
    assert list(outcome.to_wire()) == [1, 2]
    told = OutcomeForDevice(outcome=outcome, proof=InclusionProof(size=1, index=0, path=()))
    assert OutcomeForDevice.decode(told.encode()) == told


def test_an_outcome_has_one_of_three_results() -> None:
    wire: dict[int, codec.Value] = {1: bytes(32), 2: "victory", 3: "ok", 4: bytes(32)}
    with pytest.raises(MalformedMessage, match="result"):
        Outcome.decode(codec.encode(wire))
    assert Outcome.decode(codec.encode({**wire, 2: "failed"})).result == "failed"


def test_a_plan_has_a_kind_and_classes_that_differ() -> None:
    wire = plan_of().to_wire()
    assert Plan.decode(codec.encode(wire)) == plan_of()
    refused: list[tuple[int, codec.Value]]
    refused = [(2, "guess"), (3, ["a", "a"]), (3, ["a"]), (3, ["a", ""]), (12, 1_000_000)]
    for position, value in refused:
        with pytest.raises(MalformedMessage):
            Plan.decode(codec.encode({**wire, position: value}))


def test_a_plan_of_another_kind_has_another_hash() -> None:
    plan = plan_of()
    measuring = plan.of_kind(Kind.MEASURE)
    assert measuring.kind == "measure"
    assert measuring.hash != plan.hash
    assert measuring.of_kind(Kind.TRAIN).hash == plan.hash
    assert plan.parameters == 8


ENVELOPE = Envelope(header=b"h", sealed_main=bytes(80), sealed_aggregator=bytes(80))


def test_an_upload_begins_with_magic_length_and_envelope() -> None:
    prefix = body_prefix(ENVELOPE)
    length = envelope_length(prefix[:PREFIX_BYTES])
    assert prefix[:4] == b"FLR1"
    assert Envelope.decode(prefix[PREFIX_BYTES : PREFIX_BYTES + length]) == ENVELOPE
    assert len(prefix) == PREFIX_BYTES + length


@pytest.mark.parametrize(
    "prefix",
    [b"", MAGIC, MAGIC + b"\0\0\0", b"FLR2\0\0\0\x01", b"\0" * 8, MAGIC + (ENVELOPE_LIMIT + 1).to_bytes(4, "big")],
)
def test_another_beginning_is_refused(prefix: bytes) -> None:
    with pytest.raises(MalformedMessage):
        envelope_length(prefix)


@pytest.mark.parametrize("size", [0, 79, 81])
def test_a_sealed_seed_has_80_bytes(size: int) -> None:
    with pytest.raises(MalformedMessage):
        Envelope.decode(codec.encode({1: b"h", 2: bytes(size), 3: bytes(80)}))


def test_a_header_cannot_state_a_negative_or_huge_length() -> None:
    wire: dict[int, codec.Value] = {1: bytes(32), 2: bytes(16), 3: 8, 4: bytes(32), 5: bytes(32), 6: bytes(32)}
    assert ReportHeader.decode(codec.encode(wire)).length == 8
    for length in (-1, 1 << 63, True):
        with pytest.raises(MalformedMessage):
            ReportHeader.decode(codec.encode({**wire, 3: length}))


def fields_of_messages_that_travel() -> list[tuple[str, FieldInfo]]:
    return [
        (f"{kind.__name__}.{name}", field)
        for module in MESSAGES
        for kind in messages_of(module)
        for name, field in kind.model_fields.items()
    ]


def reader(field: FieldInfo) -> TypeAdapter[Any]:
    said: Any = field.annotation
    return TypeAdapter(Annotated[said, *field.metadata] if field.metadata else said)


PROBES: list[codec.Value] = [
    *(letter * length for letter in ("a", b"a") for length in (0, 1, 16, 32, 64, 80)),
    *(0, 1, 2, False, True, "0", "1", "true", []),
    *([each] for each in ("a" * 16, b"a" * 16, "a" * 32, b"a" * 32, 0, 1, "1", True)),
]

EMPTY: list[codec.Value] = [b"", "", [], 0, False]


@pytest.mark.parametrize(("name", "field"), fields_of_messages_that_travel())
def test_what_a_field_takes_is_encoded_as_it_came(name: str, field: FieldInfo) -> None:
    reads = reader(field)
    for sent in PROBES:
        with contextlib.suppress(ValidationError):
            assert codec.encode(_to_wire(reads.validate_python(sent))) == codec.encode(sent), name


@pytest.mark.parametrize(
    ("name", "field"), [(name, field) for name, field in fields_of_messages_that_travel() if not field.is_required()]
)
def test_a_field_that_may_be_absent_has_no_other_way_to_say_nothing(name: str, field: FieldInfo) -> None:
    assert field.default is None, f"{name} can be left out, and is written where it says the same"
    reads = reader(field)
    for empty in EMPTY:
        with pytest.raises(ValidationError):
            reads.validate_python(empty)


def test_an_offer_has_one_encoding() -> None:
    offer = Offer(fid=bytes(32), version=1, by_itself=True, plan=b"p", model=bytes(32), model_version=1)
    for nothing in ({7: b""}, {8: b""}, {9: 0}, {10: 0}):
        with pytest.raises(MalformedMessage):
            Offer.decode(codec.encode({**offer.to_wire(), **nothing}))
