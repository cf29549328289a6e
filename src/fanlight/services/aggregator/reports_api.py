"""The upload of a report: envelope first and checked, then y streamed to disk while it is hashed, then the receipt."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection
from typing import Final

from fastapi import APIRouter
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from fanlight.errors import FanlightError, MalformedMessage, NotAuthentic, NotPossibleNow, Refused, RemoteError
from fanlight.protocol.digests import VectorDigest
from fanlight.protocol.exchange import PREFIX
from fanlight.protocol.report import ENVELOPE_LIMIT, PREFIX_BYTES, Envelope, ReportHeader, envelope_length
from fanlight.services.aggregator.service import AggregatorService
from fanlight.services.http.bodies import stream_body
from fanlight.services.http.signatures import SignatureVerifier
from fanlight.services.server.hash_in_path import hash_in_path
from fanlight.services.server.membership_api import cbor, membership_router

_FRONT_LIMIT: Final = PREFIX_BYTES + ENVELOPE_LIMIT


def protocol_router(service: AggregatorService, authorities: Collection[str]) -> APIRouter:
    """All protocol routes of the aggregator, which ``authorities`` mean (see ``hosts.authorities_of``)."""
    members = SignatureVerifier(service.membership.resolve, service.clock, authorities)
    router = APIRouter()
    router.include_router(
        membership_router(service.membership, members, authorities, service.clock, service.tell_main_of_members)
    )

    @router.put(PREFIX + "/rounds/{mh}/reports/{device}")
    async def report(request: Request, mh: str, device: str) -> Response:
        sender = members.verify_request(request).key_id
        if sender != device:
            raise NotAuthentic("A device can only send its own report.", slug="foreign-report")
        round_hash, member = hash_in_path(mh), bytes.fromhex(sender)
        try:
            receipt = await _Upload(service, round_hash, member).take(request)
        except (RemoteError, NotPossibleNow) as error:  # its sender's fault, or too late; not our disk's
            await run_in_threadpool(service.note_refusal, round_hash, member, error.slug)
            raise
        service.pages.notify()
        return cbor(receipt)

    return router


class _Upload:
    """One upload in progress."""

    def __init__(self, service: AggregatorService, mh: bytes, device: bytes) -> None:
        self._service = service
        self._mh = mh
        self._device = device

    async def take(self, request: Request) -> bytes:
        """Read the whole body; returns the signed receipt. Nothing is kept of an upload that fails."""
        stored = await run_in_threadpool(self._service.rounds.latest)
        words = stored.record.terms.length if stored else 0
        pieces = stream_body(request, _FRONT_LIMIT + 4 * words)
        envelope, rest = await self._front(pieces)
        name = envelope.report_id.hex()  # so that no other report can ever end up in this file
        held = await run_in_threadpool(self._service.rounds.holds, self._mh, self._device)
        if held is not None and held[0] == name:  # our answer was lost: the same one again, also after the close
            await _read_on(pieces)
            return held[1]
        header = await run_in_threadpool(self._service.rounds.check_report, self._mh, self._device, envelope)
        if held is not None:  # a second report: refused by its header alone
            await _read_on(pieces)
            return await run_in_threadpool(self._service.rounds.take_report, self._mh, envelope, header, held[0])
        await self._store(name, header, rest, pieces)
        try:
            return await run_in_threadpool(self._service.rounds.take_report, self._mh, envelope, header, name)
        except FanlightError:
            held = await run_in_threadpool(self._service.rounds.holds, self._mh, self._device)
            if held is None or held[0] != name:
                await run_in_threadpool(self._service.files.delete, name)
            raise

    async def _front(self, pieces: AsyncIterator[bytes]) -> tuple[Envelope, bytes]:
        """Read up to the end of the envelope; returns it and what was read of y."""
        front, needed = b"", PREFIX_BYTES
        while len(front) < needed:
            try:
                front += await anext(pieces)
            except StopAsyncIteration:
                raise MalformedMessage("The report ends too early.") from None
            if needed == PREFIX_BYTES and len(front) >= PREFIX_BYTES:
                needed += envelope_length(front[:PREFIX_BYTES])
        return Envelope.decode(front[PREFIX_BYTES:needed], limit=ENVELOPE_LIMIT), front[needed:]

    async def _store(self, name: str, header: ReportHeader, rest: bytes, pieces: AsyncIterator[bytes]) -> None:
        size, digest, written = 4 * header.length, VectorDigest(), 0
        with self._service.files.writer(name, size, size) as writer:

            def write(piece: bytes) -> None:
                nonlocal written
                written += len(piece)
                if written > size:
                    raise self._wrong_length(f"more than {size}", header)
                digest.update(piece)
                writer.write(piece)

            await run_in_threadpool(write, rest)
            async for piece in pieces:
                await run_in_threadpool(write, piece)
            if written < size:
                raise self._wrong_length(f"only {written}", header)
            if digest.digest() != header.y_hash:
                raise Refused(
                    "The vector is not the one that was signed.", slug="swapped-vector", device=self._device.hex()
                )
            await run_in_threadpool(writer.commit)

    def _wrong_length(self, found: str, header: ReportHeader) -> Refused:
        return Refused(
            f"The vector has {found} bytes; {header.length} words were signed.",
            slug="wrong-length",
            device=self._device.hex(),
        )


async def _read_on(pieces: AsyncIterator[bytes]) -> None:
    """Read the rest of a body, whose digest is compared at its end."""
    async for _ in pieces:
        pass
