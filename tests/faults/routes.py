"""What each server does with a request: the handlers of its routes, without HTTP and its signatures.

They call the services in the order in which ``protocol_api``, ``reports_api`` and ``membership_api`` do. What those do
after the reply has left is returned beside the reply. Reports are read by the aggregator's own ``Uploads``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Final
from urllib.parse import parse_qs, urlsplit

from starlette.requests import Request as HttpRequest
from starlette.types import Message

from fanlight.errors import NotEnrolled, NotFound
from fanlight.protocol.closing import RECORD_LIMIT
from fanlight.protocol.exchange import PREFIX, Welcome, Words
from fanlight.services.aggregator.reports_api import UPLOAD_OFFSET
from fanlight.services.aggregator.service import AggregatorService
from fanlight.services.aggregator.uploads import Uploads
from fanlight.services.http.numbers import whole_number
from fanlight.services.main_server import announcements, signed_answers
from fanlight.services.main_server.offers import Offers
from fanlight.services.main_server.release_body import ReleaseBody
from fanlight.services.main_server.service import MainService
from fanlight.services.server.membership import Membership
from tests.faults.lines import OFFSET_BYTES
from tests.faults.request import Request, Route

Afterwards = Callable[[], object]
AGGREGATOR: Final = "aggregator"
_OF_MEMBERS: Final = ("/enrolments", "/departures", "/revocations")


def nothing() -> None:
    """There is nothing to do after the reply."""


class MainRoutes:
    """The main server's.

    Args:
        service: what they call.
        offers: what devices are offered.
    """

    def __init__(self, service: MainService, offers: Offers) -> None:
        self._service, self._offers = service, offers

    def __call__(self, request: Request) -> tuple[bytes, Afterwards]:
        """The reply, and what follows it."""
        url = urlsplit(request.path.removeprefix(PREFIX))
        if request.caller == AGGREGATOR:
            return self._to_aggregator(url.path, request.body), nothing
        if url.path in _OF_MEMBERS:
            return _of_members(self._service.membership, request, self._service.clock, self._service.members_changed)
        device = bytes.fromhex(request.caller)
        if self._service.membership.public_key(device) is None:
            raise NotEnrolled("This device is not a member.", slug="not-enrolled")
        self._service.presence.see(device)
        return self._to_device(device, url.path, parse_qs(url.query), request.body), nothing

    def _to_device(self, device: bytes, path: str, query: dict[str, list[str]], body: bytes) -> bytes:
        service = self._service
        match path.split("/")[1:]:
            case ["offer"]:
                have = bytes.fromhex(query["have"][0]) if "have" in query else None
                if have is not None and not service.presence.has_said(device, have):
                    announcements.take_acknowledgement(service, device, have)
                ended = None
                if "ended" in query:
                    with suppress(NotFound):
                        ended = service.outcomes.told(bytes.fromhex(query["ended"][0]), device)
                return self._offers.to(device, have, int(query.get("most", ["0"])[0]), ended)
            case ["models", sha256]:
                return service.model(bytes.fromhex(sha256))
            case ["rounds", mh, "beacons"]:
                service.rounds.beacon(bytes.fromhex(mh), device, body)
                service.news.tell()
                return b""
            case ["rounds", mh, "outcome"]:
                return service.outcomes.told(bytes.fromhex(mh), device).encode()
            case ["rounds", mh, "decline"]:
                announcements.take_refusal(service, device, bytes.fromhex(mh), body)
                return b""
        raise NotFound(path)

    def _to_aggregator(self, path: str, body: bytes) -> bytes:
        service, reply = self._service, b""
        match path:
            case "/aggregator/rounds":
                service.rounds.catch_up(Words.decode(body, limit=RECORD_LIMIT))
                service.news.tell(offers=True, orders=True)
            case path if path.startswith("/aggregator/rounds/"):
                reply = service.rounds.words(int(path.rpartition("/")[2])).encode()
            case "/orders":
                service.see_aggregator()
                reply = signed_answers.orders(service)
            case "/aggregator/members":
                reply = signed_answers.member_list(service)
            case "/aggregator/enrolments":
                service.take_enrolments(body)
            case "/aggregator/manifest":
                opened = service.rounds.countersign(body)
                service.tell_opened(opened)
                reply = opened.reply
            case "/aggregator/close":
                reply = service.rounds.judge(body)
            case "/aggregator/release":
                release = ReleaseBody(len(body))
                release.take(body)
                reply = service.rounds.release(*release.parts())
                service.rounds.destroy_spent_key()
            case "/aggregator/outcome":
                service.rounds.take_outcome(body)
                service.news.tell(soon=True)
                reply = signed_answers.orders(service)
            case _:
                raise NotFound(path)
        return reply


class AggregatorRoutes:
    """The aggregator's.

    Args:
        service: what they call.
    """

    def __init__(self, service: AggregatorService) -> None:
        self._service, self._uploads = service, Uploads(service)

    def __call__(self, request: Request) -> tuple[bytes, Afterwards]:
        """The reply, and what follows it."""
        service = self._service
        match request.path.removeprefix(PREFIX).split("/")[1:]:
            case [some] if f"/{some}" in _OF_MEMBERS:
                return _of_members(service.membership, request, service.clock, service.tell_main_of_members)
            case ["rounds", mh, "reports", device]:
                return self._report(bytes.fromhex(mh), bytes.fromhex(device), request), nothing
        raise NotFound(request.path)

    def _report(self, mh: bytes, device: bytes, request: Request) -> bytes:
        """Read by ``Uploads`` itself. Who is a member must be known: it would wait for that, and nobody waits here."""
        self._service.reception.check_member(device)
        arriving = _arriving(request)
        match request.method:
            case "POST":
                here, receipt = asyncio.run(self._uploads.ask(arriving, mh, device))
                return here.to_bytes(OFFSET_BYTES, "big") + receipt
            case "PATCH":
                start = whole_number(UPLOAD_OFFSET, request.offset)
                return asyncio.run(self._uploads.rest(arriving, mh, device, start))
        return asyncio.run(self._uploads.whole(arriving, mh, device))


def _arriving(request: Request) -> HttpRequest:
    """A request as it comes over HTTP, whole."""
    told = {"type": "http", "method": request.method, "path": request.path, "query_string": b""}
    headers = [(b"content-length", str(len(request.body)).encode())]

    async def receive() -> Message:
        return {"type": "http.request", "body": request.body, "more_body": False}

    return HttpRequest({**told, "headers": headers}, receive)


def _of_members(
    membership: Membership, request: Request, clock: Callable[[], float], on_change: Afterwards
) -> tuple[bytes, Afterwards]:
    """As ``membership_api``'s, the same at both servers."""
    match request.route:
        case Route.DEPARTURE:
            device = bytes.fromhex(request.caller)
            if membership.public_key(device) is None:
                raise NotEnrolled("This device is not a member.", slug="not-enrolled")
            membership.leave(device, request.body, int(clock()))
            return b"", on_change
        case Route.REVOCATION:
            membership.revoke(request.body)
            return b"", on_change
    member, is_new = membership.enrol(request.body, int(clock()))
    return Welcome(device=member.device, name=member.name).encode(), on_change if is_new else nothing
