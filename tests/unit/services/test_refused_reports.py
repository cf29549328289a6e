"""Which reports count as rejected, how often, and what is written of them: only what a member has signed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from prometheus_client.parser import text_string_to_metric_families
from structlog.testing import capture_logs

from fanlight.errors import RemoteError
from fanlight.protocol import signing
from fanlight.protocol.manifest import SignedManifest
from fanlight.protocol.report import Envelope, ReportHeader, sign_report
from fanlight.services.aggregator import uploads
from tests.services_world import ProtocolDevice, Sent, World, running


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with running(tmp_path) as made:
        yield made


def rejected(world: World) -> dict[str, float]:
    """The aggregator's counter, by reason."""
    return {
        sample.labels["reason"]: sample.value
        for family in text_string_to_metric_families(world.owner("aggregator").ask("GET", "/metrics").text)
        for sample in family.samples
        if sample.name == "fanlight_reports_rejected_total"
    }


def noted(world: World) -> dict[str, int]:
    """What the owner is told of refused reports: reason and how often."""
    (line,) = world.owner("aggregator").get("/api/v1/rounds/held")["rounds"]
    return {refused["reason"]: refused["times"] for refused in line["refused"]}


def refused(attack: Callable[[], object], slug: str) -> list[str]:
    """The attack fails with this slug; the events that are logged of it."""
    with capture_logs() as lines, pytest.raises(RemoteError) as error:
        attack()
    assert error.value.slug == slug, error.value.message
    return [line["event"] for line in lines if line["event"] == "report rejected"]


def with_envelope(sent: Sent, envelope: Envelope) -> Sent:
    return replace(sent, record=sent.record.with_(envelope=envelope.encode()))


def test_what_is_to_come_back_later_is_not_rejected(tmp_path: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(uploads, "AT_ONCE", 0)
        with running(tmp_path) as world:
            device = world.enrolled(2)[0]
            sent = device.commit()
            assert refused(lambda: device.upload(sent), "too-many-requests") == []
            assert (rejected(world), noted(world)) == ({}, {})
            patch.undo()
            world.restart_aggregator()
            device.report(sent)
            assert (rejected(world), noted(world)) == ({}, {})


def test_the_same_report_again_counts_once(world: World) -> None:
    first, second = world.enrolled(2)
    sent, garbage = first.commit(), bytes(first.commit().y.nbytes)
    assert refused(lambda: first.upload(sent, garbage), "swapped-vector") == ["report rejected"]
    assert refused(lambda: first.upload(sent, garbage), "swapped-vector") == []
    assert (rejected(world), noted(world)) == ({"swapped-vector": 1}, {"swapped-vector": 2})
    refused(lambda: second.upload(second.commit(), garbage), "swapped-vector")
    assert rejected(world) == {"swapped-vector": 2}, "another device's is another report"


def test_what_no_member_has_signed_is_counted_and_nothing_written(world: World) -> None:
    device, thief = world.enrolled(2)
    sent, signed = device.commit(), SignedManifest.decode(device.offer().manifest or b"")
    header = ReportHeader.decode(signing.Signed.decode(sent.envelope.header).payload)
    seeds = sent.envelope.sealed_main, sent.envelope.sealed_aggregator
    forged = with_envelope(sent, sign_report(Ed25519PrivateKey.generate(), header, *seeds))
    stolen = with_envelope(sent, sign_report(thief.private, header, *seeds))
    broken = with_envelope(sent, sent.envelope.with_(header=b"no signed message"))
    impostor = ProtocolDevice(world, thief.token, thief.private)
    impostor.device = replace(thief.device, device=device.id)  # seeds and header name the other, the key is the thief's
    foreign = impostor.commit_to(signed)
    stranger = world.protocol_device()
    theirs = stranger.commit_to(signed)
    before = world.snapshot()
    attacks: list[tuple[Callable[[], object], str]] = [
        (lambda: device.upload(forged), "not-authentic"),
        (lambda: device.upload(stolen), "not-authentic"),
        (lambda: device.upload(broken), "malformed-message"),
        (lambda: thief.upload(foreign), "foreign-report"),
        (lambda: stranger.upload(theirs), "not-enrolled"),
    ]
    for number, (attack, slug) in enumerate(attacks, 1):
        assert refused(attack, slug) == [], "a stranger fills no log"
        assert rejected(world) == {"not-authentic": number}, slug
    assert noted(world) == {}
    assert world.snapshot() == before


def test_an_enrolled_device_that_main_does_not_have_yet_is_not_rejected(world: World) -> None:
    device = world.enrolled(2)[0]
    newcomer = world.protocol_device()
    newcomer.aggregator.enrol(newcomer.enrolment(), newcomer.private)
    sent = newcomer.commit_to(SignedManifest.decode(device.offer().manifest or b""))
    refused(lambda: newcomer.upload(sent), "not-confirmed")
    assert rejected(world) == {}


def test_of_a_round_that_there_is_not_nothing_is_noted_and_each_report_counts(world: World) -> None:
    device = world.enrolled(2)[0]
    sent, nowhere = device.commit(), bytes(32)
    header = ReportHeader.decode(signing.Signed.decode(sent.envelope.header).payload).with_(mh=nowhere)
    seeds = sent.envelope.sealed_main, sent.envelope.sealed_aggregator
    lost = with_envelope(sent, sign_report(device.private, header, *seeds))
    lost = replace(lost, record=lost.record.with_(mh=nowhere))
    for number in (1, 2):
        assert refused(lambda: device.upload(lost), "not-found") == ["report rejected"]
        assert (rejected(world), noted(world)) == ({"not-found": number}, {})
