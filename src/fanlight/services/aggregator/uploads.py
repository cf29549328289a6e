"""How a report arrives: what it says of itself is checked before its vector is taken, and each chunk before it is kept.

A report's own signature serves as the request's: the header names device, round and H(y), and only the device can sign
it. So whoever carries a report can do no more than the device asked for: the same bytes again get the same receipt, and
other bytes are refused. A replay can waste the time of one connection and nothing else.

- A *small* report comes in one request: ``beginning ‖ y``. Those that come at once share a file (see ``intake``).
- A *large* one comes in two: first the question what is here already, ``beginning ‖ hashes of all chunks``, which the
  signed H(y) vouches for; then ``beginning ‖ hashes ‖ the rest of y``. Each chunk (1 MiB) is compared with its hash
  before it is written, so what is on the disk is right whoever sent it, and what a crash spoilt is found by asking.

Nothing is allocated or written for a sender before the signature of a member has verified.
"""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Final

from starlette.requests import Request

from fanlight.errors import (
    Conflict,
    FanlightError,
    MalformedMessage,
    MessageTooLarge,
    NotEnrolled,
    NotPossibleNow,
    RemoteError,
)
from fanlight.protocol.digests import HASH_BYTES, VECTOR_CHUNK_BYTES, vector_digest, vector_digest_of
from fanlight.protocol.report import (
    ENVELOPE_LIMIT,
    PREFIX_BYTES,
    WHOLE_BYTES,
    Envelope,
    chunk_count,
)
from fanlight.services.aggregator.held_reports import Place
from fanlight.services.aggregator.intake import Intake
from fanlight.services.aggregator.reception import Arrived
from fanlight.services.aggregator.service import AggregatorService
from fanlight.services.aggregator.shared_file import SharedFile
from fanlight.services.aggregator.upload_body import RETRY_S, Admitted, Body
from fanlight.services.http.limits import declared_length, too_large
from fanlight.services.http.room import Room
from fanlight.services.http.threads import in_thread
from fanlight.storage.unfinished import Unfinished

_FRONT_LIMIT: Final = PREFIX_BYTES + ENVELOPE_LIMIT
AT_ONCE: Final = 4
"""Most uploads of one device at a time: one, and what is left of those whose connections have died."""
HELD_BYTES: Final = 64 << 20
"""Most bytes that all uploads hold in memory: 64 large ones, or 1,200 of a head of 51 kB."""


class Uploads:
    """The reports that are arriving.

    Each method reads one request of a device for a round, and

    Raises:
        NotEnrolled, NotFound, NotAuthentic, Refused, NotPossibleNow: see ``Reception.check``.
        MalformedMessage, MessageTooLarge: the body is not what it must be. Conflict: it does not continue what is here.
        StorageError: the disk is full or failed.
        Busy: too many are arriving at once, or it is not known yet who is a member.
    """

    def __init__(self, service: AggregatorService) -> None:
        self._service = service
        self._reception = service.reception
        self._intake = Intake(self._store_group)
        self._files = service.files
        self._shared = SharedFile(service.files)
        self._room = Room("uploads", each=AT_ONCE, total=HELD_BYTES, retry_s=RETRY_S)
        self._begun: dict[bytes, str] = {}

    async def whole(self, request: Request, mh: bytes, device: bytes) -> bytes:
        """A small report; returns the signed receipt."""
        declared = declared_length(request.headers)
        if declared is not None and declared > _FRONT_LIMIT + WHOLE_BYTES:
            raise too_large(_FRONT_LIMIT + WHOLE_BYTES)
        async with self._arriving(request, mh, device) as (body, report):
            if isinstance(report, bytes):
                return report
            if report.size > WHOLE_BYTES:
                raise MessageTooLarge(f"A report of more than {WHOLE_BYTES:,} bytes comes in parts.")
            body.check_declared(report, 0)
            y = b"".join([bytes(chunk) async for chunk in body.chunks(report, 0)])
            if vector_digest(y) != report.header.y_hash:
                raise report.refuse_vector()
            report.check_padding(0, y)
            return await self._intake.take((report, y))

    async def ask(self, request: Request, mh: bytes, device: bytes) -> tuple[int, bytes]:
        """How many bytes of a large report's y are here, and its receipt if it was taken already."""
        async with self._arriving(request, mh, device) as (body, report):
            if isinstance(report, bytes):
                return 0, report
            hashes = await self._hashes(body, report)
            await body.end()
            file, here = await in_thread(self._open, report, hashes)
            file.close()
            return here, b""

    async def rest(self, request: Request, mh: bytes, device: bytes, start: int) -> bytes:
        """The rest of a large report from byte ``start`` of y on; returns the signed receipt.

        What has arrived when the connection breaks stays, in whole chunks.
        """
        async with self._arriving(request, mh, device) as (body, report):
            if isinstance(report, bytes):
                return report
            hashes = await self._hashes(body, report)
            body.check_declared(report, start)
            file, here = await in_thread(self._open, report, hashes)
            with file:
                if start != here:
                    raise Conflict(
                        f"{here} bytes are here, not {start}.", slug="wrong-offset", next="Ask, and continue."
                    )
                async for chunk in body.chunks(report, start):
                    await in_thread(_keep, file, here, chunk, hashes, report)
                    here += len(chunk)
                return await in_thread(self._take, report, file)

    @asynccontextmanager
    async def _arriving(
        self, request: Request, mh: bytes, device: bytes
    ) -> AsyncIterator[tuple[Body, Admitted | bytes]]:
        """The body after the envelope, and the report if it may arrive, or the receipt if it is here already.

        Why a member's report was refused is noted for the owner to see, once the device has signed it; of reports that
        no member has signed only the number is. What is asked to come later is not refused.
        """
        await self._reception.hear_of_members(device)
        body, envelope = Body(request), None
        try:
            self._reception.check_member(device)  # strangers are not listened to
            envelope = await body.envelope()
            report: Admitted | bytes | None = self._first(mh, device, envelope)
            if report is None:
                report = await in_thread(self._admit, mh, device, envelope)
            with self._room.taken(device, _held_at_once(report)):
                yield body, report
        except NotEnrolled as error:
            if error.slug != "not-confirmed":  # a member at one server only, who may come later
                self._service.rounds.journal.rejected_unsigned()
            raise
        except (RemoteError, NotPossibleNow) as error:  # its sender's fault, or too late; not our disk's
            if envelope is not None and error.retry_after_s is None:
                await in_thread(self._note, mh, device, envelope, error)
            raise

    def _first(self, mh: bytes, device: bytes, envelope: Envelope) -> Admitted | None:
        """Admit a first report; then nothing is read from the disk, and a thread is not worth it."""
        if not self._reception.is_first(mh, device):
            return None
        try:
            return self._checked(mh, device, envelope)
        except NotPossibleNow:  # closed; if this very report went into the set a moment ago, it has a receipt
            return None

    def _admit(self, mh: bytes, device: bytes, envelope: Envelope) -> Admitted | bytes:
        kept = self._reception.kept(mh, device)
        if kept is not None and kept.held.envelope.report_id == envelope.report_id:
            return kept.receipt  # our answer was lost: the same one again, also after the close
        report = self._checked(mh, device, envelope)
        if kept is not None:  # a second report: refused by its header alone
            return self._receipt(report, kept.place)
        return report

    def _checked(self, mh: bytes, device: bytes, envelope: Envelope) -> Admitted:
        header = self._reception.check(mh, device, envelope)
        return Admitted(mh, device, envelope, header, self._reception.layout(mh))

    def _note(self, mh: bytes, device: bytes, envelope: Envelope, error: FanlightError) -> None:
        if not self._reception.is_signed_by(mh, device, envelope):
            self._service.rounds.journal.rejected_unsigned()
        elif not isinstance(error, MalformedMessage) and error.slug != "wrong-offset":  # cut: the rest may follow
            self._service.note_refusal(mh, device, error.slug)

    async def _hashes(self, body: Body, report: Admitted) -> list[bytes]:
        data = await body.exactly(HASH_BYTES * chunk_count(report.size))
        hashes = [data[start : start + HASH_BYTES] for start in range(0, len(data), HASH_BYTES)]
        if vector_digest_of(report.size, hashes) != report.header.y_hash:
            raise report.refuse_vector()
        return hashes

    def _open(self, report: Admitted, hashes: Sequence[bytes]) -> tuple[Unfinished, int]:
        """The file of y, and how many bytes of it are here, in whole chunks with these hashes.

        Of each device there is only one: another one of its is given up.
        """
        before = self._begun.get(report.device, report.file)
        if before != report.file:
            self._files.give_up(before)
        self._begun[report.device] = report.file
        file = self._files.unfinished(report.file, report.size, report.size)
        try:
            return file, _verified(file, hashes)
        except FanlightError:
            file.close()
            raise

    def _store_group(self, group: Sequence[tuple[Admitted, bytes]]) -> list[bytes | FanlightError]:
        """Small reports; for each its signed receipt, or why there is none."""
        vectors = {report.envelope.report_id: y for report, y in group}

        def write(new: Sequence[Arrived]) -> list[Place]:
            ids = [report.envelope.report_id for report in new]
            return self._shared.add(new[0].header.mh, {some: vectors[some] for some in ids})

        try:
            answers = self._reception.take([Arrived(report.envelope, report.header) for report, _ in group], write)
        except FanlightError:
            self._shared.give_up()
            raise
        self._shared.keep()
        return answers

    def _take(self, report: Admitted, file: Unfinished) -> bytes:
        """All of y is in ``file``, which becomes durable; returns the signed receipt."""
        file.commit()
        try:
            return self._receipt(report, Place(report.file))
        except FanlightError:
            if not self._reception.needs(report.mh, report.device, report.file):
                self._files.delete(report.file)
            raise

    def _receipt(self, report: Admitted, place: Place) -> bytes:
        (answer,) = self._reception.take([Arrived(report.envelope, report.header)], lambda _new: [place])
        if isinstance(answer, FanlightError):
            raise answer
        return answer


def _held_at_once(report: Admitted | bytes) -> int:
    """Bytes of y that are in memory while it arrives."""
    return min(report.size, VECTOR_CHUNK_BYTES) if isinstance(report, Admitted) else 0


def _verified(file: Unfinished, hashes: Sequence[bytes]) -> int:
    """How many bytes from the file's beginning are whole chunks of y."""
    here = 0
    for piece, expected in zip(file.pieces(VECTOR_CHUNK_BYTES), hashes, strict=False):
        if hashlib.sha256(piece).digest() != expected:
            break
        here += len(piece)
    return here


def _keep(file: Unfinished, at: int, chunk: memoryview, hashes: Sequence[bytes], report: Admitted) -> None:
    if hashlib.sha256(chunk).digest() != hashes[at // VECTOR_CHUNK_BYTES]:
        raise report.refuse_vector()
    report.check_padding(at, chunk)
    file.write(at, chunk)
