"""Attacks on reports that arrive in parts: who did not sign one can neither add to it nor take away from it."""

from __future__ import annotations

import io
import itertools
import socket
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from http.client import HTTPResponse
from selectors import EVENT_READ, DefaultSelector

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from fanlight.errors import Refused, RemoteError
from fanlight.protocol import signing
from fanlight.protocol.digests import VECTOR_CHUNK_BYTES, VectorDigest
from fanlight.protocol.exchange import PREFIX
from fanlight.protocol.manifest import SignedManifest
from fanlight.protocol.report import ReportHeader, body_prefix, sign_report
from fanlight.services.aggregator import upload_body
from fanlight.services.aggregator.upload_body import RETRY_S
from fanlight.services.aggregator.uploads import AT_ONCE
from fanlight.services.http.remote import UNSIGNED
from tests.large_reports import MANY_CLASSES, give_features
from tests.services_world import ProtocolDevice, Sent, World, running, wait

CHUNK = VECTOR_CHUNK_BYTES


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """An open round whose reports have three chunks."""
    with pytest.MonkeyPatch.context() as patch:
        give_features(patch, 3000)
        with running(tmp_path_factory.mktemp("world"), classes=MANY_CLASSES) as made:
            made.enrolled(2)
            yield made


@pytest.fixture
def device(world: World) -> ProtocolDevice:
    made = world.protocol_device()
    made.enrol()
    world.wait_members([made.id])
    return made


class Parts:
    """A report in parts, and who sends them."""

    def __init__(self, device: ProtocolDevice, sent: Sent | None = None) -> None:
        self.device, self.sent = device, sent or device.commit()
        self.y = self.sent.y.astype("<u4").tobytes()
        digest = VectorDigest()
        digest.update(self.y)
        self.prefix, self.hashes = body_prefix(self.sent.envelope), b"".join(digest.chunks())
        self.path = f"{PREFIX}/rounds/{self.sent.record.mh.hex()}/reports/{device.id.hex()}"
        self.remote = device.aggregator.remote

    @property
    def front(self) -> bytes:
        return self.prefix + self.hashes

    def ask(self, front: bytes = b"") -> int:
        """How much is here."""
        answer = self.remote.ask("POST", self.path, content=front or self.front, auth=UNSIGNED)
        assert answer.headers["Upload-Complete"] == "?0"
        return int(answer.headers["Upload-Offset"])

    def rest(self, start: int | str, body: bytes | None = None) -> bytes:
        """Send the rest, or ``body`` in its place."""
        content = self.front + self.y[int(start) :] if body is None else body
        headers = {"Upload-Offset": str(start)}
        return self.remote.send("PATCH", self.path, content=content, headers=headers, auth=UNSIGNED)

    def head(self, method: str, length: int, start: int = 0) -> bytes:
        lines = (f"{method} {self.path} HTTP/1.1", "Host: localhost", f"Upload-Offset: {start}")
        return "\r\n".join((*lines, f"Content-Length: {length}", "", "")).encode()

    def connect(self) -> socket.socket:
        url = httpx.URL(self.remote.url)
        return socket.create_connection((url.host, url.port or 0), timeout=60)

    def begin(self, chunks: int) -> None:
        """Send so many chunks and half of the next one, and be cut."""
        before = self.ask()
        with self.connect() as line:
            body = self.front + self.y[before:]
            line.sendall(self.head("PATCH", len(body), before))
            line.sendall(body[: len(self.front) + chunks * CHUNK + CHUNK // 2])
            line.shutdown(socket.SHUT_WR)
            assert not line.recv(1), "nobody is left to answer"
        assert self.ask() == before + chunks * CHUNK


def answer_on(line: socket.socket) -> tuple[HTTPResponse, bytes]:
    """A whole answer: the server writes its head and its body one after the other."""
    answer = HTTPResponse(line)
    answer.begin()
    return answer, answer.read()


def refused(parts: Parts, attack: Callable[[], object], slug: str) -> None:
    """The attack fails with this slug, and leaves what has arrived as it was."""
    before, files = parts.ask(), parts.device.world.report_files()
    with pytest.raises(RemoteError) as error:
        attack()
    assert error.value.slug == slug, error.value.message
    assert parts.ask() == before
    assert parts.device.world.report_files() == files


def refusals(parts: Parts) -> dict[str, int]:
    """What the owner is told of this device's report: reason and how often."""
    rounds = parts.device.world.owner("aggregator").get("/api/v1/rounds/held")["rounds"]
    return {line["reason"]: line["times"] for line in rounds[0]["refused"] if line["device"] == parts.device.id.hex()}


def test_a_report_in_parts_arrives_and_its_replays_change_nothing(world: World, device: ProtocolDevice) -> None:
    parts = Parts(device)
    assert parts.ask() == 0
    parts.begin(1)
    receipt = parts.rest(CHUNK)
    assert device.device.take_receipt(parts.sent.record, receipt).receipt == receipt
    assert world.report_files()[parts.sent.envelope.report_id.hex()] == parts.y
    before = world.snapshot()
    assert parts.rest(CHUNK) == parts.rest(0) == parts.rest(12345) == receipt
    assert parts.remote.ask("POST", parts.path, content=parts.front, auth=UNSIGNED).content == receipt
    assert device.upload(parts.sent) == receipt
    assert world.snapshot() == before


def test_a_large_report_in_one_request(device: ProtocolDevice) -> None:
    parts = Parts(device)
    send = parts.remote.send
    refused(parts, lambda: send("PUT", parts.path, content=parts.prefix + parts.y, auth=UNSIGNED), "message-too-large")


def test_whoever_does_not_hold_the_key_adds_nothing(world: World, device: ProtocolDevice) -> None:
    parts = Parts(device)
    parts.begin(1)
    header = ReportHeader.decode(signing.Signed.decode(parts.sent.envelope.header).payload)
    seeds = parts.sent.envelope.sealed_main, parts.sent.envelope.sealed_aggregator
    forged = body_prefix(sign_report(Ed25519PrivateKey.generate(), header, *seeds)) + parts.hashes
    refused(parts, lambda: parts.rest(CHUNK, forged + parts.y[CHUNK:]), "not-authentic")
    refused(parts, lambda: parts.ask(forged), "not-authentic")
    stranger = world.protocol_device()
    signed = SignedManifest.decode(device.offer().manifest or b"")
    theirs = Parts(stranger, stranger.commit_to(signed))
    with pytest.raises(RemoteError) as error:
        theirs.ask()
    assert error.value.slug == "not-enrolled"
    assert refusals(parts) == {}, "nobody speaks ill of a device in its name"
    device.device.take_receipt(parts.sent.record, parts.rest(CHUNK))


def test_whoever_listens_and_sends_other_bytes_spoils_nothing(device: ProtocolDevice) -> None:
    """Envelope and hashes as they went over the wire, and then a chunk that is not the device's."""
    parts = Parts(device)
    parts.begin(1)
    garbage = bytes(len(parts.y))
    refused(parts, lambda: parts.rest(CHUNK, parts.front + garbage[CHUNK:]), "swapped-vector")
    refused(parts, lambda: parts.rest(CHUNK, parts.front + parts.y[CHUNK : 2 * CHUNK - 1] + b"?"), "wrong-length")
    right_then_wrong = parts.y[CHUNK : 2 * CHUNK] + garbage[2 * CHUNK :]
    with pytest.raises(RemoteError) as error:
        parts.rest(CHUNK, parts.front + right_then_wrong)
    assert error.value.slug == "swapped-vector"
    assert parts.ask() == 2 * CHUNK, "what was right is kept"
    other_hashes = parts.prefix + bytes(len(parts.hashes))
    refused(parts, lambda: parts.ask(other_hashes), "swapped-vector")
    refused(parts, lambda: parts.rest(2 * CHUNK, other_hashes + parts.y[2 * CHUNK :]), "swapped-vector")
    device.device.take_receipt(parts.sent.record, parts.rest(2 * CHUNK))


@pytest.mark.parametrize("start", [0, 1, 2 * CHUNK, 1 << 62])
def test_an_offset_that_does_not_continue_what_is_here(device: ProtocolDevice, start: int) -> None:
    parts = Parts(device)
    parts.begin(1)
    body = parts.front + parts.y[start:]
    refused(parts, lambda: parts.rest(start, body), "wrong-offset" if start < len(parts.y) else "wrong-length")


@pytest.mark.parametrize("start", ["-1", "x", "1.5", str(1 << 63), ""])
def test_an_offset_that_is_none(device: ProtocolDevice, start: str) -> None:
    parts = Parts(device)
    refused(parts, lambda: parts.rest(start, parts.front + parts.y), "malformed-message")


@pytest.mark.parametrize("more", [-1, 1, 1 << 40])
def test_a_declared_length_of_other_than_the_signed_bytes_is_refused_at_once(device: ProtocolDevice, more: int) -> None:
    parts = Parts(device)
    with parts.connect() as line:
        line.sendall(parts.head("PATCH", len(parts.front) + len(parts.y) + more) + parts.front)
        assert b"wrong-length" in answer_on(line)[1], "said before anything else is read"


@pytest.mark.parametrize("change", [lambda y: y[:-1], lambda y: y + b"?"], ids=["less", "more"])
def test_other_than_the_signed_bytes_of_undeclared_length(
    device: ProtocolDevice, change: Callable[[bytes], bytes]
) -> None:
    parts = Parts(device)
    pieces, headers = iter([parts.front, change(parts.y)]), {"Upload-Offset": "0"}
    with pytest.raises(RemoteError) as error:
        parts.remote.send("PATCH", parts.path, content=pieces, headers=headers, auth=UNSIGNED)
    assert error.value.slug == "wrong-length"
    assert parts.ask() % CHUNK == 0
    device.report(parts.sent)


def test_strangers_are_not_listened_to(world: World, device: ProtocolDevice) -> None:
    parts = Parts(device)
    parts.path = parts.path.replace(device.id.hex(), "0" * 32)
    with parts.connect() as line:
        line.sendall(parts.head("PUT", 5000))
        assert b"not-enrolled" in answer_on(line)[1], "said before the body"


def test_one_device_cannot_take_all_the_room(world: World, device: ProtocolDevice) -> None:
    parts = Parts(device)
    with ExitStack() as lines:

        def one_more() -> bool:
            line = lines.enter_context(closing(parts.connect()))
            line.sendall(parts.head("PATCH", len(parts.front) + len(parts.y)) + parts.front)
            return _is_busy(parts)

        wait(one_more, f"{AT_ONCE} are under way")
    assert wait(lambda: not _is_busy(parts), "all of them have ended")
    before = len(world.report_files())
    for seed in (1, 2, 3):
        Parts(device, device.commit(seed=seed)).begin(1)
    assert len(world.report_files()) == before, "of one device there is one unfinished report"


def test_who_sends_a_byte_now_and_then_does_not_keep_its_room(device: ProtocolDevice) -> None:
    parts, slow, answers = Parts(device), list[socket.socket](), list[tuple[HTTPResponse, bytes]]()
    parts.begin(1)
    rest = len(parts.front) + len(parts.y) - CHUNK
    with pytest.MonkeyPatch.context() as patch, ExitStack() as lines:
        patch.setattr(upload_body, "GRACE_S", 2.0)

        def one_more() -> bool:
            slow.append(lines.enter_context(closing(parts.connect())))
            slow[-1].sendall(parts.head("PATCH", rest, CHUNK) + parts.front)
            return _is_busy(parts)

        wait(one_more, f"{AT_ONCE} are under way")
        watched = lines.enter_context(DefaultSelector())  # select() is for descriptors below 1,024
        for line in slow:
            watched.register(line, EVENT_READ)
        for at in itertools.count(CHUNK):
            for key, _ in watched.select(0.05):
                line = next(each for each in slow if each is key.fileobj)
                answers.append(answer_on(line))
                watched.unregister(line)
                slow.remove(line)
            if not slow:
                break
            for line in slow:
                line.sendall(parts.y[at : at + 1])
        late = [(answer.headers["Retry-After"], said) for answer, said in answers if answer.status == 408]
        assert len(late) >= AT_ONCE
        assert all(after == f"{RETRY_S:.0f}" and b"too-slow" in said for after, said in late)
        assert not _is_busy(parts), "while they are still on the line"
    assert parts.ask() == CHUNK, "it goes on from there"
    device.device.take_receipt(parts.sent.record, parts.rest(CHUNK))


def _is_busy(parts: Parts) -> bool:
    try:
        parts.ask()
    except Refused as error:
        return (error.slug, error.retry_after_s) == ("too-many-requests", RETRY_S)
    return False


def test_the_same_report_several_times_at_once(world: World, device: ProtocolDevice) -> None:
    sent = device.commit()

    def send(_: int) -> bytes | RemoteError:
        twin = ProtocolDevice(world, device.token, device.private)
        try:
            return twin.aggregator.upload(
                sent.record.mh, device.id, sent.envelope, io.BytesIO(sent.y.astype("<u4").tobytes()), sent.record.length
            )
        except RemoteError as error:
            return error

    with ThreadPoolExecutor(AT_ONCE) as pool:
        answers = list(pool.map(send, range(AT_ONCE)))
    receipts = {answer for answer in answers if isinstance(answer, bytes)}
    assert len(receipts) == 1
    assert {answer.slug for answer in answers if isinstance(answer, RemoteError)} <= {
        "wrong-offset",
        "too-many-requests",
    }
    assert device.upload(sent) in receipts
    assert world.report_files()[sent.envelope.report_id.hex()] == sent.y.astype("<u4").tobytes()


def test_after_all_that_the_round_ends_well(world: World) -> None:
    """Last on purpose: what was never finished goes with its round."""
    for _ in range(2):
        device = world.protocol_device()
        device.enrol()
        world.wait_members([device.id])
        device.report()
    world.aggregate()
    assert world.round(1, state="complete")
    world.check_traces()
    wait(lambda: world.open_round() == 2, "a round is open for tests that another worker has left to this one")
