"""One runnable attempt per claim of the protocol: who tries what, and where it ends.

The attackers here have all that their part gives them: the keys of a member, of the network, of main, of the
aggregator, but never of two parties that the claim assumes apart. What two colluding servers can do, and what the sum
itself gives away, is in the threat model and not here.
"""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest

from fanlight.core import ring
from fanlight.core.randomness import Keystream
from fanlight.errors import Conflict, FanlightError, ModelError, NotAuthentic, NotPossibleNow, Refused
from fanlight.protocol import aggregator_round, identities, main_round, signing
from fanlight.protocol.aggregator_round import Held
from fanlight.protocol.closing import (
    CLOSE,
    OUTCOME_AGGREGATOR,
    OUTCOME_MAIN,
    RELEASE,
    SUM_NOT_USABLE,
    VERDICT,
    Close,
    Listed,
    Outcome,
    OutcomeForDevice,
    Rejection,
    Release,
    Result,
    SignedOutcome,
    Verdict,
)
from fanlight.protocol.contribution import W_MAX, Measured, encode
from fanlight.protocol.device_round import History, answer_key
from fanlight.protocol.identities import Role, Trust
from fanlight.protocol.manifest import Manifest, SignedManifest
from fanlight.protocol.merkle import set_root
from fanlight.protocol.report import RECEIPT, REPORT, Envelope, Receipt, ReportHeader, sealed_hash, sign_report
from fanlight.protocol.sealing import MASK_AGGREGATOR, MASK_MAIN, open_seed, seal_seed
from fanlight.protocol.signing import Signed
from tests.protocol_world import (
    EXPIRES,
    HEAD,
    MODEL,
    NOW,
    Round,
    Sent,
    World,
    contribution_of,
    digest_of,
    floors,
    key,
    plan_of,
    public,
    round_key,
    secret,
)

WORLD = World(3, "attacked")
VICTIM, THIEF = WORLD.owners[0], WORLD.owners[1]


def started(**changes: object) -> Round:
    return Round(WORLD, **changes).open()  # type: ignore[arg-type]


def reasons(told: Round, close: bytes) -> dict[bytes, str]:
    """Why main rejects the listed reports of a close."""
    verdict = Verdict.decode(Signed.decode(told.judge(close).reply).payload)
    return {rejection.device: rejection.reason for rejection in verdict.rejected}


def close_of(told: Round, held: list[Held]) -> bytes:
    """A close signed by an aggregator that lists whatever it likes."""
    return WORLD.aggregator.close(told.a, held, HEAD).reply


def with_header(sent: Sent, **changes: object) -> Envelope:
    """The member's report with another header, signed by the member itself."""
    header = ReportHeader.decode(Signed.decode(sent.envelope.header).payload).with_(**changes)
    return sign_report(sent.owner.key, header, sent.envelope.sealed_main, sent.envelope.sealed_aggregator)


def check(told: Round, envelope: Envelope) -> ReportHeader:
    return WORLD.aggregator.check_report(told.a, envelope, VICTIM.member.public_key, told.aggregator_round_key, NOW)


def slug_of(caught: pytest.ExceptionInfo[FanlightError]) -> str:
    return caught.value.slug


# ---- reports


def test_a_report_replayed_in_the_next_round_is_refused() -> None:
    first = started().collect().agree()
    first.complete()
    second = Round(WORLD, previous=first, round=2).open()
    with pytest.raises(Refused) as caught:
        check(second, first.reports[0].envelope)
    assert slug_of(caught) == "foreign-report"
    # ... and an aggregator that lists it anyway gains nothing
    second.collect(WORLD.owners[1:])
    assert reasons(second, close_of(second, [first.reports[0].held, *second.held])) == {VICTIM.id: "foreign-report"}


def test_a_report_in_another_members_name_is_refused() -> None:
    told = started()
    sent = told.commit(THIEF)
    with pytest.raises(NotAuthentic):
        check(told, sent.envelope)


def test_a_member_cannot_have_its_report_listed_as_anothers() -> None:
    told = started(r_max_percent=34).collect(WORLD.owners[1:])
    named = with_header(told.commit(THIEF), device=VICTIM.id)
    assert reasons(told, close_of(told, [Held(VICTIM.id, named), *told.held])) == {VICTIM.id: "not-authentic"}


def test_a_report_whose_device_is_not_its_signer_is_rejected_by_main() -> None:
    told = started(r_max_percent=34).collect([VICTIM, WORLD.owners[2]])
    named = with_header(told.commit(THIEF), device=VICTIM.id)
    assert reasons(told, close_of(told, [Held(THIEF.id, named), *told.held])) == {THIEF.id: "foreign-report"}


@pytest.mark.parametrize("seconds", [600, 601, 10**6])
def test_a_late_report_is_refused(seconds: int) -> None:
    told = started()
    sent = told.commit(VICTIM)
    with pytest.raises(NotPossibleNow) as caught:
        told.send(sent, NOW + seconds)
    assert slug_of(caught) == "report-late"
    told.send(sent, NOW + 599)


def test_a_report_after_the_close_is_refused() -> None:
    told = started().collect(WORLD.owners[1:])
    sent = told.commit(VICTIM)
    told.close()
    with pytest.raises(NotPossibleNow) as caught:
        told.send(sent)
    assert slug_of(caught) == "round-closed"


@pytest.mark.parametrize("length", [0, 1, 21, 23, 1 << 40])
def test_a_report_of_another_length_is_refused(length: int) -> None:
    told = started()
    envelope = with_header(told.commit(VICTIM), length=length)
    with pytest.raises(Refused) as caught:
        check(told, envelope)
    assert slug_of(caught) == "wrong-length"


def test_a_vector_swapped_on_the_way_has_another_hash() -> None:
    told = started()
    sent = told.commit(VICTIM)
    header = check(told, sent.envelope)
    assert header.y_hash == digest_of(sent.y)
    for at in range(sent.y.size):
        swapped = sent.y.copy()
        swapped[at] ^= 1
        assert header.y_hash != digest_of(swapped)


@pytest.mark.parametrize("which", ["sealed_main", "sealed_aggregator"])
def test_a_seed_swapped_on_the_way_is_refused(which: str) -> None:
    told = started()
    envelope = told.commit(VICTIM).envelope.with_(**{which: bytes(80)})
    with pytest.raises(Refused) as caught:
        check(told, envelope)
    assert slug_of(caught) == "swapped-seed"


def test_a_seed_swapped_by_the_aggregator_is_rejected_by_main() -> None:
    told = started().collect()
    other = told.commit(VICTIM, seed="other").envelope
    forged = Held(VICTIM.id, told.reports[0].envelope.with_(sealed_main=other.sealed_main))
    assert reasons(told, close_of(told, [forged, *told.held[1:]])) == {VICTIM.id: "swapped-seed"}


def test_another_devices_sealed_seed_does_not_open_in_a_copy() -> None:
    told = started()
    victim = told.commit(VICTIM).envelope
    header = ReportHeader.decode(Signed.decode(told.commit(THIEF).envelope.header).payload)
    copied = sign_report(
        THIEF.key,
        header.with_(main_hash=sealed_hash(victim.sealed_main)),
        victim.sealed_main,
        victim.sealed_aggregator,
    )
    told.collect([VICTIM, WORLD.owners[2]])
    assert reasons(told, close_of(told, [Held(THIEF.id, copied), *told.held])) == {THIEF.id: "seed-unopenable"}


def test_a_second_answer_in_one_round_is_refused() -> None:
    told = started().collect()
    with pytest.raises(Conflict) as caught:
        told.send(told.commit(VICTIM, seed="second"))
    assert slug_of(caught) == "second-report"


def test_an_outsider_is_no_member() -> None:
    stranger = World(1, "elsewhere").owners[0]
    told = started().collect()
    header = ReportHeader.decode(Signed.decode(told.reports[0].envelope.header).payload).with_(device=stranger.id)
    sent = told.reports[0].envelope
    forged = Held(stranger.id, sign_report(stranger.key, header, sent.sealed_main, sent.sealed_aggregator))
    assert reasons(told, close_of(told, [*told.held, forged])) == {stranger.id: "not-a-member"}


# ---- manifests: main, or somebody on the way, asks for more than it may have


def test_a_manifest_that_main_altered_after_the_aggregators_signature_is_worthless() -> None:
    told = started()
    manifest = Manifest.decode(told.signed.payload)
    for proposal in (
        manifest.proposal.with_(k_min=3),
        manifest.proposal.with_(demo=False),
        manifest.proposal.with_(main_key=public(round_key("thief"))),
    ):
        payload = manifest.with_(proposal=proposal).encode()
        signature = signing.sign(WORLD.main_key, "manifest-main", payload).signature
        forged = told.signed.with_(payload=payload, main_signature=signature)
        with pytest.raises(NotAuthentic):
            VICTIM.device.check_manifest(forged, told.plan, MODEL, None, floors(), History({}, 0), NOW)
        with pytest.raises(NotAuthentic) as caught:
            WORLD.aggregator.open(told.a, forged)
        assert slug_of(caught) == "substituted-manifest"


def test_main_cannot_put_a_round_key_of_its_own_in_the_aggregators_place() -> None:
    told = started()
    payload = Manifest.decode(told.signed.payload).with_(aggregator_key=public(round_key("mains"))).encode()
    forged = SignedManifest(
        payload=payload,
        aggregator_signature=signing.sign(WORLD.main_key, "manifest-agg", payload).signature,
        main_signature=signing.sign(WORLD.main_key, "manifest-main", payload).signature,
    )
    with pytest.raises(NotAuthentic):
        VICTIM.device.check_manifest(forged, told.plan, MODEL, None, floors(), History({}, 0), NOW)


def test_the_aggregator_cannot_alter_what_main_proposed() -> None:
    told = Round(WORLD)
    told.offer()
    altered = told.a.terms.with_(proposal=told.proposal.with_(n_max=2))
    forged = signing.sign(WORLD.aggregator_key, "manifest-agg", altered.encode()).encode()
    with pytest.raises(Refused) as caught:
        WORLD.main.open(told.m, forged)
    assert slug_of(caught) == "substituted-manifest"


def test_main_cannot_get_two_manifests_for_one_round() -> None:
    told = started()
    for proposal in (
        told.proposal.with_(main_key=public(round_key("second"))),
        told.proposal.with_(attempt=1),
        told.proposal.with_(round=2),
    ):
        with pytest.raises(Conflict):
            WORLD.aggregator.offer(told.a, proposal, (), public(round_key("x")), secret("draw"), NOW)


@pytest.mark.parametrize("attempt", [2, 5, 400])
def test_the_aggregator_signs_no_attempt_that_does_not_follow_the_last_one(attempt: int) -> None:
    told = started(attempt=3)
    told.abandon()
    with pytest.raises(Refused) as caught:
        Round(WORLD, previous=told, round=2, attempt=attempt).offer()
    assert slug_of(caught) == "bad-attempt"
    for follows in (3, 4):
        Round(WORLD, previous=told, round=2, attempt=follows).offer()


def refused(slug: str, proposal_changes: dict[str, object], **rules: object) -> None:
    told = Round(WORLD)
    signed = WORLD.sign_manifest(told.proposal.with_(**proposal_changes))
    with pytest.raises(Refused) as caught:
        VICTIM.device.check_manifest(signed, told.plan, MODEL, None, floors(**rules), History({}, 0), NOW)
    assert slug_of(caught) == slug


def test_both_servers_together_cannot_pass_a_demonstration_off_on_a_careful_device() -> None:
    refused("demo-refused", {}, accept_demo=False)


@pytest.mark.parametrize("k_min", [2, 3, 4])
def test_both_servers_together_cannot_go_below_the_owners_floor(k_min: int) -> None:
    refused("below-floor", {"demo": False, "k_min": k_min})


def test_both_servers_together_cannot_ask_for_a_wider_vector() -> None:
    layout = WORLD.proposal(plan_of()).layout
    weight, update, *rest = layout
    # A coordinate for every picture's class instead of one for the count, a longer update, another ring's range, a
    # segment that the plan does not have. The clip is main's to choose: it bounds what one device can do to the sum,
    # and protects no device.
    refused("bad-layout", {"layout": (dataclasses.replace(weight, length=3), update, *rest)})
    refused("bad-layout", {"layout": (weight, dataclasses.replace(update, length=16), *rest)})
    refused("bad-layout", {"layout": (weight, dataclasses.replace(update, lo=0), *rest)})
    refused("bad-layout", {"layout": (*layout, dataclasses.replace(rest[0], kind="statistics"))})


def test_both_servers_together_cannot_make_a_device_answer_twice() -> None:
    told = started()
    answered = {answer_key(told.plan.hash, 0, MODEL): told.signed.hash}
    again = WORLD.sign_manifest(told.proposal.with_(round=2))
    with pytest.raises(Refused) as caught:
        VICTIM.device.check_manifest(again, told.plan, MODEL, None, floors(), History(answered, 1), NOW)
    assert slug_of(caught) == "answered-before"


def test_raising_the_attempt_for_ever_ends_at_the_daily_cap() -> None:
    answered: dict[bytes, bytes] = {}
    for attempt in range(40):
        told = started(attempt=attempt)
        VICTIM.device.check_manifest(
            told.signed, told.plan, MODEL, None, floors(answers_per_day=40), History(answered, len(answered)), NOW
        )
        answered[answer_key(told.plan.hash, attempt, MODEL)] = told.signed.hash
    told = started(attempt=40)
    with pytest.raises(Refused) as caught:
        VICTIM.device.check_manifest(
            told.signed, told.plan, MODEL, None, floors(answers_per_day=40), History(answered, 40), NOW
        )
    assert slug_of(caught) == "answers-per-day"


def test_another_backbone_under_a_known_name_is_refused() -> None:
    refused("backbone-refused", {}, backbones={"lite": secret("the real weights")})


def test_mains_round_key_in_another_spelling_is_refused() -> None:
    """X25519 does not look at the highest bit: main would open the aggregator's seeds too."""
    told = Round(WORLD)
    key = bytearray(told.proposal.main_key)
    key[31] |= 128
    signed = WORLD.sign_manifest(told.proposal, aggregator_round_key=bytes(key))
    with pytest.raises(Refused) as caught:
        VICTIM.device.check_manifest(signed, told.plan, MODEL, None, floors(), History({}, 0), NOW)
    assert slug_of(caught) == "bad-round-key"


@pytest.mark.parametrize("point", [bytes(32), b"\x01" + bytes(31)])
def test_a_round_key_that_keeps_no_secret_is_refused(point: bytes) -> None:
    told = Round(WORLD)
    signed = WORLD.sign_manifest(told.proposal.with_(main_key=point))
    manifest = VICTIM.device.check_manifest(signed, told.plan, MODEL, None, floors(), History({}, 0), NOW)
    with pytest.raises(Refused) as caught:
        VICTIM.device.commit(signed, manifest, contribution_of(told.plan, 0), Keystream(bytes(32)), NOW)
    assert slug_of(caught) == "bad-round-key"


def test_an_unsampled_device_cannot_be_drawn_in_with_anothers_invitation() -> None:
    told = started(cohort=[THIEF.id, WORLD.owners[2].id])
    with pytest.raises(NotAuthentic) as caught:
        VICTIM.device.check_manifest(
            told.signed, told.plan, MODEL, told.invitation(THIEF), floors(), History({}, 0), NOW
        )
    assert slug_of(caught) == "foreign-invitation"


# ---- closing: one server cheats the other


def test_no_sum_over_one_device() -> None:
    alone = started().collect([VICTIM])
    with pytest.raises(NotPossibleNow):
        alone.close()
    # an aggregator that closes anyway gets no verdict to sum
    close = Close(mh=alone.a.mh, reports=(listed(alone.reports[0]),), log_head=HEAD)
    forged = signing.sign(WORLD.aggregator_key, CLOSE, close.encode()).encode()
    verdict = Verdict.decode(Signed.decode(alone.judge(forged).reply).payload)
    assert (verdict.proceed, verdict.reason, verdict.accepted) == (False, "too-few-reports", ())


def listed(sent: Sent) -> Listed:
    return Listed(device=sent.owner.id, header=sent.envelope.header, sealed_main=sent.envelope.sealed_main)


def forged_verdict(told: Round, accepted: tuple[bytes, ...], proceed: bool = True) -> bytes:
    verdict = Verdict(mh=told.a.mh, accepted=accepted, rejected=(), proceed=proceed, reason="ok", log_head=HEAD)
    return signing.sign(WORLD.main_key, VERDICT, verdict.encode()).encode()


def test_main_cannot_have_one_device_summed_alone() -> None:
    told = started(r_max_percent=34).collect()
    told.close()
    for accepted in ((VICTIM.id,), (VICTIM.id, VICTIM.id), (VICTIM.id, bytes(16)), ()):
        with pytest.raises(Refused) as caught:
            told.take_verdict(forged_verdict(told, accepted))
        assert slug_of(caught) == "bad-verdict"
    assert told.a.at is aggregator_round.State.CLOSED


@pytest.mark.parametrize("percent", [35, 50, 100])
def test_main_cannot_allow_itself_to_reject_more_than_a_third(percent: int) -> None:
    """It writes the manifest. The aggregator does not sign one that lets it reject more, and no device answers it."""
    with pytest.raises(Refused) as caught:
        Round(WORLD, r_max_percent=percent).offer()
    assert slug_of(caught) == "bad-manifest"
    refused("bad-manifest", {"r_max_percent": percent})


@pytest.mark.parametrize("percent", [0, 10, 33])
def test_both_servers_together_cannot_let_main_reject_more_than_the_owner_allows(percent: int) -> None:
    refused("may-reject-too-many", {"r_max_percent": percent + 1}, r_max_percent=percent)


def test_main_cannot_reject_more_than_the_manifest_allows() -> None:
    told = started(r_max_percent=33).collect()
    told.close()
    with pytest.raises(Refused) as caught:
        told.take_verdict(forged_verdict(told, (VICTIM.id, THIEF.id)))
    assert slug_of(caught) == "bad-verdict"


def test_main_cannot_isolate_a_device_with_two_verdicts() -> None:
    told = started(r_max_percent=34).collect()
    told.close()
    told.take_verdict(forged_verdict(told, tuple(sorted(WORLD.members))))
    with pytest.raises(Conflict) as caught:
        told.take_verdict(forged_verdict(told, (THIEF.id, WORLD.owners[2].id)))
    assert slug_of(caught) == "second-verdict"


def test_main_gets_one_release_whatever_it_says_afterwards() -> None:
    told = started().collect().agree()
    first, vector = told.release()
    for _ in range(3):
        assert told.release(np.zeros_like(vector))[0] == first
    with pytest.raises(NotPossibleNow):
        told.take_verdict(told.m.verdict)


def test_the_aggregator_cannot_omit_a_report_it_gave_a_receipt_for() -> None:
    told = started(r_max_percent=0).collect()
    verdict = Verdict.decode(Signed.decode(told.judge(close_of(told, told.held[1:])).reply).payload)
    assert (verdict.proceed, verdict.reason) == (False, "too-many-rejected")
    # the proof: the aggregator's own signature on the receipt, against its own signature on the list
    receipt = signing.verify_bytes(WORLD.trust.aggregator_key, RECEIPT, told.reports[0].record.receipt)
    assert Receipt.decode(receipt).device == VICTIM.id


def test_the_aggregator_cannot_list_another_report_than_it_gave_a_receipt_for() -> None:
    told = started().collect()
    other = Held(VICTIM.id, told.commit(VICTIM, seed="other").envelope)
    assert reasons(told, close_of(told, [other, *told.held[1:]])) == {VICTIM.id: "not-the-receipted-report"}


def test_a_device_cannot_forge_a_receipt() -> None:
    told = started()
    sent = told.commit(VICTIM)
    receipt = Receipt(mh=told.a.mh, device=VICTIM.id, report_id=sent.envelope.report_id, time=NOW)
    forged = signing.sign(VICTIM.key, RECEIPT, receipt.encode()).encode()
    with pytest.raises(NotAuthentic):
        WORLD.main.take_beacon(told.m, VICTIM.id, forged)
    with pytest.raises(NotAuthentic):
        VICTIM.device.take_receipt(sent.record, forged)


def test_a_device_cannot_show_anothers_receipt() -> None:
    told = started().collect()
    with pytest.raises(NotAuthentic) as caught:
        WORLD.main.take_beacon(told.m, THIEF.id, told.reports[0].record.receipt)
    assert slug_of(caught) == "foreign-receipt"


def test_a_receipt_for_another_report_does_not_calm_a_device() -> None:
    told = started()
    sent, other = told.commit(VICTIM), told.commit(VICTIM, seed="other")
    told.send(other)
    with pytest.raises(NotAuthentic) as caught:
        VICTIM.device.take_receipt(sent.record, other.record.receipt)
    assert slug_of(caught) == "foreign-receipt"


@pytest.mark.parametrize("unopenable", [1, 2])
def test_unopenable_seeds_reject_their_report_and_too_many_the_round(unopenable: int) -> None:
    told = started(r_max_percent=34)
    for number, owner in enumerate(WORLD.owners):
        sent = told.commit(owner)
        if number < unopenable:
            rubbish = bytes([number]) * 80
            header = ReportHeader.decode(Signed.decode(sent.envelope.header).payload)
            header = header.with_(main_hash=sealed_hash(rubbish))
            envelope = sign_report(owner.key, header, rubbish, sent.envelope.sealed_aggregator)
            sent.record = sent.record.with_(envelope=envelope.encode())
        told.send(sent)
    verdict = Verdict.decode(Signed.decode(told.judge(told.close()).reply).payload)
    assert [rejection.reason for rejection in verdict.rejected] == ["seed-unopenable"] * unopenable
    assert verdict.proceed == (unopenable == 1)
    assert verdict.reason == ("ok" if unopenable == 1 else "too-many-rejected")


# ---- the sum


def test_neither_server_alone_nor_the_wire_sees_a_vector() -> None:
    told = started()
    sent = told.commit(VICTIM)
    assert np.count_nonzero(ring.centre(sent.y) == sent.plain) <= 1
    half = sent.y.copy()
    told.take_off(half, sent)
    assert np.count_nonzero(ring.centre(half) == sent.plain) <= 1
    for private, label in ((told.main_round_key, MASK_AGGREGATOR), (told.aggregator_round_key, MASK_MAIN)):
        sealed = sent.envelope.sealed_aggregator if label == MASK_AGGREGATOR else sent.envelope.sealed_main
        with pytest.raises(NotAuthentic):
            open_seed(sealed, private, label, told.a.mh, VICTIM.id)


def test_a_garbage_mask_fails_the_range_check() -> None:
    told = started().collect().agree()
    vector = told.masked_sum()
    ring.add_into(vector, Keystream(secret("garbage")).uint32(vector.size))
    step = told.take_release(*told.release(vector))
    assert told.m.at is main_round.State.FAILED
    assert step.totals is None
    outcome = Outcome.decode(Signed.decode(step.reply).payload)
    assert outcome.result == "failed"
    assert outcome.reason == SUM_NOT_USABLE


def test_a_device_that_masks_with_another_seed_than_it_sealed_fails_the_round() -> None:
    told = started()
    for owner in WORLD.owners:
        sent = told.commit(owner)
        if owner is THIEF:
            other = seal_seed(secret("other"), told.proposal.main_key, MASK_MAIN, told.a.mh, THIEF.id)
            header = ReportHeader.decode(Signed.decode(sent.envelope.header).payload)
            header = header.with_(main_hash=sealed_hash(other))
            envelope = sign_report(THIEF.key, header, other, sent.envelope.sealed_aggregator)
            sent.record = sent.record.with_(envelope=envelope.encode())
        told.send(sent)
    assert told.agree().take_release(*told.release()).totals is None
    assert told.m.at is main_round.State.FAILED


def test_a_sum_swapped_on_the_way_is_refused() -> None:
    told = started().collect().agree()
    release, vector = told.release()
    vector[5] += 1
    with pytest.raises(Refused) as caught:
        told.take_release(release, vector)
    assert slug_of(caught) == "swapped-sum"


@pytest.mark.parametrize("size", [1, 21, 23])
def test_a_sum_of_another_length_is_refused(size: int) -> None:
    told = started().collect().agree()
    with pytest.raises(Refused) as caught:
        told.take_release(told.release()[0], np.zeros(size, np.uint32))
    assert slug_of(caught) == "wrong-length"


def test_the_aggregator_cannot_release_the_sum_of_another_set() -> None:
    told = started().collect().agree()
    fresh, held = told.a, told.held
    vector = told.masked_sum()
    for subset in (held[:2], held[:1], [*held[:2], dataclasses.replace(held[2], device=bytes(16))]):
        forged = WORLD.aggregator.release(fresh, subset, [digest_of(vector)], HEAD).reply
        with pytest.raises(Refused) as caught:
            told.take_release(forged, vector.copy())
        assert slug_of(caught) == "other-set"


def test_a_second_shard_is_refused() -> None:
    told = started().collect().agree()
    release, vector = told.release()
    second = Release.decode(Signed.decode(release).payload).with_(shard=1)
    forged = signing.sign(WORLD.aggregator_key, RELEASE, second.encode()).encode()
    with pytest.raises(Refused) as caught:
        told.take_release(forged, vector)
    assert slug_of(caught) == "foreign-release"


@pytest.mark.parametrize("wrong", [math.nan, math.inf, -math.inf])
def test_what_is_no_number_never_enters_a_sum(wrong: float) -> None:
    told = started()
    honest = contribution_of(told.plan, 0)
    update = np.full(8, 0.1)
    update[7] = wrong
    with pytest.raises(ModelError):
        told.commit(VICTIM, dataclasses.replace(honest, update=update))


def test_a_loss_that_is_no_number_never_enters_a_sum() -> None:
    told = started()
    measured = Measured(np.eye(2, dtype=np.int64), math.nan)
    with pytest.raises(ModelError):
        told.commit(VICTIM, dataclasses.replace(contribution_of(told.plan, 0), local=measured))


def test_no_device_counts_for_more_pictures_than_the_cap() -> None:
    layout = WORLD.proposal(plan_of()).layout
    greedy = dataclasses.replace(contribution_of(plan_of(), 0), examples=10**9, update=np.full(8, 1e9))
    capped = dataclasses.replace(greedy, examples=W_MAX)
    first, second = (encode(layout, said, Keystream(secret("s"))) for said in (greedy, capped))
    assert first[0] == W_MAX
    assert np.array_equal(first, second)


def test_one_cheat_moves_the_sum_by_a_bounded_amount_or_fails_the_round() -> None:
    told = started()
    for owner in WORLD.owners:
        sent = told.commit(owner)
        if owner is THIEF:  # adds to its masked vector what no clipped update can hold
            sent.y[1:9] += np.uint32(3 * told.proposal.layout[1].hi + 1000)
            header = ReportHeader.decode(Signed.decode(sent.envelope.header).payload)
            header = header.with_(y_hash=digest_of(sent.y))
            envelope = sign_report(THIEF.key, header, sent.envelope.sealed_main, sent.envelope.sealed_aggregator)
            sent.record = sent.record.with_(envelope=envelope.encode())
        told.send(sent)
    told.agree().take_release(*told.release())
    assert told.m.at is main_round.State.FAILED


# ---- outcomes


def signed_outcome(told: Round, result: Result) -> bytes:
    """What main can make without the aggregator's key."""
    payload = Outcome(mh=told.a.mh, result=result.value, reason="x", set_root=set_root(told.a.mh, [])).encode()
    return SignedOutcome(
        payload=payload,
        aggregator_signature=signing.sign(WORLD.main_key, OUTCOME_AGGREGATOR, payload).signature,
        main_signature=signing.sign(WORLD.main_key, OUTCOME_MAIN, payload).signature,
    ).encode()


@pytest.mark.parametrize("result", list(Result))
def test_main_alone_cannot_end_a_round_for_the_devices(result: Result) -> None:
    told = started().collect()
    forged = SignedOutcome.decode(signed_outcome(told, result))
    with pytest.raises(NotAuthentic):
        VICTIM.device.end(told.reports[0].record, OutcomeForDevice(outcome=forged))


def test_main_alone_cannot_forge_an_abandonment_to_make_devices_answer_again() -> None:
    told = started().collect().agree()
    told.take_release(*told.release())
    forged = SignedOutcome.decode(signed_outcome(told, Result.ABANDONED))
    for outcome in (forged, forged.with_(main_signature=None)):
        with pytest.raises(NotAuthentic):
            VICTIM.device.end(told.reports[0].record, OutcomeForDevice(outcome=outcome))


def test_the_aggregator_alone_cannot_claim_a_release_or_a_failure() -> None:
    told = started().collect()
    for result in (Result.RELEASED, Result.FAILED):
        payload = Outcome(mh=told.a.mh, result=result.value, reason="x", set_root=bytes(32)).encode()
        signature = signing.sign(WORLD.aggregator_key, OUTCOME_AGGREGATOR, payload).signature
        for main_signature in (None, signature):
            outcome = SignedOutcome(payload=payload, aggregator_signature=signature, main_signature=main_signature)
            with pytest.raises(NotAuthentic):
                VICTIM.device.end(told.reports[0].record, OutcomeForDevice(outcome=outcome))


def test_main_cannot_have_the_aggregator_countersign_another_outcome() -> None:
    told = started().collect().agree()
    told.release()
    for result, root in ((Result.ABANDONED, bytes(32)), (Result.RELEASED, bytes(32))):
        payload = Outcome(mh=told.a.mh, result=result.value, reason="x", set_root=root).encode()
        with pytest.raises(Refused) as caught:
            told.finish(signing.sign(WORLD.main_key, OUTCOME_MAIN, payload).encode())
        assert slug_of(caught) == "foreign-outcome"
    release = Release.decode(Signed.decode(told.a.release).payload)
    payload = Outcome(mh=told.a.mh, result="abandoned", reason="x", set_root=release.set_root).encode()
    with pytest.raises(Refused):
        told.finish(signing.sign(WORLD.main_key, OUTCOME_MAIN, payload).encode())


def test_main_cannot_prove_that_an_omitted_report_was_summed() -> None:
    told = started(r_max_percent=34).collect()
    members = {device: public_key for device, public_key in WORLD.members.items() if device != VICTIM.id}
    step = WORLD.main.judge(told.m, told.close(), members, {}, told.main_round_key, HEAD)
    told.m = step.record
    told.take_verdict(step.reply)
    told.complete()
    own = WORLD.main.outcome_for(told.m, VICTIM.id)
    anothers = WORLD.main.outcome_for(told.m, THIEF.id)
    assert own is not None
    assert anothers is not None
    assert not VICTIM.device.end(told.reports[0].record, own).was_included
    with pytest.raises(NotAuthentic) as caught:
        VICTIM.device.end(told.reports[0].record, anothers)
    assert slug_of(caught) == "bad-inclusion-proof"


def test_an_outcome_of_another_round_is_refused() -> None:
    first = started().collect()
    first.abandon()
    second = Round(WORLD, previous=first, round=2).open().collect()
    answer = WORLD.main.outcome_for(first.m, VICTIM.id)
    assert answer is not None
    with pytest.raises(NotAuthentic) as caught:
        VICTIM.device.end(second.reports[0].record, answer)
    assert slug_of(caught) == "foreign-outcome"


# ---- signatures do not change their purpose


def test_a_signature_made_for_one_purpose_does_not_serve_another() -> None:
    told = started().collect().agree()
    release, _ = told.release()
    payload = Signed.decode(release).payload
    for label in (CLOSE, RECEIPT, REPORT, OUTCOME_AGGREGATOR, "manifest-agg"):
        with pytest.raises(NotAuthentic):
            signing.verify_bytes(WORLD.trust.aggregator_key, label, release)
        assert signing.sign(WORLD.aggregator_key, label, payload).encode() != release


# ---- enrolment


def test_one_key_cannot_be_both_servers() -> None:
    both = public(key("both"))
    certificates = [identities.issue_certificate(WORLD.root, role, both) for role in (Role.MAIN, Role.AGGREGATOR)]
    with pytest.raises(NotAuthentic, match="two"):
        Trust.from_certificates(public(WORLD.root), *certificates)


def test_one_certificate_cannot_stand_for_both_servers() -> None:
    main = identities.issue_certificate(WORLD.root, Role.MAIN, public(WORLD.main_key))
    with pytest.raises(NotAuthentic):
        Trust.from_certificates(public(WORLD.root), main, main)


def test_a_server_that_sees_an_enrolment_cannot_redeem_its_token_at_the_other() -> None:
    """What the race for a token comes down to: a second key needs the token's secret, which never travels."""
    token_key, device_key, thief = key("t"), key("d"), key("thief")
    token = identities.issue_token(WORLD.root, public(token_key), EXPIRES, "porch")
    seen = identities.Enrolment.decode(identities.enrol(WORLD.trust.fid, token, token_key, device_key))
    own = identities.Enrolment.decode(identities.enrol(WORLD.trust.fid, token, thief, thief))
    for forged in (
        seen.with_(public_key=public(thief), device_signature=own.device_signature),
        seen.with_(public_key=public(thief)),
        own,
    ):
        with pytest.raises(NotAuthentic):
            identities.check_enrolment(WORLD.trust.root_key, forged.encode(), NOW)


def test_two_keys_of_one_token_are_told_apart_by_whoever_keeps_the_first() -> None:
    """The holder of a token can sign two keys; both verify, with one token key, and the servers keep the first."""
    token_key = key("t")
    token = identities.issue_token(WORLD.root, public(token_key), EXPIRES, "porch")
    members = [
        identities.check_enrolment(
            WORLD.trust.root_key, identities.enrol(WORLD.trust.fid, token, token_key, key(name)), NOW
        )
        for name in ("first", "second")
    ]
    assert members[0].token_key == members[1].token_key
    assert members[0].device != members[1].device


def test_an_enrolment_repeated_is_the_same_member() -> None:
    token_key, device_key = key("t"), key("d")
    token = identities.issue_token(WORLD.root, public(token_key), EXPIRES, "porch")
    data = identities.enrol(WORLD.trust.fid, token, token_key, device_key)
    assert data == identities.enrol(WORLD.trust.fid, token, token_key, device_key)
    first, second = (identities.check_enrolment(WORLD.trust.root_key, data, now) for now in (1, EXPIRES - 1))
    assert first == second


# ---- forged messages of a server, or of somebody on the way


def forged_by_aggregator(label: str, payload: bytes) -> bytes:
    return signing.sign(WORLD.aggregator_key, label, payload).encode()


def test_a_close_of_another_round_or_with_a_device_twice_is_refused() -> None:
    told = started().collect()
    close = Close.decode(Signed.decode(close_of(told, told.held)).payload)
    first, *others = close.reports
    for forged in (
        close.with_(mh=bytes(32)),
        close.with_(reports=(first, first, *others)),
        close.with_(reports=(*others, first)),
    ):
        with pytest.raises(Refused) as caught:
            told.judge(forged_by_aggregator(CLOSE, forged.encode()))
        assert slug_of(caught) == "foreign-close"
    assert told.m.at is main_round.State.OPEN


def test_the_aggregator_cannot_list_a_device_that_was_not_sampled() -> None:
    told = started(cohort=[THIEF.id, WORLD.owners[2].id]).collect(WORLD.owners[1:])
    uninvited = Held(VICTIM.id, told.commit(VICTIM).envelope)
    assert reasons(told, close_of(told, [uninvited, *told.held])) == {VICTIM.id: "not-invited"}


def test_the_aggregator_cannot_list_a_report_of_another_length() -> None:
    told = started().collect(WORLD.owners[1:])
    short = Held(VICTIM.id, with_header(told.commit(VICTIM), length=21))
    assert reasons(told, close_of(told, [short, *told.held])) == {VICTIM.id: "wrong-length"}


def test_main_cannot_count_a_device_twice_or_accept_what_it_rejects() -> None:
    told = started(r_max_percent=34).collect()
    told.close()
    everybody = tuple(sorted(WORLD.members))
    both = Verdict.decode(Signed.decode(forged_verdict(told, everybody)).payload)
    both = both.with_(rejected=(Rejection(device=VICTIM.id, reason="x"),))
    for forged in (
        forged_verdict(told, (*everybody, VICTIM.id)),
        signing.sign(WORLD.main_key, VERDICT, both.encode()).encode(),
    ):
        with pytest.raises(Refused) as caught:
            told.take_verdict(forged)
        assert slug_of(caught) == "bad-verdict"


@pytest.mark.parametrize(
    ("changes", "slug"),
    [({"mh": bytes(32)}, "foreign-release"), ({"count": 2}, "other-set"), ({"count": 4}, "other-set")],
)
def test_a_release_of_another_round_or_count_is_refused(changes: dict[str, object], slug: str) -> None:
    told = started().collect().agree()
    data, vector = told.release()
    forged = Release.decode(Signed.decode(data).payload).with_(**changes)
    with pytest.raises(Refused) as caught:
        told.take_release(forged_by_aggregator(RELEASE, forged.encode()), vector)
    assert slug_of(caught) == slug


def test_a_countersignature_is_the_aggregators_on_mains_own_outcome() -> None:
    told = started().collect().agree()
    outcome = told.take_release(*told.release()).reply
    true = SignedOutcome.decode(WORLD.aggregator.finish(told.a, outcome).reply)
    payload = Outcome.decode(true.payload).with_(reason="other").encode()
    signature = signing.sign(WORLD.aggregator_key, OUTCOME_AGGREGATOR, payload).signature
    for forged in (
        true.with_(payload=payload, aggregator_signature=signature),
        true.with_(aggregator_signature=bytes(64)),
        true.with_(aggregator_signature=true.main_signature),
        true.with_(main_signature=bytes(64)),
        true.with_(main_signature=None),
    ):
        with pytest.raises(NotAuthentic):
            WORLD.main.countersigned(told.m, forged.encode())
    assert WORLD.main.countersigned(told.m, true.encode()).record.outcome == true.encode()


def test_nobody_but_the_aggregator_abandons_and_nothing_but_an_abandonment_does() -> None:
    told = started().collect().agree()
    with pytest.raises(NotAuthentic):
        WORLD.main.abandoned(told.m, signed_outcome(told, Result.ABANDONED))
    payload = Outcome(mh=told.a.mh, result="failed", reason="x", set_root=bytes(32)).encode()
    signature = signing.sign(WORLD.aggregator_key, OUTCOME_AGGREGATOR, payload).signature
    with pytest.raises(Refused) as caught:
        WORLD.main.abandoned(told.m, SignedOutcome(payload=payload, aggregator_signature=signature).encode())
    assert slug_of(caught) == "foreign-outcome"


def test_a_verdict_for_another_round_is_refused() -> None:
    told = started().collect()
    told.close()
    foreign = Verdict.decode(Signed.decode(forged_verdict(told, tuple(sorted(WORLD.members)))).payload)
    with pytest.raises(Refused) as caught:
        told.take_verdict(signing.sign(WORLD.main_key, VERDICT, foreign.with_(mh=bytes(32)).encode()).encode())
    assert slug_of(caught) == "foreign-verdict"
    with pytest.raises(NotAuthentic):
        told.take_verdict(forged_by_aggregator(VERDICT, foreign.encode()))


def test_a_seed_that_the_aggregator_cannot_open_is_refused_before_the_receipt() -> None:
    """Else one member could keep every round from being released, by sealing rubbish to the aggregator."""
    told = started()
    sent = told.commit(VICTIM)
    rubbish = bytes(80)
    header = ReportHeader.decode(Signed.decode(sent.envelope.header).payload).with_(
        aggregator_hash=sealed_hash(rubbish)
    )
    envelope = sign_report(sent.owner.key, header, sent.envelope.sealed_main, rubbish)
    with pytest.raises(NotAuthentic) as caught:
        check(told, envelope)
    assert caught.value.slug == "seed-unopenable"
