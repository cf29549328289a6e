"""The routes for enrolment, change of key, leaving and revocation, the same on both servers."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from typing import Final

from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import Response

from fanlight.errors import MessageTooLarge, NotAuthentic
from fanlight.protocol.exchange import PREFIX, Welcome
from fanlight.protocol.identities import Enrolment
from fanlight.services.http.bodies import read_body
from fanlight.services.http.nonces import NonceWindow
from fanlight.services.http.plain_routes import PlainRoute
from fanlight.services.http.signatures import SignatureVerifier
from fanlight.services.http.threads import in_thread
from fanlight.services.server.membership import Membership

CBOR = "application/cbor"
SMALL_BODY = 1 << 14
"""Most bytes of an enrolment, receipt, readiness or key message."""

STRANGERS_PER_KEY: Final = 100
STRANGERS_IN_ALL: Final = 5_000
"""Nonces in use under keys that nobody has vouched for. Anybody can make such keys and use these up; meanwhile new
devices wait, and members notice nothing."""

_RAW_KEY = re.compile(r"[0-9a-f]{64}")


def cbor(content: bytes) -> Response:
    """A protocol message as an HTTP answer."""
    return Response(content, media_type=CBOR)


def membership_routes(
    membership: Membership,
    members_only: SignatureVerifier,
    authorities: Collection[str],
    clock: Callable[[], float],
    on_change: Callable[[], None],
) -> list[PlainRoute]:
    """``POST enrolments``, ``keys``, ``departures`` and ``revocations`` under the protocol's prefix.

    Args:
        membership: the server's members.
        members_only: verifies requests of members.
        authorities: the names that mean this server, ports included.
        clock: unix seconds.
        on_change: called after the list of members has changed.
    """
    window = NonceWindow(per_key=STRANGERS_PER_KEY, total=STRANGERS_IN_ALL)
    strangers = SignatureVerifier(_self_certified, clock, authorities, window)

    async def enrol(request: Request) -> Response:
        signed = strangers.verify_request(request)
        body = await read_body(request, SMALL_BODY)
        if Enrolment.decode(body).public_key.hex() != signed.key_id:
            raise NotAuthentic("The enrolment was sent under another key than it enrols.")
        member, is_new = await in_thread(membership.enrol, body, int(clock()))
        response = cbor(Welcome(device=member.device, name=member.name).encode())
        # In the background: the aggregator tells main of it, which must not keep the device waiting.
        response.background = BackgroundTask(on_change) if is_new else None
        return response

    async def rekey(request: Request) -> Response:
        device = bytes.fromhex(members_only.verify_request(request).key_id)
        body = await read_body(request, SMALL_BODY)
        member = await in_thread(membership.rekey, device, body)
        return cbor(Welcome(device=member.device, name=member.name).encode())

    async def leave(request: Request) -> Response:
        device = bytes.fromhex(members_only.verify_request(request).key_id)
        await in_thread(membership.leave, device, await read_body(request, SMALL_BODY), int(clock()))
        return Response(status_code=204, background=BackgroundTask(on_change))

    async def revoke(request: Request) -> Response:
        # Signed by the root itself, so anybody may carry it here.
        await in_thread(membership.revoke, await _bounded(request))
        return Response(status_code=204, background=BackgroundTask(on_change))

    handlers = {"enrolments": enrol, "keys": rekey, "departures": leave, "revocations": revoke}
    return [PlainRoute(f"{PREFIX}/{name}", handler, methods=["POST"]) for name, handler in handlers.items()]


def _self_certified(key_id: str) -> bytes | None:
    """A device that enrols is not known yet: its key id is the key itself, and the body must enrol just that key."""
    return bytes.fromhex(key_id) if _RAW_KEY.fullmatch(key_id) else None


async def _bounded(request: Request) -> bytes:
    body = b""
    async for piece in request.stream():
        body += piece
        if len(body) > SMALL_BODY:
            raise MessageTooLarge(f"A revocation has at most {SMALL_BODY} bytes.")
    return body
