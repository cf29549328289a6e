"""The owner's login: one owner for each process, known by an ``api-token`` file, and browsers by a session cookie.

1. The ``api-token`` (owner-only file, made at first start) goes into ``Authorization: Bearer``, never into an address.
2. A browser logs in by a one-time link with a token of its own, printed in the terminal (as Jupyter does).  It is
   exchanged for a session cookie: HttpOnly, SameSite=Strict, named by role and port (browsers share cookies between
   ports).  The holder of the api-token can ask for a fresh link.
3. A POST by a session must carry the session's CSRF token, and come from our own pages (``Origin``).  Bearer requests
   need neither: no browser adds that header by itself.
4. Secrets are compared in constant time.  Sessions live in memory: a restart asks for a new login.
"""

from __future__ import annotations

import hmac
import secrets
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Any, Final

from fanlight.errors import NotFound
from fanlight.storage.secret_files import read_secret, write_secret

API_TOKEN_FILE: Final = Path("api-token")
SESSION_S = 7 * 86_400
LINK_S = 86_400
_MOST_SESSIONS = 100
_MOST_LINKS = 20


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
    """

    def __init__(self, role: str, port: int, token: str, clock: Callable[[], float] = time.time) -> None:
        self.cookie_name = f"fanlight-{role}-{port}"
        self._token = token
        self._clock = clock
        self._links: dict[str, float] = {}
        self._sessions: dict[str, Session] = {}
        self._lock = Lock()

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
            _make_room(self._sessions, _MOST_SESSIONS)
            self._sessions[cookie] = Session(secrets.token_urlsafe(32), self._clock() + SESSION_S)
        return cookie

    def session(self, cookie: str) -> Session | None:
        """The session of a cookie's value, if it holds."""
        with self._lock:
            session = self._sessions.get(_match(cookie, self._sessions) or "")
        return session if session and session.ends_at > self._clock() else None

    def log_out(self, cookie: str) -> None:
        """End a session."""
        with self._lock:
            self._sessions.pop(cookie, None)

    def is_api_token(self, given: str) -> bool:
        """Whether ``given`` is the api-token."""
        return same(given, self._token)

    def _use_link(self, given: str) -> bool:
        with self._lock:
            link = _match(given, self._links)
            return link is not None and self._links.pop(link) > self._clock()


def same(given: str, secret: str) -> bool:
    """Whether two strings are equal, in a time that says nothing about where they differ."""
    return hmac.compare_digest(given.encode("utf-8", "surrogateescape"), secret.encode())


def _match(given: str, known: Iterable[str]) -> str | None:
    return next((secret for secret in known if same(given, secret)), None)


def _make_room(known: dict[str, Any], most: int) -> None:
    while len(known) >= most:
        del known[next(iter(known))]  # the oldest: dictionaries keep the order of insertion
