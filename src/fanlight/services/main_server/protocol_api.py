"""The protocol's routes on the main server: for devices, and for the aggregator."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Annotated, Final

import numpy as np
from fastapi import APIRouter, Query
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from fanlight.errors import MalformedMessage
from fanlight.protocol.closing import CLOSE_LIMIT
from fanlight.protocol.exchange import PREFIX
from fanlight.services.http.bodies import read_body
from fanlight.services.http.content import content_response
from fanlight.services.http.nonces import NonceWindow
from fanlight.services.http.signatures import SignatureVerifier
from fanlight.services.main_server import announcements, signed_answers
from fanlight.services.main_server.presence import LONGEST_OFFER_WAIT_S
from fanlight.services.main_server.service import MainService
from fanlight.services.server.hash_in_path import hash_in_path
from fanlight.services.server.membership_api import SMALL_BODY, cbor, membership_router

LONGEST_WAIT_S: Final = 25.0
_RELEASE_PREFIX: Final = 4
_RELEASE_LIMIT: Final = 4096

Sender = Callable[[Request], bytes]
"""Verifies a device's request; returns the device's id."""

After = Annotated[int, Query(ge=0, lt=1 << 63)]
Wait = Annotated[float, Query(ge=0, le=LONGEST_WAIT_S)]


def protocol_router(service: MainService, authorities: Collection[str]) -> APIRouter:
    """All protocol routes of the main server, which ``authorities`` mean (see ``hosts.authorities_of``)."""
    nonces = NonceWindow()
    members = SignatureVerifier(service.membership.resolve, service.clock, authorities, nonces)
    router = APIRouter()
    router.include_router(
        membership_router(service.membership, members, authorities, service.clock, service.members_changed)
    )

    def sender(request: Request) -> bytes:
        device = bytes.fromhex(members.verify_request(request).key_id)
        if service.presence.see(device):
            service.pages.notify()
        return device

    router.include_router(_device_routes(sender, service))
    router.include_router(_reporting_routes(sender, service))
    aggregator = SignatureVerifier(service.resolve_aggregator, service.clock, authorities, nonces)
    router.include_router(_orders_routes(service, aggregator))
    router.include_router(_round_routes(service, aggregator))
    return router


def _device_routes(sender: Sender, service: MainService) -> APIRouter:
    """What a device asks for, and says of itself."""
    router = APIRouter(prefix=PREFIX)

    @router.get("/offer")
    async def offer(request: Request, after: After = 0, wait: Wait = 0) -> Response:
        device = sender(request)
        if wait:
            await service.news.wait_beyond(service.news.offers, after, min(wait, LONGEST_OFFER_WAIT_S))
            service.presence.see(device)
        return cbor(await run_in_threadpool(signed_answers.offer, service, device))

    @router.get("/models/{sha256}")
    async def model(request: Request, sha256: str) -> Response:
        sender(request)
        wanted = hash_in_path(sha256)
        return content_response(request, await run_in_threadpool(service.model, wanted), wanted)

    @router.post("/models/{sha256}/acknowledgements", status_code=204)
    async def acknowledge(request: Request, sha256: str) -> Response:
        device = sender(request)
        await read_body(request, 0)
        await run_in_threadpool(announcements.take_acknowledgement, service, device, hash_in_path(sha256))
        return Response(status_code=204)

    @router.post("/readiness", status_code=204)
    async def readiness(request: Request) -> Response:
        device = sender(request)
        body = await read_body(request, SMALL_BODY)
        await run_in_threadpool(announcements.take_readiness, service, device, body)
        return Response(status_code=204)

    @router.post("/class-proposals", status_code=204)
    async def propose_class(request: Request) -> Response:
        device = sender(request)
        body = await read_body(request, SMALL_BODY)
        await run_in_threadpool(announcements.take_class_proposal, service, device, body)
        return Response(status_code=204)

    return router


def _reporting_routes(sender: Sender, service: MainService) -> APIRouter:
    """What a device says and asks about a round it is part of."""
    router = APIRouter(prefix=PREFIX)

    @router.post("/rounds/{mh}/beacons", status_code=204)
    async def beacon(request: Request, mh: str) -> Response:
        device = sender(request)
        body = await read_body(request, SMALL_BODY)
        await run_in_threadpool(service.rounds.beacon, hash_in_path(mh), device, body)
        service.news.tell()
        return Response(status_code=204)

    @router.get("/rounds/{mh}/outcome")
    async def outcome(request: Request, mh: str) -> Response:
        device = sender(request)
        answer = await run_in_threadpool(service.rounds.outcome_for, hash_in_path(mh), device)
        return cbor(answer.encode())

    @router.post("/rounds/{mh}/decline", status_code=204)
    async def decline(request: Request, mh: str) -> Response:
        device = sender(request)
        await read_body(request, 0)
        await run_in_threadpool(announcements.take_refusal, service, device, hash_in_path(mh))
        return Response(status_code=204)

    return router


def _orders_routes(service: MainService, verifier: SignatureVerifier) -> APIRouter:
    """What the aggregator asks for."""
    router = APIRouter(prefix=PREFIX)

    @router.get("/orders")
    async def orders(request: Request, after: After = 0, wait: Wait = 0) -> Response:
        verifier.verify_request(request)
        service.see_aggregator()
        if wait:
            await service.news.wait_beyond(service.news.orders, after, wait)
            service.see_aggregator()
        return cbor(await run_in_threadpool(signed_answers.orders, service))

    @router.get("/aggregator/members")
    async def list_members(request: Request) -> Response:
        verifier.verify_request(request)
        return cbor(await run_in_threadpool(signed_answers.member_list, service))

    return router


def _round_routes(service: MainService, verifier: SignatureVerifier) -> APIRouter:
    """What the aggregator hands in."""
    router = APIRouter(prefix=PREFIX)

    async def body_of(request: Request, limit: int) -> bytes:
        verifier.verify_request(request)
        return await read_body(request, limit)

    @router.post("/aggregator/enrolments", status_code=204)
    async def enrolments(request: Request) -> Response:
        await run_in_threadpool(service.take_enrolments, await body_of(request, 1 << 20))
        return Response(status_code=204)

    @router.post("/aggregator/manifest")
    async def manifest(request: Request) -> Response:
        reply = await run_in_threadpool(service.rounds.countersign, await body_of(request, 1 << 20))
        service.news.tell(offers=True)
        return cbor(reply)

    @router.post("/aggregator/close")
    async def close(request: Request) -> Response:
        reply = await run_in_threadpool(service.rounds.judge, await body_of(request, CLOSE_LIMIT))
        service.news.tell()
        return cbor(reply)

    @router.post("/aggregator/release")
    async def release(request: Request) -> Response:
        limit = _RELEASE_PREFIX + _RELEASE_LIMIT + 4 * await run_in_threadpool(service.rounds.most_words)
        signed, vector = _split_release(await body_of(request, limit))
        reply = await run_in_threadpool(service.rounds.release, signed, vector)
        # The devices hear of it when it is published, or when the aggregator's signature on the outcome arrives.
        service.news.tell()
        return cbor(reply)

    @router.post("/aggregator/outcome", status_code=204)
    async def outcome(request: Request) -> Response:
        await run_in_threadpool(service.rounds.take_outcome, await body_of(request, SMALL_BODY))
        service.news.tell(soon=True)
        return Response(status_code=204)

    return router


def _split_release(body: bytes) -> tuple[bytes, np.ndarray[tuple[int], np.dtype[np.uint32]]]:
    """Body: length of the signed release (4 bytes, big-endian) ‖ signed release ‖ Y (little-endian words)."""
    length = int.from_bytes(body[:_RELEASE_PREFIX], "big")
    start = _RELEASE_PREFIX + length
    if length > _RELEASE_LIMIT or start > len(body) or (len(body) - start) % 4:
        raise MalformedMessage("This is not a release.")
    vector = np.frombuffer(body, "<u4", offset=start).astype(np.uint32)
    return body[_RELEASE_PREFIX:start], vector
