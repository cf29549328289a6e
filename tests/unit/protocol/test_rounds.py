"""Whole rounds: what everybody knows in the end, what a repetition gets, and how a round is given up."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from fanlight.core import ring
from fanlight.errors import Conflict, NotAuthentic, NotPossibleNow, Refused
from fanlight.protocol import aggregator_round, main_round, signing
from fanlight.protocol.closing import (
    CLOSE,
    RELEASE,
    Close,
    Outcome,
    OutcomeForDevice,
    Rejection,
    Release,
    Result,
    SignedOutcome,
    Verdict,
)
from fanlight.protocol.contribution import Measured
from fanlight.protocol.device import needs_training
from fanlight.protocol.device_round import Delivery, History
from fanlight.protocol.merkle import Entry, set_root
from fanlight.protocol.report import READINESS, Envelope, Readiness, Receipt
from fanlight.protocol.signing import Signed
from tests.protocol_world import (
    HEAD,
    MODEL,
    NOW,
    Round,
    World,
    contribution_of,
    digest_of,
    floors,
    plan_of,
    public,
    round_key,
    secret,
)

WORLD = World(3)


def started(**changes: object) -> Round:
    return Round(WORLD, **changes).open()  # type: ignore[arg-type]


def agreed() -> Round:
    return started().collect().agree()


def verdict_of(data: bytes) -> Verdict:
    return Verdict.decode(Signed.decode(data).payload)


# ---- what a round is for


def test_main_learns_the_exact_sum_and_every_device_that_it_is_in_it() -> None:
    told = agreed()
    release, vector = told.release()
    step = told.take_release(release, vector)
    assert np.array_equal(ring.centre(vector), np.sum([sent.plain for sent in told.reports], axis=0))
    told.finish(step.reply)
    told.m = WORLD.main.publish(told.m).record
    assert (told.a.at, told.m.at) == (aggregator_round.State.FINISHED, main_round.State.COMPLETE)
    assert step.totals is not None
    assert step.totals.weight == 60
    assert step.totals.received is not None
    assert step.totals.received.confusion.tolist() == [[12, 0], [0, 12]]
    assert step.totals.supporters is not None
    assert step.totals.supporters.tolist() == [3, 2]
    ends = [told.end(sent) for sent in told.reports]
    assert [(end.result, end.was_included, end.reason) for end in ends] == [(Result.RELEASED, True, "ok")] * 3
    assert all(sent.record.at is Delivery.ENDED for sent in told.reports)


def test_a_proof_that_names_a_shard_proves_nothing_in_a_round_without_shards() -> None:
    told = agreed()
    told.complete()
    sent = told.reports[0]
    answer = WORLD.main.outcome_for(told.m, sent.owner.id)
    assert answer is not None
    assert answer.proof is not None
    for shard in (0, 1):
        with pytest.raises(NotAuthentic) as caught:
            sent.owner.device.end(sent.record, answer.with_(proof=answer.proof.with_(shard=shard)))
        assert caught.value.slug == "bad-inclusion-proof"


def test_every_step_that_says_something_is_logged_once() -> None:
    told = Round(WORLD)
    types = [entry.type for entry in told.offer().entries]
    opened = WORLD.main.open(told.m, told.a.countersigned)
    assert [entry.type for entry in opened.entries] == ["manifest"]
    assert WORLD.main.open(opened.record, told.a.countersigned).entries == ()
    told.m, told.a = opened.record, WORLD.aggregator.open(told.a, opened.record.signed_manifest).record
    told.collect()
    for _ in range(2):
        closed = WORLD.aggregator.close(told.a, told.held, HEAD)
        types += [entry.type for entry in closed.entries]
        told.a = closed.record
    judged = told.judge(told.a.close)
    assert [entry.type for entry in judged.entries] == ["close", "verdict"]
    assert told.judge(told.a.close).entries == ()
    for _ in range(2):
        types += [entry.type for entry in told.take_verdict(judged.reply).entries]
    assert types == ["manifest", "close", "verdict"]


def test_two_rounds_follow_one_another() -> None:
    first = agreed()
    first.complete()
    second = Round(WORLD, plan_of(kind="measure"), previous=first, round=2).open().collect().agree()
    totals = second.complete()
    assert (totals.weight, totals.mean, totals.supporters) == (None, None, None)
    assert totals.received is not None
    assert totals.received.confusion.trace() == 24
    assert [second.end(sent).was_included for sent in second.reports] == [True] * 3


def test_a_measuring_round_may_be_answered_without_pictures_to_learn_from() -> None:
    told = started(plan=plan_of(kind="measure"))
    owner = WORLD.owners[0]
    empty = contribution_of(told.plan, 0)
    object.__setattr__(empty, "examples", 0)
    assert told.commit(owner, empty).record.kind == "measure"
    assert not needs_training("measure")
    assert needs_training("train")


def test_a_device_without_held_out_pictures_does_not_answer_a_measuring_round() -> None:
    """Four of them would make k_min with one home, whose counts the sum would be."""
    told = started(plan=plan_of(kind="measure"))
    empty = dataclasses.replace(contribution_of(told.plan, 0), received=Measured(np.zeros((2, 2), np.int64), 0.0))
    with pytest.raises(NotPossibleNow, match="held-out") as caught:
        told.commit(WORLD.owners[0], empty)
    assert caught.value.slug == "nothing-to-learn-from"


def test_a_device_without_pictures_does_not_answer_a_training_round() -> None:
    told = started()
    empty = contribution_of(told.plan, 0)
    object.__setattr__(empty, "examples", 0)
    with pytest.raises(NotPossibleNow) as caught:
        told.commit(WORLD.owners[0], empty)
    assert caught.value.slug == "nothing-to-learn-from"


def test_a_sampled_cohort_is_summed_and_others_stay_outside() -> None:
    cohort = [owner.id for owner in WORLD.owners[:2]]
    told = started(cohort=cohort)
    invited, outsider = WORLD.owners[:2], WORLD.owners[2]
    with pytest.raises(NotAuthentic):
        WORLD.owners[2].device.check_manifest(
            told.signed, told.plan, MODEL, told.invitation(invited[0]), floors(), History({}, 0), NOW
        )
    uninvited = told.commit(outsider)  # main may hand out an invitation, but the cohort is fixed in the manifest
    with pytest.raises(Refused) as caught:
        told.send(uninvited)
    assert caught.value.slug == "not-invited"
    assert told.collect(invited).agree().complete().weight == 30


def test_a_readiness_message_names_plan_and_model() -> None:
    owner = WORLD.owners[0]
    data = owner.device.announce(plan_of(), MODEL, NOW)
    message = Readiness.decode(signing.verify_bytes(owner.member.public_key, READINESS, data))
    assert (message.fid, message.device, message.task) == (WORLD.trust.fid, owner.id, "t")
    assert (message.plan, message.model, message.time) == (plan_of().hash, MODEL, NOW)


# ---- the same again gives the same bytes


def test_a_repeated_offer_gets_the_same_manifest() -> None:
    told = Round(WORLD)
    first = told.offer()
    again = WORLD.aggregator.offer(first.record, told.proposal, (), public(round_key("new")), secret("draw"), NOW + 99)
    assert (again.reply, again.record, again.entries) == (first.reply, first.record, ())


def test_a_repeated_open_gets_the_same_manifest() -> None:
    told = started()
    again = WORLD.main.open(told.m, told.a.countersigned)
    assert again.reply == told.m.manifest
    assert again.record == told.m
    assert WORLD.aggregator.open(told.a, told.signed).record == told.a


def test_a_repeated_report_gets_a_receipt_again() -> None:
    told = started()
    sent = told.commit(WORLD.owners[0])
    assert told.send(sent) == told.send(sent)
    assert len(told.reports) == 1


def test_a_repeated_close_verdict_release_and_outcome_get_the_same_bytes() -> None:
    told = started().collect()
    close = told.close()
    assert told.close() == close
    verdict = told.judge(close).reply
    assert told.judge(close).reply == verdict
    told.take_verdict(verdict)
    record = told.a
    assert told.take_verdict(verdict).record == record
    release, vector = told.release()
    assert told.release(np.zeros_like(vector))[0] == release
    outcome = told.take_release(release, vector.copy()).reply
    repeated = told.take_release(release, vector)
    assert (repeated.reply, repeated.totals, repeated.entries) == (outcome, None, ())
    both = told.finish(outcome)
    assert told.finish(outcome) == both
    sent = told.reports[0]
    assert told.end(sent) == told.end(sent)


def test_a_round_taken_up_from_storage_goes_on() -> None:
    told = started().collect()
    told.a, told.m = aggregator_round.Record.decode(told.a.encode()), main_round.Record.decode(told.m.encode())
    told.agree()
    told.a, told.m = aggregator_round.Record.decode(told.a.encode()), main_round.Record.decode(told.m.encode())
    assert told.complete().weight == 60


# ---- something different is a conflict


def test_a_second_different_report_is_a_conflict() -> None:
    told = started().collect()
    second = told.commit(WORLD.owners[0], seed="again")
    with pytest.raises(Conflict) as caught:
        told.send(second)
    assert caught.value.slug == "second-report"


def test_a_second_different_manifest_is_a_conflict() -> None:
    told = started()
    other = Round(WORLD)
    other.aggregator_round_key = round_key("other")
    with pytest.raises(Conflict) as caught:
        WORLD.main.open(told.m, other.offer().reply)
    assert caught.value.slug == "second-manifest"


def test_main_signs_no_manifest_in_which_the_aggregators_round_key_is_its_own() -> None:
    told = Round(WORLD)
    told.aggregator_round_key = told.main_round_key
    with pytest.raises(Refused) as caught:
        WORLD.main.open(told.m, told.offer().reply)
    assert caught.value.slug == "one-round-key"


def test_nothing_is_proven_to_be_in_an_abandoned_round() -> None:
    told = agreed()
    told.complete()
    sent = told.reports[0]
    answer = WORLD.main.outcome_for(told.m, sent.owner.id)
    assert answer is not None
    payload = Outcome.decode(answer.outcome.payload).with_(result=Result.ABANDONED.value).encode()
    signature = signing.sign(WORLD.aggregator_key, "outcome-agg", payload).signature
    abandoned = SignedOutcome(payload=payload, aggregator_signature=signature)
    with pytest.raises(NotAuthentic) as caught:
        sent.owner.device.end(sent.record, answer.with_(outcome=abandoned))
    assert caught.value.slug == "bad-inclusion-proof"


def test_a_second_different_close_is_a_conflict() -> None:
    told = started().collect()
    close = told.close()
    told.judge(close)
    other = WORLD.aggregator.close(told.a.with_(state="collecting", close=b""), told.held[:2], HEAD).reply
    with pytest.raises(Conflict) as caught:
        told.judge(other)
    assert caught.value.slug == "second-close"


def test_a_second_different_verdict_is_a_conflict() -> None:
    told = started().collect()
    fresh = told.m
    close = told.close()
    told.take_verdict(told.judge(close).reply)
    members = dict(list(WORLD.members.items())[:2])
    other = WORLD.main.judge(fresh, close, members, {}, told.main_round_key, HEAD).reply
    with pytest.raises(Conflict) as caught:
        told.take_verdict(other)
    assert caught.value.slug == "second-verdict"


def test_a_second_different_release_is_a_conflict() -> None:
    told = agreed()
    fresh = told.a
    release, vector = told.release()
    told.take_release(release, vector.copy())
    other = WORLD.aggregator.release(fresh, told.held, [secret("other sum")], HEAD).reply
    with pytest.raises(Conflict) as caught:
        told.take_release(other, vector)
    assert caught.value.slug == "second-release"


def test_a_second_different_outcome_is_a_conflict() -> None:
    told = agreed()
    fresh = told.m
    release, vector = told.release()
    told.finish(told.take_release(release, vector.copy()).reply)
    failure = WORLD.main.take_release(fresh, release, vector, None).reply
    with pytest.raises(Conflict) as caught:
        WORLD.aggregator.finish(told.a, failure)
    assert caught.value.slug == "second-outcome"


def test_a_second_different_abandonment_is_a_conflict() -> None:
    told = started()
    other = WORLD.aggregator.abandon(told.a, "another reason").reply
    told.abandon("one reason")
    with pytest.raises(Conflict) as caught:
        WORLD.main.abandoned(told.m, other)
    assert caught.value.slug == "second-outcome"


def test_a_device_notices_two_outcomes_of_one_round() -> None:
    told = agreed()
    sent = told.reports[0]
    abandoned = SignedOutcome.decode(WORLD.aggregator.abandon(told.a, "operator").reply)
    told.complete()
    sent.record = sent.owner.device.end(sent.record, OutcomeForDevice(outcome=abandoned)).record
    with pytest.raises(Conflict) as caught:
        told.end(sent)
    assert caught.value.slug == "second-outcome"


# ---- numbers of rounds


@pytest.mark.parametrize("number", [1, 2])
def test_no_round_begins_before_the_last_is_over(number: int) -> None:
    told = started()
    with pytest.raises(Conflict) as caught:
        Round(WORLD, previous=told, round=number)
    assert caught.value.slug == "round-not-over"
    other = WORLD.proposal(told.plan, round=number, attempt=7)
    with pytest.raises(Conflict) as caught:
        WORLD.aggregator.offer(told.a, other, (), public(round_key("x")), secret("draw"), NOW)
    assert caught.value.slug == "round-not-over"


def test_a_number_is_used_once() -> None:
    told = started()
    told.abandon()
    for number in (1, 3):
        with pytest.raises(Conflict) as caught:
            WORLD.main.propose(told.m, WORLD.proposal(told.plan, round=number), ())
        assert caught.value.slug == "round-spent"
    with pytest.raises(Conflict) as caught:
        WORLD.aggregator.offer(
            told.a, WORLD.proposal(told.plan, attempt=7), (), public(round_key("x")), secret("draw"), NOW
        )
    assert caught.value.slug == "round-spent"
    with pytest.raises(Conflict):
        WORLD.main.propose(None, WORLD.proposal(told.plan, round=2), ())


@pytest.mark.parametrize("named", [True, False])
def test_an_offer_brings_the_cohort_that_it_names(named: bool) -> None:
    cohort = [owner.id for owner in WORLD.owners[:2]]
    proposal = WORLD.proposal(plan_of(), cohort if named else ())
    for brought in ([], cohort[:1], [*cohort, bytes(16)]) if named else (cohort,):
        with pytest.raises(Refused) as caught:
            WORLD.aggregator.offer(None, proposal, brought, public(round_key("x")), secret("draw"), NOW)
        assert caught.value.slug == "bad-cohort"


# ---- giving up


def test_an_abandoned_round_may_be_answered_again() -> None:
    told = started().collect()
    told.abandon("operator")
    end = told.end(told.reports[0])
    assert (end.result, end.was_included, end.reason) == (Result.ABANDONED, False, "operator")
    again = Round(WORLD, previous=told, round=2).open().collect().agree()
    assert again.complete().weight == 60


def test_a_released_round_uses_the_answer_up() -> None:
    told = agreed()
    told.complete()
    answered = {told.reports[0].record.answer_key: told.reports[0].record.mh}
    again = Round(WORLD, previous=told, round=2).open()
    device = WORLD.owners[0].device
    with pytest.raises(Refused) as caught:
        device.check_manifest(again.signed, again.plan, MODEL, None, floors(), History(answered, 1), NOW)
    assert caught.value.slug == "answered-before"
    raised = Round(WORLD, previous=told, round=2, attempt=1).open()
    device.check_manifest(raised.signed, raised.plan, MODEL, None, floors(), History(answered, 1), NOW)


@pytest.mark.parametrize("moment", ["collecting", "closed", "agreed"])
def test_the_aggregator_may_abandon_until_the_release(moment: str) -> None:
    told = Round(WORLD)
    told.open().collect()
    if moment in ("closed", "agreed"):
        told.judge(told.close())
    if moment == "agreed":
        told.take_verdict(told.m.verdict)
    assert told.a.at == moment
    step = WORLD.aggregator.abandon(told.a, "")
    outcome = Outcome.decode(SignedOutcome.decode(step.reply).payload)
    assert outcome == Outcome(mh=told.a.mh, result="abandoned", reason="unspecified", set_root=set_root(told.a.mh, []))
    assert WORLD.aggregator.abandon(step.record, "later").reply == step.reply
    if moment != "offered":
        assert WORLD.main.abandoned(told.m, step.reply).record.at is main_round.State.ABANDONED


def test_after_the_release_nobody_can_abandon() -> None:
    told = agreed()
    abandonment = WORLD.aggregator.abandon(told.a, "x").reply
    told.take_release(*told.release())
    with pytest.raises(NotPossibleNow):
        WORLD.aggregator.abandon(told.a, "x")
    with pytest.raises(NotPossibleNow):
        WORLD.main.abandoned(told.m, abandonment)


def test_abandonment_is_that_of_this_round() -> None:
    told = started()
    with pytest.raises(Refused) as caught:
        WORLD.main.abandoned(told.m, _of_another_round())
    assert caught.value.slug == "foreign-outcome"


def _of_another_round() -> bytes:
    other = started(attempt=3)
    return WORLD.aggregator.abandon(other.a, "x").reply


def test_main_without_its_round_key_gives_the_round_up_at_the_verdict() -> None:
    told = started().collect()
    step = told.judge(told.close(), key_lost=True)
    assert told.m.at is main_round.State.DISMISSED
    assert (verdict_of(step.reply).proceed, verdict_of(step.reply).reason) == (False, "round-key-lost")
    answer = told.take_verdict(step.reply)
    assert told.a.at is aggregator_round.State.ABANDONED
    told.m = WORLD.main.abandoned(told.m, answer.reply).record
    assert told.m.at is main_round.State.ABANDONED
    assert told.end(told.reports[0]).reason == "round-key-lost"


def test_main_that_loses_its_round_key_after_the_verdict_fails_the_round() -> None:
    told = agreed()
    step = told.take_release(*told.release(), key_lost=True)
    assert (told.m.at, step.totals) == (main_round.State.FAILED, None)
    told.finish(step.reply)
    end = told.end(told.reports[0])
    assert (end.result, end.reason, end.was_included) == (Result.FAILED, "round-key-lost", True)


def test_a_sum_that_the_aggregator_has_signed_and_lost_fails_the_round_for_ever() -> None:
    told = agreed()
    release, vector = told.release()
    step = told.take_release(release, np.zeros(0, np.uint32))
    assert (told.m.at, step.totals) == (main_round.State.FAILED, None)
    assert told.take_release(release, vector).reply == step.reply  # found again: too late
    told.finish(step.reply)
    end = told.end(told.reports[0])
    assert (end.result, end.reason) == (Result.FAILED, "sum-lost")


def test_nothing_is_told_before_both_have_signed() -> None:
    told = agreed()
    assert WORLD.main.outcome_for(told.m, WORLD.owners[0].id) is None
    told.take_release(*told.release())
    assert WORLD.main.outcome_for(told.m, WORLD.owners[0].id) is None


# ---- verdicts


def test_too_few_reports_cannot_be_closed_and_cost_nothing() -> None:
    told = started().collect(WORLD.owners[:1])
    with pytest.raises(NotPossibleNow, match="1 of the 2") as caught:
        told.close()
    assert caught.value.slug == "too-few-reports"
    assert told.a.at is aggregator_round.State.COLLECTING
    told.collect(WORLD.owners[1:2])
    assert told.agree().complete().weight == 30


def test_a_rejected_report_is_left_out_and_its_device_hears_it() -> None:
    told = started().collect()
    stranger = told.reports[2].owner.id
    members = {device: key for device, key in WORLD.members.items() if device != stranger}
    step = WORLD.main.judge(told.m, told.close(), members, {}, told.main_round_key, HEAD)
    told.m = step.record
    assert verdict_of(step.reply).rejected == (Rejection(device=stranger, reason="not-a-member"),)
    told.take_verdict(step.reply)
    assert told.complete().weight == 30
    ends = [told.end(sent) for sent in told.reports]
    assert [end.was_included for end in ends] == [True, True, False]


def test_a_receipt_that_is_not_listed_counts_as_rejected() -> None:
    told = started(r_max_percent=33).collect()
    told.reports.pop()
    step = told.judge(told.close())
    verdict = verdict_of(step.reply)
    assert [rejection.reason for rejection in verdict.rejected] == ["receipted-but-unlisted"]
    assert (verdict.proceed, verdict.reason, verdict.accepted) == (False, "too-many-rejected", ())


def test_a_listed_report_without_beacon_is_accepted() -> None:
    told = started().collect()
    told.beacons.clear()
    assert len(verdict_of(told.judge(told.close()).reply).accepted) == 3


def test_too_many_reports_are_not_summed() -> None:
    told = started(n_max=2).collect(WORLD.owners[:2])
    with pytest.raises(Refused) as caught:
        told.collect(WORLD.owners[2:])
    assert caught.value.slug == "round-full"
    first = told.reports[0]
    header = WORLD.aggregator.check_report(
        told.a, first.envelope, first.owner.member.public_key, told.aggregator_round_key, NOW
    )
    again = WORLD.aggregator.take_report(told.a, first.held, 2, first.envelope, header, NOW)
    assert Receipt.decode(Signed.decode(again.reply).payload).report_id == first.envelope.report_id
    told.reports.append(told.commit(WORLD.owners[2]))
    verdict = verdict_of(told.judge(told.close()).reply)
    assert (verdict.proceed, verdict.reason) == (False, "too-many-reports")


def test_both_servers_commit_to_their_logs() -> None:
    told = started().collect()
    a_head, m_head = secret("agg log"), secret("main log")
    close = WORLD.aggregator.close(told.a, told.held, a_head)
    assert Close.decode(signing.verify_bytes(WORLD.trust.aggregator_key, CLOSE, close.reply)).log_head == a_head
    judged = WORLD.main.judge(told.m, close.reply, WORLD.members, {}, told.main_round_key, m_head)
    assert verdict_of(judged.reply).log_head == m_head


def test_a_release_states_what_it_sums() -> None:
    told = agreed()
    data, vector = told.release()
    release = Release.decode(signing.verify_bytes(WORLD.trust.aggregator_key, RELEASE, data))
    entries = [Entry(sent.owner.id, sent.envelope.report_id) for sent in told.reports]
    assert (release.count, release.length, release.shard) == (3, 22, 0)
    assert release.sum_hash == digest_of(vector)
    assert release.set_root == set_root(told.a.mh, entries)


def test_a_receipt_names_the_report_and_the_time() -> None:
    told = started()
    sent = told.commit(WORLD.owners[0])
    receipt = Receipt.decode(Signed.decode(told.send(sent, NOW + 7)).payload)
    assert receipt == Receipt(mh=told.a.mh, device=sent.owner.id, report_id=sent.envelope.report_id, time=NOW + 7)
    assert sent.record.at is Delivery.RECEIPTED


def test_a_record_keeps_the_bytes_to_send_again() -> None:
    told = started()
    sent = told.commit(WORLD.owners[0])
    assert sent.record.at is Delivery.COMMITTED
    assert Envelope.decode(sent.record.envelope).encode() == sent.record.envelope
    assert (sent.record.length, sent.record.number, sent.record.mh) == (sent.y.size, 1, told.a.mh)


def test_what_leaves_the_device_is_masked_twice() -> None:
    told = started()
    sent = told.commit(WORLD.owners[0])
    masked_once = sent.y.copy()
    told.take_off(masked_once, sent)
    for seen in (sent.y, masked_once):
        assert np.count_nonzero(ring.centre(seen) == sent.plain) <= 1
