"""The owner's login: one owner for each process, known by an ``api-token`` file, and browsers by a session cookie.

1. The ``api-token`` (owner-only file, made at first start) goes into ``Authorization: Bearer``, never into an address.
2. A browser logs in by a one-time link with a token of its own, printed in the terminal (as Jupyter does).  It is
   exchanged for a session cookie: HttpOnly, SameSite=Strict, named by role and port (browsers share cookies between
   ports).  The holder of the api-token can ask for a fresh link.
3. A POST by a session must carry the session's CSRF token, and come from our own pages (``Origin``).  Bearer requests
   need neither: no browser adds that header by itself.
4. Secrets are compared in constant time, or looked up by their digest.
5. Sessions outlive a restart in the owner-only file ``sessions``: digests of cookies, keyed with the api-token, and
   when each one ends.  The file logs nobody in, and a new api-token ends all sessions.  Whoever logs out is struck off
   it: an old cookie is worth nothing, whoever may have kept it.
"""

from __future__ import annotations

import hmac
import secrets
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Any, Final, Self

import structlog
from pydantic import TypeAdapter, ValidationError

from fanlight.errors import NotFound, StorageError
from fanlight.storage.secret_files import destroy, read_secret, write_secret

log = structlog.get_logger(__name__)

API_TOKEN_FILE: Final = Path("api-token")
SESSIONS_FILE: Final = "sessions"
SESSION_S = 7 * 86_400
LINK_S = 86_400
_MOST_SESSIONS = 100
_MOST_LINKS = 20
_KEPT: Final = TypeAdapter(dict[str, float])


@dataclass(frozen=True)
class Session:
    """A logged-in browser: its ``csrf`` token, and when (unix seconds) it has to log in again."""

    csrf: str
    ends_at: float


def api_token(folder: Path) -> str:
    """The api-token in ``folder``; made and raising as ``kept_token``."""
    return kept_token(folder / API_TOKEN_FILE)


def kept_token(path: Path) -> str:
    """The token in ``path``, made there at first start (256 bits, owner-only file).

    Raises:
        StorageError: others can read the file, or it cannot be read or made.
    """
    try:
        return read_secret(path).decode("ascii", "replace").strip()
    except NotFound:
        write_secret(path, f"{secrets.token_urlsafe(32)}\n".encode())
        return read_secret(path).decode().strip()


class OwnerSessions:
    """Who is logged in at one process.

    Args:
        role: ``main``, ``aggregator`` or ``device``.
        port: the process's own port.
        token: the api-token.
        clock: unix seconds.
        file: where sessions outlive a restart; None: they do not.

    Raises:
        StorageError: others can read the file, or it cannot be read.
    """

    def __init__(
        self, role: str, port: int, token: str, clock: Callable[[], float] = time.time, file: Path | None = None
    ) -> None:
        self.cookie_name = f"fanlight-{role}-{port}"
        self._token = token
        self._clock = clock
        self._file = file
        self._links: dict[str, float] = {}
        self._ends = _read(file)  # unix seconds by the cookie's digest
        self._lock = Lock()

    @classmethod
    def of(cls, role: str, port: int, folder: Path, clock: Callable[[], float]) -> Self:
        """Those of the process that keeps its state in ``folder``; raises as ``kept_token`` and the class."""
        return cls(role, port, api_token(folder), clock, folder / SESSIONS_FILE)

    def new_link(self) -> str:
        """A one-time path ``/login?token=…``, good for a day."""
        link = secrets.token_urlsafe(32)
        with self._lock:
            _make_room(self._links, _MOST_LINKS)
            self._links[link] = self._clock() + LINK_S
        return f"/login?token={link}"

    def log_in(self, given: str) -> str | None:
        """Exchange a link's token (which is then used up) or the api-token for a session cookie's value."""
        if not (self._use_link(given) or self.is_api_token(given)):
            return None
        cookie = secrets.token_urlsafe(32)
        with self._lock:
            _make_room(self._ends, _MOST_SESSIONS)
            self._ends[self._digest("cookie", cookie)] = self._clock() + SESSION_S
            try:
                self._keep()
            except StorageError as error:  # no reason to keep the owner out
                log.warning("this login will end with the next restart", reason=error.message)
        return cookie

    def session(self, cookie: str) -> Session | None:
        """The session of a cookie's value, if it holds."""
        ends_at = self._ends.get(self._digest("cookie", cookie), 0.0)
        return Session(self._digest("csrf", cookie), ends_at) if ends_at > self._clock() else None

    def log_out(self, cookie: str) -> None:
        """End a session, for good.

        Raises:
            StorageError: the disk refuses to forget it; it has ended until the next restart.
        """
        with self._lock:
            if self._ends.pop(self._digest("cookie", cookie), None) is None:
                return
            try:
                self._keep()
            except StorageError:  # a full disk: rather all end with the next restart than this one come back
                if self._file is not None:
                    destroy(self._file)

    def is_api_token(self, given: str) -> bool:
        """Whether ``given`` is the api-token."""
        return same(given, self._token)

    def _use_link(self, given: str) -> bool:
        with self._lock:
            link = _match(given, self._links)
            return link is not None and self._links.pop(link) > self._clock()

    def _digest(self, purpose: str, cookie: str) -> str:
        """Tells nothing about the cookie, and nothing about the digest for another purpose."""
        told = f"{purpose}:{cookie}".encode("utf-8", "surrogateescape")
        return hmac.digest(self._token.encode(), told, "sha256").hex()

    def _keep(self) -> None:
        if self._file is not None:
            write_secret(self._file, _KEPT.dump_json(self._ends), replace=True)


def same(given: str, secret: str) -> bool:
    """Whether two strings are equal, in a time that says nothing about where they differ."""
    return hmac.compare_digest(given.encode("utf-8", "surrogateescape"), secret.encode())


def _read(file: Path | None) -> dict[str, float]:
    try:
        return {} if file is None else _KEPT.validate_json(read_secret(file))
    except NotFound:
        return {}
    except ValidationError:
        log.warning("all sessions have ended: the file with them is damaged", file=SESSIONS_FILE)
        return {}


def _match(given: str, known: Iterable[str]) -> str | None:
    return next((secret for secret in known if same(given, secret)), None)


def _make_room(known: dict[str, Any], most: int) -> None:
    while len(known) >= most:
        del known[next(iter(known))]  # the oldest: dictionaries keep the order of insertion
