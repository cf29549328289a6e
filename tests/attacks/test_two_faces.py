"""A server that says one thing to one and another thing to another: who notices, and by what."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest

from fanlight.errors import Conflict, NotAuthentic, Refused
from fanlight.protocol import signing
from fanlight.protocol.aggregator_round import Held
from fanlight.protocol.closing import (
    OUTCOME_AGGREGATOR,
    OUTCOME_MAIN,
    RELEASE,
    SUM_NOT_USABLE,
    Outcome,
    OutcomeForDevice,
    SignedOutcome,
)
from fanlight.protocol.device_round import History
from fanlight.protocol.merkle import set_root
from fanlight.protocol.signing import Signed
from tests.protocol_world import HEAD, MODEL, NOW, Round, World, floors, plan_of

WORLD = World(4, "two faces")
VICTIM, OTHERS = WORLD.owners[0], WORLD.owners[1:]
OTHER_MODEL = hashlib.sha256(b"made for the victim").digest()


def test_one_victim_cannot_be_given_another_model_in_the_round_of_the_others() -> None:
    """All devices of a round answer one manifest, which names the model; the aggregator signs one for each round.

    So the attack of Pasquini et al. 2022 (arXiv:2111.07380), in which all but one get a model whose updates are zero,
    needs the aggregator's signature under a second manifest, and a device that takes another model than its manifest's.
    """
    told = Round(WORLD).open()
    for model in (OTHER_MODEL, MODEL):
        forged = WORLD.sign_manifest(told.proposal.with_(model=OTHER_MODEL))
        signed = told.signed if model == OTHER_MODEL else forged
        with pytest.raises(Refused) as caught:
            VICTIM.device.check_manifest(signed, told.plan, model, None, floors(), History({}, 0), NOW)
        assert caught.value.slug == "other-model"
    with pytest.raises(Conflict):
        WORLD.aggregator.offer(
            told.a, told.proposal.with_(model=OTHER_MODEL), (), told.proposal.main_key, bytes(32), NOW
        )


@pytest.mark.parametrize("change", [{"epochs": 50}, {"classes": ("a", "c")}, {"learning_rate_micro": 10**6}])
def test_one_victim_cannot_be_given_another_plan(change: dict[str, object]) -> None:
    told = Round(WORLD).open()
    with pytest.raises(Refused) as caught:
        VICTIM.device.check_manifest(told.signed, plan_of(**change), MODEL, None, floors(), History({}, 0), NOW)
    assert caught.value.slug == "other-model"


def test_a_second_close_that_differs_is_refused() -> None:
    """The aggregator would learn two verdicts, and have two sets to choose from."""
    told = Round(WORLD, r_max_percent=34).open().collect()
    told.judge(told.close())
    fewer = WORLD.aggregator.close(told.a.with_(state="collecting", close=b""), told.held[1:], HEAD).reply
    with pytest.raises(Conflict) as caught:
        told.judge(fewer)
    assert caught.value.slug == "second-close"


def test_a_second_release_that_differs_is_refused() -> None:
    told = Round(WORLD).open().collect().agree()
    release, vector = told.release()
    told.take_release(release, vector.copy())
    changed = Signed.decode(release)
    other = signing.sign(WORLD.aggregator_key, RELEASE, changed.payload[:-1] + b"?").encode()
    with pytest.raises(Conflict) as caught:
        told.take_release(other, vector)
    assert caught.value.slug == "second-release"


def test_an_aggregator_that_lists_another_report_than_it_receipted_is_caught_by_the_receipt() -> None:
    """It takes two reports of one device, gives each a receipt, and would choose later: main has the first receipt."""
    told = Round(WORLD, r_max_percent=34).open().collect()
    other = told.commit(VICTIM, seed="other")
    step = WORLD.aggregator.close(told.a, [Held(VICTIM.id, other.envelope), *told.held[1:]], HEAD)
    told.a = step.record
    verdict = told.judge(step.reply)
    assert VICTIM.id not in {listed.device for listed in WORLD.main.accepted(verdict.record)}


def test_two_outcomes_of_one_round_are_proof_against_both_servers() -> None:
    """Released to one, abandoned to the other, so that it answers again: the device that hears both keeps both."""
    told = Round(WORLD).open().collect().agree()
    told.complete()
    sent = told.reports[0]
    told.end(sent)
    payload = Outcome(mh=told.a.mh, result="abandoned", reason="x", set_root=set_root(told.a.mh, [])).encode()
    abandoned = SignedOutcome(
        payload=payload, aggregator_signature=signing.sign(WORLD.aggregator_key, OUTCOME_AGGREGATOR, payload).signature
    )
    with pytest.raises(Conflict) as caught:
        VICTIM.device.end(sent.record, OutcomeForDevice(outcome=abandoned))
    assert caught.value.slug == "second-outcome"


def test_main_cannot_make_up_the_half_of_an_outcome_that_is_the_aggregators() -> None:
    told = Round(WORLD).open().collect().agree()
    told.complete()
    true = SignedOutcome.decode(told.m.outcome)
    failed = Outcome.decode(true.payload).with_(result="failed", reason=SUM_NOT_USABLE).encode()
    forged = true.with_(payload=failed, main_signature=signing.sign(WORLD.main_key, OUTCOME_MAIN, failed).signature)
    with pytest.raises(NotAuthentic):
        VICTIM.device.end(told.reports[0].record, OutcomeForDevice(outcome=forged))


@pytest.mark.parametrize("times", [0, 2, -1])
def test_the_aggregator_can_neither_leave_out_nor_weigh_a_report_of_the_agreed_set(times: int) -> None:
    """It adds vectors that carry main's masks, and main takes off each mask once: any other sum is garbage."""
    told = Round(WORLD, plan_of(features=99)).open().collect().agree()
    vector = told.masked_sum()
    one = told.reports[0].y.copy()
    told.take_off(one, told.reports[0])
    vector += (np.int64(times - 1) * one.astype(np.int64) % 2**32).astype(np.uint32)
    step = told.take_release(*told.release(vector))
    assert step.totals is None
    assert Outcome.decode(Signed.decode(step.reply).payload).result == "failed"


def test_the_aggregator_cannot_count_one_report_in_anothers_place() -> None:
    told = Round(WORLD, plan_of(features=99)).open().collect().agree()
    vector = told.masked_sum()
    for sent, sign in ((told.reports[0], -1), (told.reports[1], 1)):
        one = sent.y.copy()
        told.take_off(one, sent)
        vector += (np.int64(sign) * one.astype(np.int64) % 2**32).astype(np.uint32)
    assert told.take_release(*told.release(vector)).totals is None
