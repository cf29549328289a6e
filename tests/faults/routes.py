"""What each server does with a request: the handlers of its routes, without HTTP and its signatures.

They call the services in the order in which ``protocol_api``, ``reports_api`` and ``membership_api`` do. What those do
after the reply has left is returned beside the reply.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final
from urllib.parse import parse_qs, urlsplit

from fanlight.errors import FanlightError, NotEnrolled, NotFound
from fanlight.protocol.digests import vector_digest
from fanlight.protocol.exchange import PREFIX, Welcome
from fanlight.protocol.report import ENVELOPE_LIMIT, PREFIX_BYTES, Envelope, envelope_length
from fanlight.services.aggregator.service import AggregatorService
from fanlight.services.aggregator.uploads import Uploads
from fanlight.services.main_server import announcements, signed_answers
from fanlight.services.main_server.offers import Offers
from fanlight.services.main_server.release_body import ReleaseBody
from fanlight.services.main_server.service import MainService
from fanlight.services.server.membership import Membership
from tests.faults.request import Request

Afterwards = Callable[[], object]
AGGREGATOR: Final = "aggregator"


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
        if url.path == "/enrolments":
            return _enrol(self._service.membership, request.body, self._service.clock, self._service.members_changed)
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
                return self._offers.to(device)
            case ["models", sha256]:
                return service.model(bytes.fromhex(sha256))
            case ["rounds", mh, "beacons"]:
                service.rounds.beacon(bytes.fromhex(mh), device, body)
                service.news.tell()
                return b""
            case ["rounds", mh, "outcome"]:
                return service.rounds.outcome_for(bytes.fromhex(mh), device).encode()
            case ["rounds", mh, "decline"]:
                announcements.take_refusal(service, device, bytes.fromhex(mh), body)
                return b""
        raise NotFound(path)

    def _to_aggregator(self, path: str, body: bytes) -> bytes:
        service, reply = self._service, b""
        match path:
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
                release = ReleaseBody()
                release.take(body)
                reply = service.rounds.release(*release.parts())
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
            case ["enrolments"]:
                return _enrol(service.membership, request.body, service.clock, service.tell_main_of_members)
            case ["rounds", mh, "reports", device]:
                return self._report(bytes.fromhex(mh), bytes.fromhex(device), request.body), nothing
        raise NotFound(request.path)

    def _report(self, mh: bytes, device: bytes, body: bytes) -> bytes:
        """As ``Uploads.whole``, which waits for the body of its request meanwhile."""
        service = self._service
        service.reception.check_member(device)
        start = PREFIX_BYTES + envelope_length(body[:PREFIX_BYTES])
        envelope, y = Envelope.decode(body[PREFIX_BYTES:start], limit=ENVELOPE_LIMIT), body[start:]
        report = self._uploads._admit(mh, device, envelope)
        if isinstance(report, bytes):
            return report
        if len(y) != report.size or vector_digest([y]) != report.header.y_hash:
            raise report.refuse_vector()
        (answer,) = self._uploads._store_group([(report, y)])
        if isinstance(answer, FanlightError):
            raise answer
        return answer


def _enrol(
    membership: Membership, body: bytes, clock: Callable[[], float], on_change: Afterwards
) -> tuple[bytes, Afterwards]:
    member, is_new = membership.enrol(body, int(clock()))
    return Welcome(device=member.device, name=member.name).encode(), on_change if is_new else nothing
