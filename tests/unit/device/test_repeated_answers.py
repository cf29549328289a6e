"""What a device does not do twice, and how it notices that it was made to: the same update in two sums is dangerous."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest

from fanlight.errors import NotPossibleNow
from fanlight.protocol.closing import OutcomeForDevice, Result
from fanlight.protocol.device_round import Preparation
from fanlight.protocol.manifest import SignedManifest
from fanlight.services.device import status
from fanlight.services.device.role import DeviceRole
from tests.unit.device.federation import FakeFederation
from tests.unit.device.joined import announced, done, turn


def sent(federation: FakeFederation, device: DeviceRole) -> SignedManifest:
    announced(device)
    signed = federation.open_round()
    turn(device)
    done(device, device.steps.send())
    return signed


def why_not(device: DeviceRole) -> str:
    with pytest.raises(NotPossibleNow) as caught:
        device.steps.send()
    assert caught.value.next
    assert not device.steps.view("/sendmodel").possible
    return caught.value.slug


@pytest.mark.parametrize("result", [Result.FAILED, Result.RELEASED])
def test_by_hand_what_was_sent_is_not_sent_in_another_round(
    federation: FakeFederation, device: DeviceRole, result: Result
) -> None:
    sent(federation, device)
    federation.end_round(result)
    turn(device)
    assert device.offers.preparation == Preparation.IDLE
    federation.open_round(attempt=1)
    turn(device)
    assert why_not(device) == "round-idle"
    announced(device)
    done(device, device.steps.send())
    assert len(federation.uploads) == 2


def test_nor_while_the_outcome_is_kept_from_the_device(federation: FakeFederation, device: DeviceRole) -> None:
    sent(federation, device)
    federation.open_round(attempt=1)
    device.agent.refresh()
    assert why_not(device) == "round-sent"


def test_by_itself_it_trains_again_though_the_outcome_is_kept_from_it(
    federation: FakeFederation, tmp_path: Path, drawn: Path
) -> None:
    """With orders that are drawn alike in each run: of so few pictures, some come to the same head."""
    device = federation.device(tmp_path / "device-1", drawn, randomness=Random(1).randbytes)
    federation.by_itself = True
    federation.open_round()
    turn(device)
    first = device.store.prepared
    federation.open_round(attempt=1)
    turn(device)
    second = device.store.prepared
    assert first is not None
    assert second is not None
    assert first.head != second.head
    assert len(federation.uploads) == 2
    device.stop()


def test_a_late_outcome_leaves_a_newer_training_alone(federation: FakeFederation, device: DeviceRole) -> None:
    first = sent(federation, device)
    second = federation.open_round(attempt=1)
    announced(device)
    done(device, device.steps.send())
    federation.manifest = first
    federation.end_round(Result.ABANDONED)
    federation.manifest = second
    turn(device)
    assert [line.result for line in device.store.past.rounds()] == ["abandoned", None]
    assert device.offers.preparation == Preparation.SENT


def test_an_abandoned_round_gives_the_training_back(federation: FakeFederation, device: DeviceRole) -> None:
    sent(federation, device)
    prepared = device.store.prepared
    federation.end_round(Result.ABANDONED)
    turn(device)
    assert device.offers.preparation == Preparation.ANNOUNCED
    assert prepared is not None
    assert prepared.head == (device.offers.prepared or prepared.with_(head=bytes(32))).head


def told_twice(federation: FakeFederation, device: DeviceRole, second: Result) -> tuple[OutcomeForDevice, str]:
    """A round that was called abandoned and is something else now; the next one is offered."""
    signed = sent(federation, device)
    mh = signed.hash.hex()
    federation.end_round(Result.ABANDONED)
    turn(device)
    first = federation.outcomes[mh]
    federation.manifest = signed
    federation.end_round(second)
    federation.open_round()
    turn(device)
    return first, mh


def test_abandoned_and_then_released_is_noticed_kept_and_shown(federation: FakeFederation, device: DeviceRole) -> None:
    first, mh = told_twice(federation, device, Result.RELEASED)
    shown = status.status(device)["equivocation"]
    assert not shown["acknowledged"]
    assert shown["rounds"][0]["manifest"] == mh
    assert [outcome["result"] for outcome in shown["rounds"][0]["outcomes"]] == ["abandoned", "released"]
    both = [first.outcome.encode().hex(), federation.outcomes[mh].outcome.encode().hex()]
    assert [outcome["signed"] for outcome in shown["rounds"][0]["outcomes"]] == both
    assert why_not(device) == "equivocation"
    assert len(federation.uploads) == 1
    assert [refusal.slug for refusal in device.store.refusals.newest()] == ["equivocation"]


def test_the_owner_can_go_on_after_that(federation: FakeFederation, device: DeviceRole) -> None:
    told_twice(federation, device, Result.RELEASED)
    device.store.evidence.acknowledge(5)
    done(device, device.steps.send())
    shown = status.status(device)["equivocation"]
    assert shown["acknowledged"]
    assert len(shown["rounds"]) == 1


def test_by_itself_nothing_is_answered_after_that(federation: FakeFederation, device: DeviceRole) -> None:
    told_twice(federation, device, Result.RELEASED)
    federation.by_itself = True
    turn(device)
    assert len(federation.uploads) == 1


def test_an_honest_abandonment_is_asked_for_once_more_and_no_more(
    federation: FakeFederation, device: DeviceRole
) -> None:
    sent(federation, device)
    federation.end_round(Result.ABANDONED)
    turn(device)
    before = federation.seen.count("main GET rounds")
    turn(device)
    assert federation.seen.count("main GET rounds") == before
    federation.open_round()
    turn(device)
    turn(device)
    assert federation.seen.count("main GET rounds") == before + 1
    assert status.status(device)["equivocation"] is None
    done(device, device.steps.send())


@pytest.mark.parametrize("forged", [True, False], ids=["forged", "forgotten"])
def test_what_nobody_signed_is_no_evidence(federation: FakeFederation, device: DeviceRole, forged: bool) -> None:
    mh = sent(federation, device).hash.hex()
    federation.end_round(Result.ABANDONED)
    turn(device)
    if forged:
        outcome = federation.outcomes[mh].outcome.with_(aggregator_signature=bytes(64))
        federation.outcomes[mh] = OutcomeForDevice(outcome=outcome)
    else:
        del federation.outcomes[mh]
    federation.open_round()
    turn(device)
    assert status.status(device)["equivocation"] is None
    done(device, device.steps.send())
