"""The routes of reports, whole or in parts (see ``uploads``); and what time it is where their round is timed."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from fanlight.protocol.exchange import PREFIX
from fanlight.services.aggregator.service import AggregatorService
from fanlight.services.aggregator.uploads import Uploads
from fanlight.services.http.numbers import whole_number
from fanlight.services.http.plain_routes import PlainRoute
from fanlight.services.http.signatures import SignatureVerifier
from fanlight.services.server.digits_in_paths import device_in_path, hash_in_path
from fanlight.services.server.membership_api import cbor, membership_routes

REPORT_PATH: Final = "/rounds/{mh}/reports/{device}"
UPLOAD_OFFSET: Final = "Upload-Offset"


def protocol_routes(service: AggregatorService, authorities: Collection[str]) -> list[PlainRoute]:
    """All protocol routes of the aggregator, which ``authorities`` mean (see ``hosts.authorities_of``)."""
    members = SignatureVerifier(service.membership.resolve, service.clock, authorities)
    return [
        *_report_routes(service, Uploads(service)),
        PlainRoute(f"{PREFIX}/time", _time, methods=["GET"]),
        *membership_routes(service.membership, members, authorities, service.clock, service.tell_main_of_members),
    ]


def _report_routes(service: AggregatorService, uploads: Uploads) -> list[PlainRoute]:
    """Requests without a signature of their own: the report's serves."""

    async def whole(request: Request) -> Response:
        receipt = await uploads.whole(request, *_named(request))
        service.pages.notify()
        return cbor(receipt)

    async def ask(request: Request) -> Response:
        here, receipt = await uploads.ask(request, *_named(request))
        answer = cbor(receipt)
        answer.headers["Upload-Complete"] = "?1" if receipt else "?0"
        if not receipt:
            answer.headers[UPLOAD_OFFSET] = str(here)
        return answer

    async def rest(request: Request) -> Response:
        start = whole_number(UPLOAD_OFFSET, request.headers.get(UPLOAD_OFFSET, ""))
        receipt = await uploads.rest(request, *_named(request), start)
        service.pages.notify()
        return cbor(receipt)

    handlers = {"PUT": whole, "POST": ask, "PATCH": rest}
    return [PlainRoute(PREFIX + REPORT_PATH, handler, methods=[method]) for method, handler in handlers.items()]


async def _time(_request: Request) -> Response:
    """What matters is the ``Date`` that every answer has."""
    return Response(status_code=204)


def _named(request: Request) -> tuple[bytes, bytes]:
    """Round and device of the path."""
    return hash_in_path(request.path_params["mh"]), device_in_path(request.path_params["device"])
