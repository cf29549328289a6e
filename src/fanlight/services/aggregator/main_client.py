"""What the aggregator asks of the main server over HTTP; every request is signed with its identity key."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from itertools import chain
from typing import Final

import httpx
import numpy as np
from numpy.typing import NDArray

from fanlight.core import ring
from fanlight.errors import NotAuthentic
from fanlight.protocol import signing
from fanlight.protocol.closing import RECORD_LIMIT, read_releases
from fanlight.protocol.exchange import MEMBERS, ORDERS, PREFIX, Enrolments, Members, Orders, Words
from fanlight.protocol.manifest import SignedManifest
from fanlight.services.federation import ServerIdentity
from fanlight.services.http.remote import CBOR, Remote
from fanlight.services.http.signature_profile import content_digest
from fanlight.services.http.silence import patience
from fanlight.services.http.wire import Wire

KEY_ID: Final = "aggregator"
LONG_POLL_S: Final = 10.0
_REPLY_LIMIT: Final = 1 << 25
_PIECE: Final = 1 << 20


class MainClient:
    """The main server as the aggregator sees it.

    Args:
        identity: the aggregator's.
        clock: unix seconds.
    """

    def __init__(self, identity: ServerIdentity, clock: Callable[[], float]) -> None:
        self._trust = identity.trust
        self._remote = Remote(
            "The main server", identity.main_url, key_id=KEY_ID, private=identity.private, clock=clock
        )

    def close(self) -> None:
        """Close the connections."""
        self._remote.close()

    def open_line(self) -> Wire:
        """A line for ``orders``; the caller closes it."""
        return self._remote.open_line()

    def orders(self, line: Wire, after: int, wait_s: float) -> Orders:
        """Long-poll for orders.

        Raises:
            RemoteError: main cannot be reached, refused, or answered with something not signed by it.
        """
        params = {"after": str(after), "wait": f"{wait_s:g}"}
        return self._read_orders(self._remote.poll(line, f"{PREFIX}/orders", params, wait_s))

    def members(self) -> Members:
        """The devices that are members at both servers."""
        data = self._ask("GET", "/aggregator/members")
        members = Members.decode(
            signing.verify_bytes(self._trust.main_key, MEMBERS, data, limit=_REPLY_LIMIT), limit=_REPLY_LIMIT
        )
        self._check_federation(members.fid)
        return members

    def enrolments(self, enrolments: Enrolments) -> None:
        """Tell main who has enrolled here."""
        self._ask("POST", "/aggregator/enrolments", enrolments.encode())

    def manifest(self, countersigned: bytes) -> SignedManifest:
        """Hand in our signature on the manifest; returns it with both."""
        return SignedManifest.decode(self._ask("POST", "/aggregator/manifest", countersigned))

    def close_round(self, close: bytes) -> bytes:
        """Hand in the close; returns the signed verdict."""
        return self._ask("POST", "/aggregator/close", close)

    def release(self, signed: bytes, vector: NDArray[np.uint32]) -> bytes:
        """Hand in the one release with Y, which is empty if it is lost; returns main's signed outcome."""
        front, y = len(signed).to_bytes(4, "big") + signed, ring.to_bytes(vector)
        hashed = hashlib.sha256(front)
        hashed.update(y)
        headers = {
            **CBOR,
            "Content-Digest": content_digest(hashed.digest()),
            "Content-Length": str(len(front) + len(y)),
        }
        # In pieces: as a whole it would be copied twice on its way.
        content = chain([front], (bytes(y[start : start + _PIECE]) for start in range(0, len(y), _PIECE)))
        due = patience(len(front) + len(y), _masks_bytes(signed))
        return self._ask("POST", "/aggregator/release", content, headers, due)

    def outcome(self, outcome: bytes) -> Orders:
        """Hand in our word on how the round ended; what main orders next, errors as in ``orders``."""
        return self._read_orders(self._ask("POST", "/aggregator/outcome", outcome))

    def words(self, number: int) -> Words:
        """What main holds of the first opened round from ``number`` on.

        Raises:
            NotFound: there is none.
        """
        return Words.decode(self._ask("GET", f"/aggregator/rounds/{number}", limit=RECORD_LIMIT), limit=RECORD_LIMIT)

    def catch_up(self, words: Words) -> None:
        """Tell main what it had signed of a round, as it seems to have forgotten it."""
        self._ask("POST", "/aggregator/rounds", words.encode())

    def _ask(
        self,
        method: str,
        path: str,
        content: bytes | Iterator[bytes] = b"",
        headers: Mapping[str, str] = CBOR,
        timeout: httpx.Timeout | None = None,
        limit: int = _REPLY_LIMIT,
    ) -> bytes:
        return self._remote.send(method, PREFIX + path, content=content, headers=headers, limit=limit, timeout=timeout)

    def _read_orders(self, data: bytes) -> Orders:
        payload = signing.verify_bytes(self._trust.main_key, ORDERS, data, limit=_REPLY_LIMIT)
        orders = Orders.decode(payload, limit=_REPLY_LIMIT)
        self._check_federation(orders.fid)
        return orders

    def _check_federation(self, fid: bytes) -> None:
        if fid != self._trust.fid:
            raise NotAuthentic("Main answered for another federation.")


def _masks_bytes(signed: bytes) -> int:
    """How many bytes of masks main expands before it answers a release."""
    return sum(ring.WORD_BYTES * release.count * release.length for release in read_releases(signed))
