"""A manifest holds only with both signatures over the same bytes and with limits that protect and can be summed."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from fanlight.core.segments import Segment
from fanlight.errors import FanlightError, MalformedMessage, NotAuthentic, Refused
from fanlight.protocol import codec, signing
from fanlight.protocol.device import check_floors
from fanlight.protocol.device_round import Floors, History, answer_key
from fanlight.protocol.manifest import (
    Manifest,
    Proposal,
    SignedManifest,
    check_invitation,
    check_proposal,
    cohort_hash,
    countersign,
    invite,
    manifest_hash,
    read_manifest,
)
from fanlight.protocol.plan import Plan
from tests.protocol_world import MODEL, NOW, World, floors, plan_of, public, round_key, secret

WORLD = World(3)
PLAN = plan_of()
PROPOSAL = WORLD.proposal(PLAN)
SIGNED = WORLD.sign_manifest(PROPOSAL)
DEVICE = WORLD.owners[0].device


def ask(
    proposal: Proposal = PROPOSAL,
    *,
    plan: Plan = PLAN,
    model: bytes = MODEL,
    invitation: bytes | None = None,
    rules: Floors | None = None,
    history: History | None = None,
    now: int = NOW,
) -> Manifest:
    signed, history = WORLD.sign_manifest(proposal), history or History({}, 0)
    return DEVICE.check_manifest(signed, plan, model, invitation, rules or floors(), history, now)


def slug_of(**arguments: Any) -> str:
    with pytest.raises(Refused) as caught:
        ask(**arguments)
    assert caught.value.message
    return caught.value.slug


def test_a_good_manifest_is_answered() -> None:
    manifest = ask()
    assert manifest.proposal == PROPOSAL
    assert manifest.closes_at == NOW + 600
    assert manifest.length == 1 + 8 + 8 + 2 + 2 + 1
    assert Manifest.decode(manifest.encode()) == manifest


def test_the_hash_covers_every_byte() -> None:
    assert SIGNED.hash == manifest_hash(SIGNED.payload) != manifest_hash(SIGNED.payload[:-1] + b"\0")


@pytest.mark.parametrize("field", ["aggregator_signature", "main_signature"])
def test_both_signatures_are_needed(field: str) -> None:
    other = "main_signature" if field == "aggregator_signature" else "aggregator_signature"
    for wrong in (bytes(64), getattr(SIGNED, other)):
        with pytest.raises(NotAuthentic):
            read_manifest(WORLD.trust, SIGNED.with_(**{field: wrong}))


def test_one_server_cannot_sign_for_both() -> None:
    payload = SIGNED.payload
    for private in (WORLD.main_key, WORLD.aggregator_key):
        alone = SignedManifest(
            payload=payload,
            aggregator_signature=signing.sign(private, "manifest-agg", payload).signature,
            main_signature=signing.sign(private, "manifest-main", payload).signature,
        )
        with pytest.raises(NotAuthentic):
            read_manifest(WORLD.trust, alone)


def test_the_aggregators_signature_verifies_on_its_own() -> None:
    manifest = Manifest.decode(SIGNED.payload)
    data = countersign(WORLD.aggregator_key, manifest)
    assert signing.verify_bytes(WORLD.trust.aggregator_key, "manifest-agg", data) == SIGNED.payload


WIDE = tuple(dataclasses.replace(s, hi=2**31) if s.kind == "weight" else s for s in PROPOSAL.layout)


@pytest.mark.parametrize(
    ("changes", "slug"),
    [
        ({"fid": bytes(32)}, "foreign-manifest"),
        ({"suite": 0}, "unknown-suite"),
        ({"suite": 2}, "unknown-suite"),
        ({"k_min": 1001}, "bad-manifest"),
        ({"kind": "guess"}, "bad-manifest"),
        ({"cohort": b"x"}, "bad-manifest"),
        ({"cohort": bytes(31)}, "bad-manifest"),
        ({"layout": WIDE}, "bad-layout"),
        ({"layout": (*PROPOSAL.layout, PROPOSAL.layout[0])}, "bad-layout"),
        ({"layout": (dataclasses.replace(PROPOSAL.layout[0], bits=64), *PROPOSAL.layout[1:])}, "bad-layout"),
        ({"layout": (Segment("weight", 1 << 28, 32, 1, 1, 0, 1, "exact"), *PROPOSAL.layout[1:])}, "bad-layout"),
        ({"layout": (dataclasses.replace(PROPOSAL.layout[0], scale_denominator=0),)}, "bad-layout"),
    ],
)
def test_impossible_terms_are_refused(changes: dict[str, Any], slug: str) -> None:
    proposal = PROPOSAL.with_(**changes)
    with pytest.raises(Refused) as caught:
        check_proposal(proposal, WORLD.trust.fid)
    assert caught.value.slug == slug
    assert slug_of(proposal=proposal) == slug


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("task", ""), ("round", 0), ("layout", []), ("n_max", 1), ("n_max", (1 << 20) + 1), ("k_min", 1), ("k_min", 0),
        ("r_max_percent", 101), ("window_s", 0), ("demo", 1), ("main_key", bytes(31)), ("noise", 1), ("noise", False),
    ],
)  # fmt: skip
def test_terms_out_of_range_are_malformed(field: str, value: codec.Value) -> None:
    position = list(Proposal.model_fields).index(field) + 1
    with pytest.raises(MalformedMessage, match=field):
        Proposal.decode(codec.encode({**PROPOSAL.to_wire(), position: value}))


def test_one_round_key_for_both_servers_is_refused() -> None:
    signed = WORLD.sign_manifest(PROPOSAL, PROPOSAL.main_key)
    with pytest.raises(Refused) as caught:
        read_manifest(WORLD.trust, signed)
    assert caught.value.slug == "one-round-key"


@pytest.mark.parametrize(
    ("arguments", "slug"),
    [
        ({"model": bytes(32)}, "other-model"),
        ({"plan": plan_of(epochs=6)}, "other-model"),
        ({"plan": plan_of(kind="measure")}, "other-model"),
        ({"proposal": PROPOSAL.with_(kind="measure")}, "other-model"),
        ({"proposal": PROPOSAL.with_(task="other")}, "other-model"),
        ({"now": NOW + 600}, "window-passed"),
        ({"rules": floors(accept_demo=False)}, "demo-refused"),
        ({"rules": floors(r_max_percent=33)}, "may-reject-too-many"),
        ({"proposal": PROPOSAL.with_(r_max_percent=35)}, "bad-manifest"),
        ({"rules": floors(backbones={})}, "backbone-refused"),
        ({"rules": floors(backbones={"lite": bytes(32)})}, "backbone-refused"),
        ({"rules": floors(heads=frozenset())}, "head-refused"),
        ({"rules": floors(answers_per_day=7), "history": History({}, 7)}, "answers-per-day"),
        ({"history": History({answer_key(PLAN.hash, 0, MODEL): bytes(32)}, 1)}, "answered-before"),
        ({"proposal": WORLD.proposal(PLAN, [WORLD.owners[0].id])}, "not-invited"),
    ],
)
def test_a_device_says_why_it_does_not_answer(arguments: dict[str, Any], slug: str) -> None:
    assert slug_of(**arguments) == slug


@pytest.mark.parametrize(
    "arguments",
    [
        {"rules": floors(accept_demo=False)},
        {"proposal": PROPOSAL.with_(demo=False)},
        {"rules": floors(r_max_percent=33)},
        {"rules": floors(backbones={})},
        {"rules": floors(heads=frozenset())},
        {"rules": floors(answers_per_day=7), "history": History({}, 7)},
    ],
    ids=["demo", "floor", "share", "backbone", "head", "day"],
)
def test_what_the_owners_floors_refuse_names_the_page_where_they_stand(arguments: dict[str, Any]) -> None:
    with pytest.raises(Refused) as caught:
        ask(**arguments)
    assert "on the page Privacy" in caught.value.next


def test_the_floor_is_the_owners_without_demo_and_two_with_it() -> None:
    real = PROPOSAL.with_(demo=False)
    for k_min in (2, 3, 4):
        assert slug_of(proposal=real.with_(k_min=k_min)) == "below-floor"
        ask(PROPOSAL.with_(k_min=k_min))
    ask(real.with_(k_min=5))
    ask(real.with_(k_min=5), rules=floors(accept_demo=False))
    assert slug_of(proposal=real.with_(k_min=9), rules=floors(k_min=10)) == "below-floor"


def test_floors_can_be_checked_alone() -> None:
    manifest = Manifest(proposal=PROPOSAL, aggregator_key=bytes(32), opened_at=NOW)
    check_floors(manifest, PLAN, floors())


@pytest.mark.parametrize("attempt", [1, 2])
def test_another_attempt_may_be_answered(attempt: int) -> None:
    history = History({answer_key(PLAN.hash, 0, MODEL): bytes(32)}, 1)
    ask(PROPOSAL.with_(attempt=attempt), history=history)


def test_the_same_manifest_may_be_looked_at_again() -> None:
    ask(history=History({answer_key(PLAN.hash, 0, MODEL): SIGNED.hash}, 1))


def layout_with(**changes: Any) -> tuple[Segment, ...]:
    kind = changes.pop("of")
    return tuple(dataclasses.replace(s, **changes) if s.kind == kind else s for s in PROPOSAL.layout)


@pytest.mark.parametrize(
    "layout",
    [
        layout_with(of="weight", hi=20_000),
        layout_with(of="weight", lo=-1),
        layout_with(of="update", length=9),
        layout_with(of="update", lo=-1),
        layout_with(of="update", hi=1, lo=-1),
        layout_with(of="update", hi=0, lo=0),
        layout_with(of="update", hi=-5, lo=-6),
        layout_with(of="update", rounding="exact"),
        layout_with(of="update", scale_numerator=1 << 62),
        layout_with(of="counts", length=2),
        layout_with(of="counts", hi=100_000),
        layout_with(of="supporters", length=1),
        layout_with(of="within_clip", length=2),
        layout_with(of="loss", scale_numerator=1_000_000),
        PROPOSAL.layout[::-1],
        PROPOSAL.layout[1:],
        PROPOSAL.layout[:1],
        PROPOSAL.layout[:-1],
        tuple(segment for segment in PROPOSAL.layout if segment.kind != "update"),
        tuple(segment for segment in PROPOSAL.layout if segment.kind != "loss"),
        tuple(segment for segment in PROPOSAL.layout if segment.kind in ("counts", "loss")),
    ],
)
def test_a_device_accepts_only_the_layout_it_would_make_itself(layout: tuple[Segment, ...]) -> None:
    assert slug_of(proposal=PROPOSAL.with_(layout=layout)) == "bad-layout"


def test_a_measuring_round_has_counts_alone() -> None:
    plan = plan_of(kind="measure")
    counts = tuple(segment for segment in PROPOSAL.layout if segment.kind in ("counts", "loss"))
    good = WORLD.proposal(plan)
    assert good.layout == counts
    ask(good, plan=plan)
    for layout in (PROPOSAL.layout, counts[:1], counts[::-1]):
        assert slug_of(proposal=good.with_(layout=layout), plan=plan) == "bad-layout"


def test_counts_may_be_left_out_of_a_training_round() -> None:
    layout = tuple(segment for segment in PROPOSAL.layout if segment.kind not in ("counts", "loss"))
    ask(PROPOSAL.with_(layout=layout))


COHORT = [owner.id for owner in WORLD.owners[:2]]


def test_the_cohort_hash_ignores_the_order_only() -> None:
    assert cohort_hash(COHORT) == cohort_hash(COHORT[::-1])
    assert len({cohort_hash(COHORT), cohort_hash(COHORT[:1]), cohort_hash([*COHORT, bytes(16)])}) == 3


def test_a_device_of_the_cohort_needs_its_own_invitation() -> None:
    proposal = WORLD.proposal(PLAN, COHORT)
    mh = WORLD.sign_manifest(proposal).hash
    ask(proposal, invitation=invite(WORLD.main_key, mh, DEVICE.device))
    for wrong in (
        invite(WORLD.main_key, mh, COHORT[1]),
        invite(WORLD.main_key, SIGNED.hash, DEVICE.device),
        invite(WORLD.aggregator_key, mh, DEVICE.device),
        b"",
    ):
        with pytest.raises(FanlightError):
            ask(proposal, invitation=wrong)
        with pytest.raises(FanlightError):
            check_invitation(WORLD.trust, wrong, mh, DEVICE.device)


def test_round_keys_of_two_rounds_give_two_manifests() -> None:
    other = PROPOSAL.with_(main_key=public(round_key("another")))
    assert WORLD.sign_manifest(other).hash != SIGNED.hash
    assert WORLD.sign_manifest(PROPOSAL, secret("k")).hash != SIGNED.hash
