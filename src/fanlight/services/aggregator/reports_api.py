"""The routes of reports: whole, or in parts (see ``uploads``)."""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Annotated, Final

from fastapi import APIRouter, Header
from starlette.requests import Request
from starlette.responses import Response

from fanlight.errors import MalformedMessage
from fanlight.protocol.exchange import PREFIX
from fanlight.services.aggregator.service import AggregatorService
from fanlight.services.aggregator.uploads import Uploads
from fanlight.services.http.signatures import SignatureVerifier
from fanlight.services.server.hash_in_path import hash_in_path
from fanlight.services.server.membership_api import cbor, membership_router

REPORT_PATH: Final = "/rounds/{mh}/reports/{device}"
UPLOAD_OFFSET: Final = "Upload-Offset"

_DEVICE = re.compile(r"[0-9a-f]{32}")

Offset = Annotated[int, Header(alias=UPLOAD_OFFSET, ge=0, lt=1 << 63)]


def protocol_router(service: AggregatorService, authorities: Collection[str]) -> APIRouter:
    """All protocol routes of the aggregator, which ``authorities`` mean (see ``hosts.authorities_of``)."""
    members = SignatureVerifier(service.membership.resolve, service.clock, authorities)
    router = APIRouter()
    router.include_router(
        membership_router(service.membership, members, authorities, service.clock, service.tell_main_of_members)
    )
    router.include_router(_report_routes(service, Uploads(service)))
    return router


def _report_routes(service: AggregatorService, uploads: Uploads) -> APIRouter:
    """Requests without a signature of their own: the report's serves."""
    router = APIRouter(prefix=PREFIX)

    @router.put(REPORT_PATH)
    async def whole(request: Request, mh: str, device: str) -> Response:
        receipt = await uploads.whole(request, hash_in_path(mh), _device_in_path(device))
        service.pages.notify()
        return cbor(receipt)

    @router.post(REPORT_PATH)
    async def ask(request: Request, mh: str, device: str) -> Response:
        here, receipt = await uploads.ask(request, hash_in_path(mh), _device_in_path(device))
        answer = cbor(receipt)
        answer.headers["Upload-Complete"] = "?1" if receipt else "?0"
        if not receipt:
            answer.headers[UPLOAD_OFFSET] = str(here)
        return answer

    @router.patch(REPORT_PATH)
    async def rest(request: Request, mh: str, device: str, start: Offset) -> Response:
        receipt = await uploads.rest(request, hash_in_path(mh), _device_in_path(device), start)
        service.pages.notify()
        return cbor(receipt)

    return router


def _device_in_path(text: str) -> bytes:
    if not _DEVICE.fullmatch(text):
        raise MalformedMessage("A device's id is 32 hexadecimal digits.")
    return bytes.fromhex(text)
