"""The lines between roles: ``Remote`` without a network, on which requests and replies get lost, late, or come twice.

A request is data, so that it can be kept back, sent again, or replayed by a stranger much later. Who asks sees what it
would see on a real line: the reply, the error that the server's answer stands for, or ``Unreachable``.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from types import SimpleNamespace
from typing import Any, Final, cast
from urllib.parse import urlencode

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from fanlight.errors import FanlightError, StorageError, Unreachable
from fanlight.services.aggregator.reports_api import UPLOAD_OFFSET
from fanlight.services.http.problems import as_problem, problem_body
from fanlight.services.http.remote import Answer, Download, remote_error
from fanlight.services.http.wire import Wire
from tests.faults.request import Refusal, Request, Route

OFFSET_BYTES: Final = 8
"""How many bytes are there, in a reply to whom asks what is there of a report; its receipt follows, if it has one."""


class Mishap(StrEnum):
    """What happens to a request on a line."""

    DROP_REQUEST = "drop the request"
    DROP_REPLY = "drop the reply"
    DUPLICATE = "deliver it twice"
    KEEP_BACK = "keep it back"


class ServerFault(AssertionError):
    """A server failed where no fault of a line, and no death, can be the reason."""


Deliver = Callable[[Request], bytes]
"""Hands a request to a living server; raises what the server does, or ``Unreachable``."""


@dataclass
class Net:
    """All lines of a world.

    Attributes:
        deliver: takes a request to its server.
        heard: told of every request that a server has answered, with the reply.
        refused: told of every request that a server has refused, and how.
        sent: all requests so far, for replays.
        kept_back: requests on their way.
    """

    deliver: Deliver
    heard: Callable[[Request, bytes], None]
    refused: Callable[[Request, Refusal], None]
    sent: list[Request] = field(default_factory=list)
    kept_back: list[Request] = field(default_factory=list)
    _waiting: dict[tuple[str, str], list[tuple[Mishap, Route | None]]] = field(default_factory=dict)

    def upset(self, caller: str, server: str, mishap: Mishap, route: Route | None) -> None:
        """Let ``mishap`` happen to the next request on a line, or the next for ``route``, that has none before it."""
        self._waiting.setdefault((caller, server), []).append((mishap, route))

    def calm(self) -> None:
        """Nothing more goes wrong; what is still kept back is lost."""
        self._waiting.clear()
        self.kept_back.clear()

    def carry(self, request: Request) -> bytes:
        """A request and its reply.

        Raises:
            RemoteError: as ``Remote.send``.
        """
        mishap = self._mishap(request)
        self.sent.append(request)
        if mishap is Mishap.KEEP_BACK:
            self.kept_back.append(request)
        if mishap in (Mishap.DROP_REQUEST, Mishap.KEEP_BACK):
            raise _lost(request)
        reply = self.answer(request)
        if mishap is Mishap.DUPLICATE:
            reply = self.answer(request)
        if mishap is Mishap.DROP_REPLY:
            raise _lost(request)
        return reply

    def _mishap(self, request: Request) -> Mishap | None:
        waiting = self._waiting.get((request.caller, request.server), [])
        for place, (mishap, route) in enumerate(waiting):
            if route in (None, request.route):
                del waiting[place]
                return mishap
        return None

    def answer(self, request: Request) -> bytes:
        """What the server says to a request that has arrived; errors as in ``carry``."""
        try:
            reply = self.deliver(request)
        except Unreachable:
            raise
        except FanlightError as error:
            if isinstance(error, StorageError):
                raise ServerFault(f"{request}: {error.slug}: {error}") from error
            problem = as_problem(error)
            self.refused(request, Refusal(problem.status, problem.slug, problem.retry_after_s))
            body = json.dumps(problem_body(problem)).encode()
            raise remote_error(request.server, problem.status, body, problem.retry_after_s) from error
        self.heard(request, reply)
        return reply


class Line:
    """A server as one role reaches it: stands in for ``Remote``.

    Args:
        net: all lines.
        caller, server: its ends.
        private: the caller's key, which nothing here is signed with: reports and orders carry signatures of their own.
    """

    def __init__(self, net: Net, caller: str, server: str, private: Ed25519PrivateKey) -> None:
        self.title, self.private = server, private
        self.auth = SimpleNamespace(clock_offset_s=0.0)
        self._net, self._caller = net, caller

    def close(self) -> None:
        """As ``Remote``'s."""

    def signer(self, key_id: str, private: Ed25519PrivateKey) -> object:
        """As ``Remote``'s."""
        return self.auth

    def send(self, method: str, path: str, **options: Any) -> bytes:
        """As ``Remote``'s."""
        content: bytes | Iterator[bytes] = options.get("content", b"")
        body = content if isinstance(content, bytes) else b"".join(content)
        offset = options.get("headers", {}).get(UPLOAD_OFFSET, "")
        return self._net.carry(Request(self._caller, self.title, method, path, body, offset))

    def open_line(self) -> Wire:
        """As ``Remote``'s; there is nothing to break off."""
        return cast("Wire", self)

    def poll(self, _line: Wire, path: str, params: Mapping[str, str], _wait_s: float) -> bytes:
        """As ``Remote``'s."""
        return self.send("GET", f"{path}?{urlencode(params)}")

    def ask(self, method: str, path: str, **options: Any) -> Answer:
        """As ``Remote``'s; what is there of a report comes before its receipt."""
        reply = self.send(method, path, **options)
        here = int.from_bytes(reply[:OFFSET_BYTES], "big")
        return Answer({UPLOAD_OFFSET: str(here)}, reply[OFFSET_BYTES:])

    @contextmanager
    def download(self, path: str, headers: Mapping[str, str], limit: int) -> Generator[Download, None, None]:
        """As ``Remote``'s; always the whole file."""
        yield Download(200, {}, iter([self.send("GET", path)]))


def _lost(request: Request) -> Unreachable:
    return Unreachable(f"{request.server} does not answer.")
