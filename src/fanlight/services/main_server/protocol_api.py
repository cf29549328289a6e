"""The protocol's routes on the main server: for devices, and for the aggregator."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection
from contextlib import suppress
from typing import Final, NamedTuple

from starlette.background import BackgroundTask
from starlette.datastructures import QueryParams
from starlette.requests import Request
from starlette.responses import Response

from fanlight.errors import NotFound
from fanlight.protocol.closing import CLOSE_LIMIT, RECORD_LIMIT, OutcomeForDevice
from fanlight.protocol.exchange import PREFIX, Words
from fanlight.services.http.bodies import read_body, stream_body
from fanlight.services.http.content import content_response
from fanlight.services.http.nonces import NonceWindow
from fanlight.services.http.numbers import seconds, whole_number
from fanlight.services.http.plain_routes import PlainRoute
from fanlight.services.http.signatures import SignatureVerifier
from fanlight.services.http.threads import in_thread
from fanlight.services.main_server import announcements, signed_answers
from fanlight.services.main_server.offers import Offers
from fanlight.services.main_server.outcomes import Outcomes
from fanlight.services.main_server.release_body import RELEASE_FRONT_LIMIT, ReleaseBody
from fanlight.services.main_server.service import MainService
from fanlight.services.server.digits_in_paths import hash_in_path
from fanlight.services.server.membership_api import SMALL_BODY, cbor, membership_routes

LONGEST_WAIT_S: Final = 25.0

Sender = Callable[[Request], bytes]
"""Verifies a device's request; returns the device's id."""

Handler = Callable[[Request], Awaitable[Response]]


def protocol_routes(service: MainService, authorities: Collection[str]) -> list[PlainRoute]:
    """All protocol routes of the main server, which ``authorities`` mean (see ``hosts.authorities_of``).

    Plain routes, since a round consists of many small requests: what FastAPI does for one takes longer than they do.
    """
    nonces = NonceWindow()
    members = SignatureVerifier(service.membership.resolve, service.clock, authorities, nonces)
    aggregator = SignatureVerifier(service.resolve_aggregator, service.clock, authorities, nonces)

    def sender(request: Request) -> bytes:
        device = bytes.fromhex(members.verify_request(request).key_id)
        service.see(device)
        return device

    return [
        *_device_routes(sender, service),
        *_reporting_routes(sender, service),
        *_orders_routes(service, aggregator),
        *_round_routes(service, aggregator),
        *membership_routes(service.membership, members, authorities, service.clock, service.members_changed),
    ]


def _device_routes(sender: Sender, service: MainService) -> list[PlainRoute]:
    """What a device asks for, and says of itself."""
    offers = Offers(service)

    async def offer(request: Request) -> Response:
        device = sender(request)
        after, wait, have, most, awaited = _asked(request)
        if have is not None and not service.presence.has_said(device, have):
            await in_thread(announcements.take_acknowledgement, service, device, have)
        if wait:
            asked_at = service.monotonic()
            with service.news.room_to_wait(device):
                await service.news.wait_for_offer(device, after, wait)
            if await request.is_disconnected():
                service.lose(device, asked_at)
                return Response(status_code=204)
        else:
            service.news.end_waiting(device)
        return cbor(offers.to(device, have, most, await _how_it_ended(service.outcomes, awaited, device)))

    async def model(request: Request) -> Response:
        sender(request)
        wanted = hash_in_path(request.path_params["sha256"])
        return content_response(request, await in_thread(service.model, wanted), wanted)

    async def backbone(request: Request) -> Response:
        sender(request)
        wanted = hash_in_path(request.path_params["sha256"])
        return content_response(request, await in_thread(service.backbones.file, wanted.hex()), wanted)

    async def readiness(request: Request) -> Response:
        device = sender(request)
        body = await read_body(request, SMALL_BODY)
        await in_thread(announcements.take_readiness, service, device, body)
        return Response(status_code=204)

    async def changing(request: Request) -> Response:
        device = sender(request)
        announcements.take_changing(service, device, await read_body(request, SMALL_BODY))
        return Response(status_code=204)

    async def propose_class(request: Request) -> Response:
        device = sender(request)
        body = await read_body(request, SMALL_BODY)
        await in_thread(announcements.take_class_proposal, service, device, body)
        return Response(status_code=204)

    return [
        _get("/offer", offer),
        _get("/models/{sha256}", model),
        _get("/backbones/{sha256}", backbone),
        _post("/readiness", readiness),
        _post("/changing", changing),
        _post("/class-proposals", propose_class),
    ]


async def _how_it_ended(outcomes: Outcomes, mh: bytes | None, device: bytes) -> OutcomeForDevice | None:
    """What a device is told of the round whose end it awaits; None: it awaits none, or that is not over."""
    if mh is None:
        return None
    with suppress(NotFound):
        return outcomes.told_again(mh, device) or await in_thread(outcomes.told, mh, device)
    return None


def _reporting_routes(sender: Sender, service: MainService) -> list[PlainRoute]:
    """What a device says and asks about a round it is part of."""

    async def beacon(request: Request) -> Response:
        device = sender(request)
        body = await read_body(request, SMALL_BODY)
        model = await in_thread(service.rounds.beacon, hash_in_path(request.path_params["mh"]), device, body)
        if model is not None:
            service.presence.note_model(device, model)  # the next poll need not say it
        service.news.tell()
        return Response(status_code=204)

    async def outcome(request: Request) -> Response:
        device = sender(request)
        mh = hash_in_path(request.path_params["mh"])
        return cbor((await in_thread(service.outcomes.told, mh, device)).encode())

    async def decline(request: Request) -> Response:
        device = sender(request)
        body = await read_body(request, SMALL_BODY)
        mh = hash_in_path(request.path_params["mh"])
        await in_thread(announcements.take_refusal, service, device, mh, body)
        return Response(status_code=204)

    return [
        _post("/rounds/{mh}/beacons", beacon),
        _get("/rounds/{mh}/outcome", outcome),
        _post("/rounds/{mh}/decline", decline),
    ]


def _orders_routes(service: MainService, verifier: SignatureVerifier) -> list[PlainRoute]:
    """What the aggregator asks for."""

    async def orders(request: Request) -> Response:
        verifier.verify_request(request)
        after, wait, *_ = _asked(request)
        service.see_aggregator()
        if wait:
            await service.news.wait_beyond(service.news.orders, after, wait)
            service.see_aggregator()
        return cbor(signed_answers.orders(service))

    async def list_members(request: Request) -> Response:
        verifier.verify_request(request)
        return cbor(signed_answers.member_list(service))

    return [_get("/orders", orders), _get("/aggregator/members", list_members)]


def _round_routes(service: MainService, verifier: SignatureVerifier) -> list[PlainRoute]:
    """What the aggregator hands in."""

    async def body_of(request: Request, limit: int) -> bytes:
        verifier.verify_request(request)
        return await read_body(request, limit)

    async def enrolments(request: Request) -> Response:
        await in_thread(service.take_enrolments, await body_of(request, 1 << 20))
        return Response(status_code=204)

    async def manifest(request: Request) -> Response:
        opened = await in_thread(service.rounds.countersign, await body_of(request, 1 << 20))
        service.tell_opened(opened)
        return cbor(opened.reply)

    async def close(request: Request) -> Response:
        reply = await in_thread(service.rounds.judge, await body_of(request, CLOSE_LIMIT))
        service.news.tell()
        return cbor(reply)

    async def release(request: Request) -> Response:
        verifier.verify_request(request)
        limit = RELEASE_FRONT_LIMIT + 4 * service.rounds.most_words()
        body = ReleaseBody(limit)
        async for piece in stream_body(request, limit):
            body.take(piece)
        signed, vector = body.parts()
        reply = await in_thread(service.rounds.release, signed, vector)
        # The devices hear of it when it is published, or when the aggregator's signature on the outcome arrives.
        service.news.tell()
        return cbor(reply)

    async def outcome(request: Request) -> Response:
        body = await body_of(request, SMALL_BODY)
        try:
            mh = await in_thread(service.rounds.take_outcome, body)
        finally:  # a disk that fails afterwards does not undo what was kept
            service.news.tell(soon=True)
        answer = cbor(signed_answers.orders(service))  # the next round waits for the aggregator already, mostly
        answer.background = BackgroundTask(in_thread, service.outcomes.prepare, mh)
        return answer

    async def words(request: Request) -> Response:
        verifier.verify_request(request)
        number = whole_number("number", request.path_params["number"])
        return cbor((await in_thread(service.rounds.words, number)).encode())

    async def catch_up(request: Request) -> Response:
        told = Words.decode(await body_of(request, RECORD_LIMIT), limit=RECORD_LIMIT)
        await in_thread(service.rounds.catch_up, told)
        service.news.tell(offers=True, orders=True)
        return Response(status_code=204)

    return [
        _get("/aggregator/rounds/{number}", words),
        _post("/aggregator/rounds", catch_up),
        _post("/aggregator/enrolments", enrolments),
        _post("/aggregator/manifest", manifest),
        _post("/aggregator/close", close),
        _post("/aggregator/release", release),
        _post("/aggregator/outcome", outcome),
    ]


def _get(path: str, handler: Handler) -> PlainRoute:
    return PlainRoute(PREFIX + path, handler, methods=["GET"])


def _post(path: str, handler: Handler) -> PlainRoute:
    return PlainRoute(PREFIX + path, handler, methods=["POST"])


class _Asked(NamedTuple):
    """What a long-poll asks for, see ``docs/protocol.md``: ``awaited`` is the round whose end may come along."""

    after: int
    wait_s: float
    have: bytes | None
    most: int
    awaited: bytes | None


def _asked(request: Request) -> _Asked:
    query = QueryParams(request.scope["query_string"])  # those of the request would be kept as long as it waits
    return _Asked(
        whole_number("after", query.get("after", "0")),
        seconds("wait", query.get("wait", "0"), LONGEST_WAIT_S),
        hash_in_path(query["have"]) if "have" in query else None,
        whole_number("most", query.get("most", "0")),
        hash_in_path(query["ended"]) if "ended" in query else None,
    )
