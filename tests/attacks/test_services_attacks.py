"""Attacks on the running services: who sends what must not be sent gets an error that names it, and changes nothing.

One world serves most tests: each brings devices of its own and compares everything that counts before and after.
"""

from __future__ import annotations

import hashlib
import json
import socket
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy import select

from fanlight.errors import ModelError, RemoteError, SettingsError
from fanlight.protocol import codec, identities, signing
from fanlight.protocol.closing import SUM_NOT_USABLE, stored_outcome
from fanlight.protocol.contribution import Contribution
from fanlight.protocol.digests import vector_digest
from fanlight.protocol.exchange import PREFIX
from fanlight.protocol.main_server import MainServer
from fanlight.protocol.manifest import SignedManifest
from fanlight.protocol.report import (
    RECEIPT,
    Envelope,
    Receipt,
    ReportHeader,
    body_prefix,
    sealed_hash,
    sign_report,
)
from fanlight.protocol.signing import raw_public_key
from fanlight.services.aggregator import round_table
from fanlight.services.device.learner import Learner
from fanlight.services.federation import Token, issue_token_file
from fanlight.services.http.remote import Remote
from fanlight.services.http.signature_profile import content_digest
from fanlight.services.http.signing import SignedRequests
from fanlight.storage.blobs import BlobFolder
from fanlight.storage.tables.main import device_models
from tests.services_world import ProtocolDevice, Sent, World, contribution_of, running, wait

ROUTES_OF_THE_AGGREGATOR = [
    ("GET", "/orders?after=0&wait=0"),
    ("GET", "/aggregator/members"),
    *(("POST", f"/aggregator/{what}") for what in ("enrolments", "manifest", "close", "release", "outcome")),
]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """By hand, with an open round and two honest devices that have reported."""
    with running(tmp_path_factory.mktemp("world"), n_max=60) as made:
        for device in made.enrolled(2):
            device.report()
        yield made


@pytest.fixture
def device(world: World) -> ProtocolDevice:
    """A member that has not reported."""
    return member(world)


def member(world: World) -> ProtocolDevice:
    made = world.protocol_device()
    made.enrol()
    world.wait_members([made.id])
    return made


def refused(world: World, attack: Callable[[], object], slug: str) -> RemoteError:
    """The attack fails with this slug and a message, and leaves everything as it was."""
    before = world.snapshot()
    with pytest.raises(RemoteError) as error:
        attack()
    assert error.value.slug == slug, error.value.message
    assert error.value.message
    assert world.snapshot() == before
    return error.value


def body_of(sent: Sent) -> bytes:
    return body_prefix(sent.envelope) + sent.y.astype("<u4").tobytes()


def put(device: ProtocolDevice, content: bytes, *, mh: bytes | None = None, to: bytes | None = None) -> bytes:
    """Upload any bytes as a report."""
    mh = mh or manifest_of(device).hash
    path = f"{PREFIX}/rounds/{mh.hex()}/reports/{(to or device.id).hex()}"
    return device.aggregator.remote.send("PUT", path, content=content)


def manifest_of(device: ProtocolDevice) -> SignedManifest:
    return SignedManifest.decode(device.offer().manifest or b"")


def forged(sender: ProtocolDevice, sent: Sent, **changes: Any) -> Envelope:
    """The report's envelope with another header, properly signed by the sender."""
    header = ReportHeader.decode(signing.Signed.decode(sent.envelope.header).payload).with_(**changes)
    return sign_report(sender.private, header, sent.envelope.sealed_main, sent.envelope.sealed_aggregator)


def with_unknown_field(message: bytes) -> bytes:
    fields = codec.decode(message)
    assert isinstance(fields, dict)
    return codec.encode({**fields, 99: b"unknown"})


# ---- tokens and enrolment


def enrol_at(world: World, name: str, device: ProtocolDevice, enrolment: bytes) -> bytes:
    server = device.main if name == "main" else device.aggregator
    assert name in world.ports
    return server.enrol(enrolment, device.private).device


@pytest.mark.parametrize("server", ["main", "aggregator"])
def test_a_token_that_another_root_signed(world: World, server: str) -> None:
    stranger, holder = world.protocol_device(), Ed25519PrivateKey.generate()
    root = Ed25519PrivateKey.generate()
    certificate = identities.issue_token(root, raw_public_key(holder), 1 << 40, "stranger")
    enrolment = identities.enrol(stranger.device.trust.fid, certificate, holder, stranger.private)
    refused(world, lambda: enrol_at(world, server, stranger, enrolment), "not-authentic")


@pytest.mark.parametrize("server", ["main", "aggregator"])
def test_a_certificate_without_the_tokens_key(world: World, server: str) -> None:
    thief = world.protocol_device()
    fid, certificate = thief.device.trust.fid, thief.token.certificate
    enrolment = identities.enrol(fid, certificate, Ed25519PrivateKey.generate(), thief.private)
    refused(world, lambda: enrol_at(world, server, thief, enrolment), "not-authentic")


@pytest.mark.parametrize("server", ["main", "aggregator"])
def test_an_expired_token(world: World, server: str) -> None:
    late = ProtocolDevice(world, token_of(world, f"late-{server}", expires=int(world.clock()) - 1))
    error = refused(world, lambda: enrol_at(world, server, late, late.enrolment()), "token-expired")
    assert f"late-{server}" in error.message
    assert "new token" in error.next


def token_of(world: World, name: str, expires: int = 1 << 40) -> Token:
    """A token that the root signed itself, whatever the command line would say to its name."""
    made = world.protocol_device().token
    root = Ed25519PrivateKey.from_private_bytes(
        bytes.fromhex((world.federation / "root" / "root.key").read_text().strip())
    )
    certificate = identities.issue_token(root, raw_public_key(made.private), expires, name)
    return replace(made, certificate=certificate, name=name)


def test_a_token_used_by_a_second_device(world: World, device: ProtocolDevice) -> None:
    second = ProtocolDevice(world, device.token)
    for role in world.ports:
        seen = world.log_types(role).count("token-conflict")
        error = refused(world, partial(enrol_at, world, role, second, second.enrolment()), "token-used")
        assert device.token.name in error.message
        assert world.log_types(role).count("token-conflict") == seen + 1
    refused(world, second.offer, "not-enrolled")
    device.report()


def test_two_devices_race_with_one_token_to_one_server_each(world: World) -> None:
    at_main = world.protocol_device()
    at_aggregator = ProtocolDevice(world, at_main.token)
    seen = world.log_types("main").count("token-conflict")
    enrol_at(world, "main", at_main, at_main.enrolment())
    enrol_at(world, "aggregator", at_aggregator, at_aggregator.enrolment())
    wait(lambda: world.log_types("main").count("token-conflict") == seen + 1, "main notices")
    refused(world, lambda: enrol_at(world, "aggregator", at_main, at_main.enrolment()), "token-used")
    refused(world, lambda: enrol_at(world, "main", at_aggregator, at_aggregator.enrolment()), "token-used")
    confirmed = world.snapshot()["members"][0]
    assert not {at_main.id, at_aggregator.id} & set(confirmed)
    assert not {at_main.id, at_aggregator.id} & world.aggregator.service.reception.confirmed
    signed = manifest_of(at_main)
    refused(world, lambda: at_main.upload(at_main.commit_to(signed)), "not-enrolled")
    refused(world, lambda: at_aggregator.upload(at_aggregator.commit_to(signed)), "not-confirmed")


def test_an_enrolment_sent_under_another_key(world: World) -> None:
    victim, thief = world.protocol_device(), Ed25519PrivateKey.generate()
    for server in (victim.main, victim.aggregator):
        refused(world, partial(server.enrol, victim.enrolment(), thief), "not-authentic")


@pytest.mark.parametrize("server", ["main", "aggregator"])
@pytest.mark.parametrize("spoil", [with_unknown_field, lambda data: data[:-1], lambda data: b"\xff" + data])
def test_a_malformed_enrolment(world: World, server: str, spoil: Callable[[bytes], bytes]) -> None:
    stranger = world.protocol_device()
    error = refused(world, lambda: enrol_at(world, server, stranger, spoil(stranger.enrolment())), "malformed-message")
    if spoil is with_unknown_field:
        assert "99" in error.message


HOSTILE = ["../../../etc/passwd", "<script>alert(1)</script>", "a\nb\x00c", "'; drop table devices; --", "\u202eevil"]


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_name_in_a_token_is_only_a_name(world: World, name: str) -> None:
    before = {path for path in world.folder.rglob("*") if "state.sqlite3" not in path.name}
    hostile = ProtocolDevice(world, token_of(world, name))
    hostile.enrol()
    world.wait_members([hostile.id])
    assert {path for path in world.folder.rglob("*") if "state.sqlite3" not in path.name} <= before | {
        world.federation / "tokens" / path.name for path in (world.federation / "tokens").iterdir()
    }
    listed = {entry["device"]: entry["name"] for entry in world.owner("main").get("/api/v1/devices")["devices"]}
    assert listed[hostile.id.hex()] == name
    with pytest.raises(SettingsError):
        issue_token_file(world.federation, name, 1 << 40)


def test_a_name_that_is_too_long_in_a_token(world: World) -> None:
    root_key, holder = world.federation / "root" / "root.key", Ed25519PrivateKey.generate()
    root = Ed25519PrivateKey.from_private_bytes(bytes.fromhex(root_key.read_text().strip()))
    stranger = world.protocol_device()
    fid = stranger.device.trust.fid
    payload = codec.encode({1: fid, 2: raw_public_key(holder), 3: 1 << 40, 4: "n" * 65})
    certificate = signing.sign(root, identities.TOKEN, payload).encode()
    enrolment = identities.enrol(fid, certificate, holder, stranger.private)
    refused(world, lambda: enrol_at(world, "main", stranger, enrolment), "malformed-message")


def test_a_change_of_anothers_key_and_a_revocation_not_by_the_root(world: World, device: ProtocolDevice) -> None:
    thief, new = member(world), Ed25519PrivateKey.generate()
    change = identities.rekey(thief.device.trust.fid, device.id, thief.private, new)
    for server in (thief.main, thief.aggregator):
        refused(world, partial(server.rekey, change), "not-authentic")
        send = partial(server.remote.send, "POST", f"{PREFIX}/revocations")
        refused(world, partial(send, content=identities.revoke(thief.private, device.id, 1)), "not-authentic")


@pytest.mark.parametrize("server", ["main", "aggregator"])
def test_nobody_else_makes_a_device_leave(world: World, device: ProtocolDevice, server: str) -> None:
    thief = member(world)
    fid, now = thief.device.trust.fid, int(world.clock())
    at = thief.main if server == "main" else thief.aggregator
    right = identities.leave(fid, device.id, device.private, now)
    for forged_message in (
        right,  # taken from the wire, and sent under another device's name
        identities.leave(fid, device.id, thief.private, now),
        identities.leave(bytes(32), thief.id, thief.private, now),
        identities.rekey(fid, thief.id, thief.private, Ed25519PrivateKey.generate()),
    ):
        refused(world, partial(at.leave, forged_message), "not-authentic")


def test_a_device_that_has_left_is_refused_whatever_it_asks_and_its_leaving_cannot_be_replayed(
    world: World, device: ProtocolDevice
) -> None:
    sent = device.commit()
    message = identities.leave(device.device.trust.fid, device.id, device.private, int(world.clock()))
    members = len(world.main.service.membership.public_keys())
    for server in (device.main, device.aggregator):
        server.leave(message)
    wait(lambda: device.id not in world.aggregator.service.reception.confirmed, "the aggregator has the new list")
    assert len(world.main.service.membership.public_keys()) == members - 1
    for role in world.ports:
        assert world.log_types(role)[-1] == "left"
    for attack in (
        lambda: device.upload(sent),
        lambda: device.main.beacon(sent.record.mh, b"receipt"),
        device.main.offer,
        lambda: device.main.leave(message),
        lambda: device.aggregator.leave(message),
        lambda: device.main.enrol(device.enrolment(), device.private),
        lambda: device.aggregator.enrol(device.enrolment(), device.private),
        lambda: device.main.rekey(
            identities.rekey(device.device.trust.fid, device.id, device.private, Ed25519PrivateKey.generate())
        ),
    ):
        refused(world, attack, "left")


# ---- reports


def test_the_same_report_again_gets_the_same_receipt(world: World, device: ProtocolDevice) -> None:
    sent = device.commit()
    receipt = device.upload(sent)
    before = world.snapshot()
    assert device.upload(sent) == receipt
    assert world.snapshot() == before


def test_a_second_different_report(world: World, device: ProtocolDevice) -> None:
    device.report()
    refused(world, lambda: device.upload(device.commit(seed=1)), "second-report")


@dataclass(frozen=True)
class Spoilt:
    """A way to spoil a report, and the slug of the error that names it."""

    name: str
    slug: str
    make: Callable[[ProtocolDevice, Sent], bytes]


def _longer(device: ProtocolDevice, sent: Sent, words: int) -> bytes:
    y = np.resize(sent.y, sent.y.size + words)
    envelope = forged(device, sent, length=y.size, y_hash=vector_digest(y.data.cast("B")))
    return body_prefix(envelope) + y.astype("<u4").tobytes()


def _altered(sent: Sent) -> bytes:
    y = sent.y.copy()
    y[0] ^= 1
    return body_prefix(sent.envelope) + y.astype("<u4").tobytes()


def _swapped_seed(device: ProtocolDevice, sent: Sent) -> bytes:
    envelope = sent.envelope
    swapped = Envelope(
        header=envelope.header, sealed_main=envelope.sealed_aggregator, sealed_aggregator=envelope.sealed_main
    )
    return body_prefix(swapped) + sent.y.tobytes()


def _unopenable(device: ProtocolDevice, sent: Sent) -> bytes:
    sealed = bytes(80)
    header = ReportHeader.decode(signing.Signed.decode(sent.envelope.header).payload)
    header = header.with_(aggregator_hash=sealed_hash(sealed))
    return body_prefix(sign_report(device.private, header, sent.envelope.sealed_main, sealed)) + sent.y.tobytes()


def _unknown_field(device: ProtocolDevice, sent: Sent) -> bytes:
    data = with_unknown_field(sent.envelope.encode())
    return body_prefix(sent.envelope)[:4] + len(data).to_bytes(4, "big") + data + sent.y.tobytes()


def _unknown_field_in_header(device: ProtocolDevice, sent: Sent) -> bytes:
    payload = with_unknown_field(signing.Signed.decode(sent.envelope.header).payload)
    header = signing.sign(device.private, "fanlight/report/v1", payload).encode()
    return body_prefix(sent.envelope.with_(header=header)) + sent.y.tobytes()


def _signed_by_another(device: ProtocolDevice, sent: Sent) -> bytes:
    header = ReportHeader.decode(signing.Signed.decode(sent.envelope.header).payload)
    stranger = Ed25519PrivateKey.generate()
    return body_prefix(sign_report(stranger, header, sent.envelope.sealed_main, sent.envelope.sealed_aggregator)) + b""


SPOILT = [
    Spoilt("nothing", "malformed-message", lambda device, sent: b""),
    Spoilt("noise", "malformed-message", lambda device, sent: bytes(range(256)) * 8),
    Spoilt("no-magic", "malformed-message", lambda device, sent: b"XXXX" + body_of(sent)[4:]),
    Spoilt("endless-envelope", "malformed-message", lambda device, sent: b"FLR1" + b"\xff" * 4 + body_of(sent)),
    Spoilt("cut-in-the-envelope", "malformed-message", lambda device, sent: body_of(sent)[:50]),
    Spoilt("unknown-field", "malformed-message", _unknown_field),
    Spoilt("unknown-field-in-header", "malformed-message", _unknown_field_in_header),
    Spoilt("signed-by-another", "not-authentic", _signed_by_another),
    Spoilt("one-word-more-signed", "wrong-length", lambda device, sent: _longer(device, sent, 1)),
    Spoilt("one-word-less-signed", "wrong-length", lambda device, sent: _longer(device, sent, -1)),
    Spoilt("one-byte-less", "wrong-length", lambda device, sent: body_of(sent)[:-1]),
    Spoilt("one-byte-more", "wrong-length", lambda device, sent: body_of(sent) + b"\0"),
    Spoilt("swapped-vector", "swapped-vector", lambda device, sent: _altered(sent)),
    Spoilt("swapped-seeds", "swapped-seed", _swapped_seed),
    Spoilt("unopenable-seed", "seed-unopenable", _unopenable),
]


@pytest.mark.parametrize("spoilt", SPOILT, ids=lambda spoilt: spoilt.name)
def test_a_spoilt_report(world: World, device: ProtocolDevice, spoilt: Spoilt) -> None:
    sent = device.commit()
    refused(world, lambda: put(device, spoilt.make(device, sent)), spoilt.slug)
    device.report(sent)  # nothing of the attack stands in the way of the true one


def test_a_report_under_another_devices_path(world: World, device: ProtocolDevice) -> None:
    thief = member(world)
    own, others = thief.commit(), device.commit()
    refused(world, lambda: put(thief, body_of(own), to=device.id), "not-authentic")
    refused(world, lambda: put(thief, body_of(others)), "not-authentic")
    impostor = ProtocolDevice(world, thief.token, thief.private)
    impostor.device = replace(thief.device, device=device.id)  # seeds and header name the other, the key is the thief's
    refused(world, partial(put, thief, body_of(impostor.commit_to(manifest_of(thief)))), "foreign-report")


def test_a_report_of_somebody_who_is_no_member(world: World, device: ProtocolDevice) -> None:
    stranger = world.protocol_device()
    sent = stranger.commit_to(manifest_of(device))
    refused(world, lambda: stranger.upload(sent), "not-enrolled")
    stranger.aggregator.enrol(stranger.enrolment(), stranger.private)
    refused(world, lambda: stranger.upload(sent), "not-confirmed")


@pytest.mark.parametrize("text", ["..%2F..%2Fetc%2Fpasswd", "A" * 64, "0" * 63, "0" * 65, "%00" * 64])
def test_a_hostile_path(world: World, device: ProtocolDevice, text: str) -> None:
    body = body_of(device.commit())
    path = f"{PREFIX}/rounds/{text}/reports/{device.id.hex()}"
    before = world.snapshot()
    with pytest.raises(RemoteError):
        device.aggregator.remote.send("PUT", path, content=body)
    assert world.snapshot() == before


def test_a_report_for_a_round_that_does_not_exist(world: World, device: ProtocolDevice) -> None:
    refused(world, lambda: put(device, body_of(device.commit()), mh=bytes(32)), "not-found")


def test_two_different_reports_race(world: World) -> None:
    for _ in range(3):
        device = member(world)
        choices = [device.commit(seed=seed) for seed in range(4)]
        with ThreadPoolExecutor(len(choices)) as pool:
            answers = list(pool.map(partial(_tried, world, device), choices))
        kept = [index for index, answer in enumerate(answers) if isinstance(answer, bytes)]
        assert len(kept) == 1
        lost = {answer.slug for answer in answers if isinstance(answer, RemoteError)}
        assert lost == {"second-report"}
        winner, receipt = choices[kept[0]], answers[kept[0]]
        assert isinstance(receipt, bytes)
        assert device.device.take_receipt(winner.record, receipt).receipt == receipt
        stored = b"".join(world.report_files().values())
        on_disk = [sent for sent in choices if sent.y.astype("<u4").tobytes() in stored]
        assert on_disk == [winner]
        assert len(stored) == world.snapshot()["reports"] * winner.y.nbytes


def _tried(world: World, device: ProtocolDevice, sent: Sent) -> bytes | RemoteError:
    twin = ProtocolDevice(world, device.token, device.private)  # connections of its own
    try:
        return twin.upload(sent)
    except RemoteError as error:
        return error


def test_late_and_replayed_reports(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with running(tmp_path) as world:
        first, second, third = world.enrolled(3)
        sent = [first.report(), second.report()]
        late = third.commit()
        opened = manifest_of(first).hash
        world.owner("aggregator").step("/aggregate_models")
        refused(world, lambda: third.upload(late), "round-agreed")
        world.aggregator.service.release_round()
        world.owner("main").step("/send_model_clients")
        wait(lambda: world.open_round() == 2, "round 2 is open")
        refused(world, lambda: third.upload(late), "round-over")
        refused(world, lambda: put(first, body_of(sent[0]), mh=manifest_of(first).hash), "foreign-report")
        refused(world, lambda: first.main.beacon(manifest_of(first).hash, sent[0].record.receipt), "foreign-receipt")
        assert manifest_of(first).hash != opened
        world.clock.offset += world.policy.window - 3600
        in_time = third.commit()
        # or the round may be given up first, by either server
        monkeypatch.setattr(world.main.conductor, "advance", lambda: False)
        monkeypatch.setattr(world.aggregator.service, "_end_in_time", lambda: None)
        world.clock.offset += 3601
        refused(world, lambda: third.upload(in_time), "report-late")


# ---- bodies


@pytest.mark.parametrize("declared", [True, False])
@pytest.mark.parametrize(
    ("role", "method", "path"),
    [
        ("aggregator", "PUT", "/rounds/{mh}/reports/{dev}"),
        ("main", "POST", "/rounds/{mh}/beacons"),
        ("main", "POST", "/readiness"),
        ("main", "POST", "/keys"),
        ("aggregator", "POST", "/keys"),
        ("main", "POST", "/revocations"),
        ("aggregator", "POST", "/revocations"),
    ],
)
def test_an_oversized_body(
    world: World, device: ProtocolDevice, declared: bool, role: str, method: str, path: str
) -> None:
    sent = device.commit()
    content = body_of(sent) + bytes(1 << 20) if method == "PUT" else bytes(1 << 17)
    path = PREFIX + path.format(mh=sent.record.mh.hex(), dev=device.id.hex())
    headers = {"Content-Digest": content_digest(hashlib.sha256(content).digest())}
    if declared:
        headers["Content-Length"] = str(len(content))
    remote: Remote = device.main.remote if role == "main" else device.aggregator.remote

    def pieces() -> Iterator[bytes]:
        for start in range(0, len(content), 4096):
            yield content[start : start + 4096]

    slug = "wrong-length" if method == "PUT" and not declared else "message-too-large"
    refused(world, lambda: remote.send(method, path, content=pieces(), headers=headers), slug)


def test_a_body_that_ends_in_the_middle(world: World, device: ProtocolDevice) -> None:
    sent, url = device.commit(), httpx.URL(world.ports["aggregator"].url)
    content, before = body_of(sent), world.snapshot()
    path = f"{PREFIX}/rounds/{sent.record.mh.hex()}/reports/{device.id.hex()}"
    head = f"PUT {path} HTTP/1.1\r\nHost: {url.netloc.decode()}\r\nContent-Length: {len(content)}\r\n\r\n"
    with socket.create_connection((url.host, url.port or 0)) as line:
        line.sendall(head.encode() + content[: len(content) // 2])
        line.shutdown(socket.SHUT_WR)
        assert not line.recv(1), "nobody is left to answer"
    assert world.snapshot() == before
    device.report(sent)


def test_a_body_that_is_not_the_signed_one(world: World, device: ProtocolDevice) -> None:
    content = device.device.announce(world.task.plan, device.offer().model, 1)
    headers = {"Content-Digest": content_digest(hashlib.sha256(b"another").digest())}
    send = device.main.remote.send
    refused(world, lambda: send("POST", f"{PREFIX}/readiness", content=content, headers=headers), "body-altered")


@pytest.mark.parametrize(("signed_for", "replayed_at"), [("aggregator", "main"), ("main", "aggregator")])
def test_a_request_signed_for_the_other_server(
    world: World, device: ProtocolDevice, signed_for: str, replayed_at: str
) -> None:
    """One server hands on what a device sent it, with all headers, Host among them: both share a host."""
    signer = SignedRequests(device.id.hex(), device.private, world.clock)
    content = identities.rekey(device.device.trust.fid, device.id, device.private, Ed25519PrivateKey.generate())
    request = httpx.Request("POST", f"{world.ports[signed_for].url}{PREFIX}/keys", content=content)
    signer.sign(request)
    before = world.snapshot()
    with httpx.Client(trust_env=False, timeout=60) as client:
        replay = httpx.Request(
            "POST", f"{world.ports[replayed_at].url}{PREFIX}/keys", headers=request.headers, content=content
        )
        assert replay.headers["Host"] == request.url.netloc.decode()
        answer = client.send(replay)
        assert (answer.status_code, answer.json()["error"]["slug"]) == (401, "other-server")
        assert world.snapshot() == before
        assert client.send(request).status_code == 200, "nothing else was wrong with it"


# ---- who may ask what


@pytest.mark.parametrize(("method", "path"), ROUTES_OF_THE_AGGREGATOR)
def test_the_aggregators_routes_are_not_for_devices(
    world: World, device: ProtocolDevice, method: str, path: str
) -> None:
    refused(world, lambda: device.main.remote.send(method, PREFIX + path), "not-enrolled")
    posing = Remote("Main", world.ports["main"].url, key_id="aggregator", private=device.private, clock=world.clock)
    try:
        refused(world, lambda: posing.send(method, PREFIX + path), "not-authentic")
    finally:
        posing.close()


def test_the_devices_routes_are_not_for_the_servers(world: World) -> None:
    identity = world.aggregator.service.identity
    mh = world.snapshot()["rounds"][-1].record.mh.hex()
    for role, method, path in (
        ("main", "GET", "/offer?after=0&wait=0"),
        ("main", "GET", f"/rounds/{mh}/outcome"),
        ("main", "POST", "/readiness"),
        ("main", "POST", f"/rounds/{mh}/beacons"),
        ("main", "POST", "/keys"),
        ("aggregator", "PUT", f"/rounds/{mh}/reports/{'0' * 32}"),
        ("aggregator", "POST", "/keys"),
    ):
        remote = Remote(role, world.ports[role].url, key_id="aggregator", private=identity.private, clock=world.clock)
        try:
            refused(world, partial(remote.send, method, PREFIX + path), "not-enrolled")
        finally:
            remote.close()


def test_the_owners_routes_are_for_nobody_else(world: World, device: ProtocolDevice) -> None:
    for remote in (device.main.remote, device.aggregator.remote):
        for method, path in (("GET", "/api/v1/status"), ("POST", "/aggregate_models")):
            refused(world, partial(remote.send, method, path), "login-required")


# ---- beacons, readiness, models


def test_a_forged_beacon(world: World, device: ProtocolDevice) -> None:
    other, mine = member(world), device.commit()
    mh = mine.record.mh
    theirs = other.upload(other.commit())
    receipt = Receipt(mh=mh, device=device.id, report_id=mine.envelope.report_id, time=1)
    by_me = signing.sign(device.private, RECEIPT, receipt.encode()).encode()
    by_main = signing.sign(world.main.service.identity.private, RECEIPT, receipt.encode()).encode()
    as_release = signing.sign(
        world.aggregator.service.identity.private, "fanlight/release/v1", receipt.encode()
    ).encode()
    for data, slug in (
        (by_me, "not-authentic"),
        (by_main, "not-authentic"),
        (as_release, "not-authentic"),
        (theirs, "foreign-receipt"),
        (theirs[:-1], "malformed-message"),
        (b"", "malformed-message"),
    ):
        refused(world, partial(device.main.beacon, mh, data), slug)
    refused(world, lambda: other.main.beacon(bytes(32), theirs), "not-found")


def test_anothers_readiness_and_a_model_that_there_is_not(world: World, device: ProtocolDevice, tmp_path: Path) -> None:
    other, offer = member(world), device.offer()
    plan = world.task.plan
    refused(world, lambda: device.main.announce(other.device.announce(plan, offer.model, 1)), "not-authentic")
    device.main.offer(have=bytes(32))
    with world.main.service.database.reading() as tx:
        rows = tx.execute(select(device_models).where(device_models.c.dev.in_((device.id, other.id)))).all()
        assert rows == [], "nothing is kept of a model that there is not"
    with BlobFolder(tmp_path / "models").unfinished("model", 0, 0) as begun:
        refused(world, lambda: device.main.model(bytes(32), begun), "not-found")
    refused(world, lambda: device.outcome(bytes(32)), "not-found")
    refused(world, lambda: device.outcome(manifest_of(device).hash), "round-not-over")


# ---- numbers that are none


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_a_number_that_is_none_never_becomes_a_report(world: World, device: ProtocolDevice, value: float) -> None:
    honest = contribution_of(world.task.plan, 1)
    assert honest.update is not None
    update = honest.update.copy()
    update[3] = value
    before = world.snapshot()
    poisoned = Contribution(honest.examples, update, honest.received, honest.local, honest.supporters)
    with pytest.raises(ModelError) as error:
        device.commit(poisoned)
    assert error.value.slug == "bad-model"
    assert world.snapshot() == before


def test_a_number_that_is_none_never_leaves_a_device(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with running(tmp_path) as world:
        device = world.add_device().start()
        world.enrolled(1)
        wait(device.sees_round, "a round is open for the device")
        device.owner.step("/modeltrain")
        device.owner.step("/sendstatus")
        update = Learner.update
        monkeypatch.setattr(Learner, "update", lambda *arguments: update(*arguments) * np.nan)
        before = world.snapshot()
        job = device.owner.ended("/sendmodel")
        assert (job["state"], job["error"]["slug"]) == ("failed", "bad-model")
        assert world.snapshot() == before
        assert device.owner.get("/api/v1/sent") == {"sent": []}
        monkeypatch.setattr(Learner, "update", update)
        assert device.owner.step("/sendmodel")["state"] == "confirmed"
        assert world.snapshot()["reports"] == 1


# ---- the end


def test_after_all_that_the_round_ends_well(world: World) -> None:
    """Last on purpose: whatever the attacks above left behind would show here."""
    held = world.snapshot()["reports"]
    assert held >= 2
    world.aggregate()
    assert world.round(1, state="complete", participants=held)
    world.check_traces()
    assert json.dumps(world.rounds())
    wait(lambda: world.open_round() == 2, "a round is open for tests that another worker has left to this one")


def test_a_garbage_vector_fails_the_round_and_only_those_who_sent_have_to_train_again(tmp_path: Path) -> None:
    with running(tmp_path) as world:
        honest, cheat, late = world.enrolled(3)
        offer = late.offer()
        for device in (honest, late):
            device.main.announce(device.device.announce(world.task.plan, offer.model, int(world.clock())))
        honest.report()
        sent = cheat.commit()
        garbage = np.random.default_rng(3).integers(0, 1 << 32, sent.y.size, np.uint32)
        spoilt = forged(cheat, sent, y_hash=vector_digest(garbage.data.cast("B")))
        cheat.report(replace(sent, record=sent.record.with_(envelope=spoilt.encode()), y=garbage))
        world.owner("main").ended("/aggregate_models")
        failed = world.round(1, state="failed")
        assert failed is not None
        assert failed["reason"].endswith(("-out-of-range", "-norm-too-large")), "which check, main's operator sees"

        def signed() -> bytes:
            with world.aggregator.service.database.reading() as tx:
                return round_table.numbered(tx, 1).record.outcome

        assert stored_outcome(wait(signed, "both have signed")).reason == SUM_NOT_USABLE, "and nobody else"
        ready = {line["device"]: line["ready"] for line in world.owner("main").get("/api/v1/devices")["devices"]}
        assert ready == {honest.id.hex(): False, cheat.id.hex(): False, late.id.hex(): True}


def test_a_receipt_that_comes_while_main_judges_is_evidence_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with running(tmp_path) as world:
        *honest, left_out = world.enrolled(3)
        for device in honest:
            device.report()
        mh, key = manifest_of(left_out).hash, world.aggregator.service.identity.private
        receipt = signing.sign(key, RECEIPT, Receipt(mh=mh, device=left_out.id, report_id=bytes(32), time=1).encode())
        judge, calls = MainServer.judge, []

        def interrupted(*given: Any) -> Any:
            calls.append(given)
            if len(calls) == 1:
                left_out.main.beacon(mh, receipt.encode())
            return judge(*given)

        monkeypatch.setattr(MainServer, "judge", interrupted)
        world.owner("aggregator").step("/aggregate_models")
        assert len(calls) >= 2
        assert "unlisted-receipt" in world.log_types("main")
