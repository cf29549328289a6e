"""The routes of both servers, typed: bytes of the protocol in and out, checked where they can be checked."""

from __future__ import annotations

import hashlib
import itertools
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import BinaryIO, Final
from urllib.parse import urlencode

import httpx
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from fanlight.errors import Conflict, MalformedMessage, NotAuthentic
from fanlight.learning.backbones import MAX_BACKBONE_BYTES
from fanlight.learning.model_file import MAX_MODEL_BYTES
from fanlight.protocol import signing
from fanlight.protocol.closing import OutcomeForDevice
from fanlight.protocol.digests import VectorDigest
from fanlight.protocol.exchange import ALONG_BYTES, OFFER, PREFIX, Change, Changing, Decline, Offer, Welcome
from fanlight.protocol.identities import Trust
from fanlight.protocol.report import WHOLE_BYTES, Envelope, body_prefix
from fanlight.services.device.download import download, other_file
from fanlight.services.http.remote import CBOR, UNSIGNED, Remote
from fanlight.services.http.wire import Wire
from fanlight.storage.unfinished import Unfinished

_PIECE: Final = 1 << 20
_AT_ONCE: Final = httpx.Timeout(5)
_QUESTIONS: Final = 4
"""Most times that one try asks where to continue: what a broken line still holds comes to an end within moments."""


@dataclass(frozen=True)
class Server:
    """What a device asks of either server."""

    remote: Remote

    def enrol(self, enrolment: bytes, private: Ed25519PrivateKey) -> Welcome:
        """Become a member; asking again changes nothing."""
        named_by_its_key = self.remote.signer(signing.raw_public_key(private).hex(), private)
        return Welcome.decode(
            self.remote.send("POST", f"{PREFIX}/enrolments", content=enrolment, auth=named_by_its_key)
        )

    def rekey(self, change: bytes) -> Welcome:
        """Take the new key of a signed change of key."""
        return Welcome.decode(self.remote.send("POST", f"{PREFIX}/keys", content=change))

    def leave(self, message: bytes) -> None:
        """Be a member no longer."""
        self.remote.send("POST", f"{PREFIX}/departures", content=message, timeout=_AT_ONCE)


@dataclass(frozen=True)
class MainClient(Server):
    """The main server."""

    trust: Trust

    def poll_offer(
        self, line: Wire, after: int, wait_s: float, have: bytes | None = None, awaited: bytes | None = None
    ) -> Offer:
        """What main has for this device, as soon as it is another version than ``after``.

        Args:
            line: asks.
            after: the version that is known.
            wait_s: longest wait, seconds.
            have: SHA-256 of the model that this device has fetched and verified, if it has one.
            awaited: the round whose end may come along, if one is awaited.

        Raises:
            NotAuthentic: not signed by this federation's main server.
            RemoteError: see ``Remote.send``.
        """
        params = {"after": str(after), "wait": f"{wait_s:g}"} | _about_model(have, along=True)
        if awaited is not None:
            params["ended"] = awaited.hex()
        return self._read_offer(self.remote.poll(line, f"{PREFIX}/offer", params, wait_s))

    def offer(self, have: bytes | None = None, *, along: bool = False) -> Offer:
        """What main has for this device now; arguments and errors as in ``poll_offer``.

        ``along``: may another model come along?
        """
        query = urlencode({"after": "0", "wait": "0"} | _about_model(have, along=along))
        return self._read_offer(self.remote.send("GET", f"{PREFIX}/offer?{query}", headers={}, timeout=_AT_ONCE))

    def model(self, sha256: bytes, begun: Unfinished) -> memoryview:
        """The model file with this hash; ``begun`` holds what has arrived, and errors are as in ``download``."""
        return download(self.remote, f"{PREFIX}/models/{sha256.hex()}", sha256, begun, MAX_MODEL_BYTES)

    def model_along(self, offer: Offer) -> bytes | None:
        """The file of an offer's model that came along with it; None: it is to be fetched.

        Raises:
            NotAuthentic: it is another one.
        """
        if offer.file is not None and hashlib.sha256(offer.file).digest() != offer.model:
            raise other_file(self.remote, offer.model)
        return offer.file

    def backbone(self, sha256: bytes, begun: Unfinished) -> memoryview:
        """The compiled backbone with this hash, likewise."""
        return download(self.remote, f"{PREFIX}/backbones/{sha256.hex()}", sha256, begun, MAX_BACKBONE_BYTES)

    def announce(self, readiness: bytes) -> None:
        """Step 2."""
        self.remote.send("POST", f"{PREFIX}/readiness", content=readiness)

    def beacon(self, mh: bytes, receipt: bytes) -> None:
        """Show main the aggregator's receipt."""
        self.remote.send("POST", f"{PREFIX}/rounds/{mh.hex()}/beacons", content=receipt)

    def decline(self, mh: bytes, slug: str) -> None:
        """This device will not report in the round, because of ``slug``: nobody needs to wait for it."""
        content = Decline.because(slug).encode()
        self.remote.send("POST", f"{PREFIX}/rounds/{mh.hex()}/decline", content=content)

    def tell_change(self, collection: int, change: Change | None) -> None:
        """What this device would change in the sums that the head is solved from."""
        content = Changing(collection=collection, change=change.value if change else None).encode()
        self.remote.send("POST", f"{PREFIX}/changing", content=content)

    def outcome(self, mh: bytes) -> OutcomeForDevice:
        """What became of a round; ``NotFound`` until it is over."""
        return OutcomeForDevice.decode(self.remote.send("GET", f"{PREFIX}/rounds/{mh.hex()}/outcome", headers={}))

    def outcome_of(self, mh: bytes, offer: Offer | None) -> OutcomeForDevice:
        """As ``outcome``, for what may have come along with an offer."""
        answer = offer.ended if offer else None
        return answer if answer is not None and answer.names(mh) else self.outcome(mh)

    def _read_offer(self, data: bytes) -> Offer:
        offer = Offer.decode(signing.verify_bytes(self.trust.main_key, OFFER, data))
        if offer.fid != self.trust.fid:
            raise NotAuthentic("The offer belongs to another federation.", slug="foreign-offer")
        return offer


class AggregatorClient(Server):
    """The secure aggregator."""

    def time(self) -> float:
        """What time it is there, in unix seconds, to the second.

        Raises:
            MalformedMessage: the answer does not say. RemoteError: see ``Remote.send``.
        """
        answer = self.remote.ask("GET", f"{PREFIX}/time", headers={}, auth=UNSIGNED, timeout=_AT_ONCE)
        try:
            return parsedate_to_datetime(answer.headers["date"]).timestamp()
        except (KeyError, ValueError, OverflowError) as error:
            raise MalformedMessage("The secure aggregator does not say what time it is.", slug="bad-date") from error

    def upload(
        self, mh: bytes, device: bytes, envelope: Envelope, y: BinaryIO, length: int, chunks: bytes = b""
    ) -> bytes:
        """Send a report from its stored file; the signed receipt.

        A large one goes on where an earlier try ended. The report's own signature is all that proves where it is from.

        Args:
            mh, device: the round and this device.
            envelope: the report without y.
            y: the stored file, opened; little-endian uint32.
            length: words in y.
            chunks: the SHA-256 of each MiB of y, one after the other; by default they are worked out.

        Raises:
            MalformedMessage: the stored file is damaged. Conflict: the round takes no reports any more, or what an
                earlier try sent is still arriving (``wrong-offset``). RemoteError: see ``Remote.send``.
        """
        size, path = 4 * length, f"{PREFIX}/rounds/{mh.hex()}/reports/{device.hex()}"
        if y.seek(0, os.SEEK_END) != size:
            raise MalformedMessage("The stored report is damaged: its length is wrong.", slug="damaged-report")
        front = body_prefix(envelope)
        if size <= WHOLE_BYTES:
            return self._send("PUT", path, front, y, 0, CBOR)
        front += chunks or _chunk_hashes(y)
        asked = 0
        while True:
            asked += 1
            answer = self.remote.ask("POST", path, content=front, auth=UNSIGNED)
            if answer.content:
                return answer.content
            start = _offset(answer.headers, size)
            more = {"Content-Type": "application/partial-upload", "Upload-Complete": "?1", "Upload-Offset": str(start)}
            try:
                return self._send("PATCH", path, front, y, start, more)
            except Conflict as error:  # what a broken line had still held has arrived since the question
                if error.slug != "wrong-offset" or asked == _QUESTIONS:
                    raise

    def _send(self, method: str, path: str, front: bytes, y: BinaryIO, start: int, headers: Mapping[str, str]) -> bytes:
        length = len(front) + y.seek(0, os.SEEK_END) - start
        fields = {**headers, "Content-Length": str(length)}
        content = itertools.chain([front], _pieces(y, start))
        return self.remote.send(method, path, content=content, headers=fields, auth=UNSIGNED)


def _chunk_hashes(y: BinaryIO) -> bytes:
    digest = VectorDigest()
    for piece in _pieces(y, 0):
        digest.update(piece)
    return b"".join(digest.chunks())


def _pieces(y: BinaryIO, start: int) -> Iterator[bytes]:
    y.seek(start)
    while piece := y.read(_PIECE):
        yield piece


def _offset(headers: Mapping[str, str], size: int) -> int:
    text = headers.get("Upload-Offset", "")
    if not (text.isascii() and text.isdigit() and len(text) < 20 and int(text) <= size):
        raise MalformedMessage("The secure aggregator does not say where to continue.", slug="bad-offset")
    return int(text)


def _about_model(have: bytes | None, *, along: bool) -> dict[str, str]:
    """Which one is here, and whether another one may come along."""
    return ({"most": str(ALONG_BYTES)} if along else {}) | ({"have": have.hex()} if have is not None else {})
