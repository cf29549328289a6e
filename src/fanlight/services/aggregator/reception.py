"""Where reports are handed in: who may, what is checked before a vector arrives, and the receipt once it is durable.

For the newest round, what the checks need is in memory. They may be a moment behind: ``take`` decides, in the very
transaction that stores.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final, NamedTuple

from fanlight.core.segments import Segment
from fanlight.errors import Busy, FanlightError, NotAuthentic, NotEnrolled, NotPossibleNow, RemoteError
from fanlight.protocol.aggregator import Aggregator
from fanlight.protocol.aggregator_round import TERMINAL, Held, Record, State
from fanlight.protocol.report import REPORT, Envelope, ReportHeader, body_bytes
from fanlight.protocol.signing import verify_bytes
from fanlight.services.aggregator import held_reports, round_table
from fanlight.services.aggregator.held_reports import Kept, Place
from fanlight.services.aggregator.rounds import Rounds
from fanlight.services.http.waiting import Notifier
from fanlight.services.server.membership import Membership
from fanlight.services.server.round_keys import RoundKeys
from fanlight.storage.database import Database

_RETRY_S: Final = 2.0
"""About how long it takes until main has told us its members."""
_OPENING_S: Final = 1.0
"""The same, that a round is open."""


class Arrived(NamedTuple):
    """A checked report whose y is here."""

    envelope: Envelope
    header: ReportHeader


class Reception:
    """Takes reports.

    Args:
        database, keys: where things are kept.
        machine: the aggregator's identity.
        membership: who may report, if main has told us that it has them too (``confirm``).
        rounds: that they are for.
        clock: unix seconds.
    """

    def __init__(
        self,
        database: Database,
        keys: RoundKeys,
        machine: Aggregator,
        membership: Membership,
        rounds: Rounds,
        clock: Callable[[], float],
    ) -> None:
        self._database = database
        self._keys = keys
        self._machine = machine
        self._membership = membership
        self._rounds = rounds
        self._clock = clock
        self._confirmed: frozenset[bytes] | None = None
        self._heard = Notifier()
        self._reported: tuple[bytes, set[bytes]] = b"", set()
        self._noting = threading.Lock()

    @property
    def confirmed(self) -> frozenset[bytes]:
        """The devices that main has as members too; none before main has told us."""
        return self._confirmed or frozenset()

    def confirm(self, devices: Iterable[bytes]) -> None:
        """Main has these as members."""
        self._confirmed = frozenset(devices)
        self._heard.notify()

    async def hear_of_members(self, device: bytes) -> None:
        """Wait a moment, after the start, until main has told us its members, unless the device is a stranger to us."""
        if self._confirmed is None and self._membership.public_key(device) is not None:
            await self._heard.wait_beyond(0, _RETRY_S)

    def check_member(self, device: bytes) -> bytes:
        """The public key of a device that is a member at both servers.

        Raises:
            NotEnrolled: it is not.
            Busy: since its start this server has not heard whom main has.
        """
        public_key = self._membership.public_key(device)
        if public_key is not None and self._confirmed is None:
            raise Busy(
                "The secure aggregator has just started, and waits for the main server's list of members.",
                next="Try again in a few seconds.",
                slug="members-unknown",
                retry_after_s=_RETRY_S,
            )
        if public_key is None or device not in self.confirmed:
            raise NotEnrolled(
                "This device is not (yet) a member at both servers.",
                next="Wait a moment and send again; if it stays so, enrol with a fresh token.",
                slug="not-confirmed" if public_key else "not-enrolled",
                device=device.hex(),
            )
        return public_key

    def is_signed_by(self, mh: bytes, device: bytes, envelope: Envelope) -> bool:
        """Has this device signed a report of this round with this envelope?"""
        try:
            header = ReportHeader.decode(verify_bytes(self.check_member(device), REPORT, envelope.header))
        except RemoteError:
            return False
        return (header.mh, header.device) == (mh, device)

    def is_first(self, mh: bytes, device: bytes) -> bool:
        """Is it known, without a look into the database, that nothing of this device is here for this round?

        It may be a moment behind: of two reports that arrive at once both may be, and ``take`` sees to it.
        """
        newest, reported = self._reported
        return newest == mh and device not in reported

    def check(self, mh: bytes, device: bytes, envelope: Envelope) -> ReportHeader:
        """Everything that can be checked before y arrives.

        Raises:
            NotFound: no such round. NotEnrolled: the device is not a member at both servers.
            Busy: main has opened the round, and this server does not know it yet.
            NotAuthentic, Refused, NotPossibleNow: see the machine.
        """
        public_key, record = self.check_member(device), self._record(mh)
        key = self._keys.load(record.number)
        if key is None:
            raise NotPossibleNow("This round is over.", slug="round-over", next="Wait for the next round.")
        if record.at is State.OFFERED:  # main died before it could answer; its devices were faster than we
            raise Busy(
                "The secure aggregator has not heard yet that this round is open.",
                next="Try again in a moment.",
                slug="round-not-open-yet",
                retry_after_s=_OPENING_S,
            )
        header = self._machine.check_report(record, envelope, public_key, key, int(self._clock()))
        if header.device != device:
            raise NotAuthentic(
                "The report is another device's than the request.", slug="foreign-report", device=device.hex()
            )
        return header

    def layout(self, mh: bytes) -> Sequence[Segment]:
        """What the vectors of a round consist of.

        Raises:
            NotFound: no such round.
        """
        return self._record(mh).terms.proposal.layout

    def take(
        self, arrived: Sequence[Arrived], place: Callable[[Sequence[Arrived]], Sequence[Place]]
    ) -> list[bytes | FanlightError]:
        """Take reports, all in one transaction; for each the signed receipt, or why it is not taken.

        Args:
            arrived: the reports.
            place: makes the vectors of some of them durable, and says where each one lies; nothing of the others, which
                are refused or here already, gets onto the disk.

        Raises:
            StorageError: none was taken.
        """
        hashes = {report.header.mh for report in arrived}
        with self._database.transaction() as tx:
            taking = _Taking(
                self._machine,
                {mh: round_table.by_hash(tx, mh).record for mh in hashes},
                {mh: held_reports.count(tx, mh) for mh in hashes},
                [held_reports.find(tx, report.header.mh, report.header.device) for report in arrived],
                int(self._clock()),
            )
            answers = [taking.answer(report) for report in arrived]
            new = taking.new
            places = place([report for report, _ in new]) if new else ()
            kept = [
                Kept(header.mh, Held(header.device, envelope), at, receipt)
                for ((envelope, header), receipt), at in zip(new, places, strict=True)
            ]
            held_reports.keep(tx, kept, self._clock())
        for one in kept:
            self._note(taking.records[one.mh], one)
        return answers

    def kept(self, mh: bytes, device: bytes) -> Kept | None:
        """A device's report, if we have one; its receipt outlives the file."""
        if self._reported[0] != mh and self._is_newest(mh):
            self.expect(mh)
        with self._database.reading() as tx:
            return held_reports.find(tx, mh, device)

    def needs(self, mh: bytes, device: bytes, file: str) -> bool:
        """Is ``file`` a report of a round that is not over?"""
        kept = self.kept(mh, device)
        return kept is not None and kept.place.file == file and self._record(mh).at not in TERMINAL

    def expect(self, mh: bytes) -> None:
        """Reports for this round, the newest one, are about to come: who has reported is in memory from now on."""
        with self._noting:  # what is stored after this reading is noted after it, and not lost
            if self._reported[0] != mh:
                with self._database.reading() as tx:
                    self._reported = mh, {held.device for held in held_reports.of_round(tx, mh)}

    def _note(self, record: Record, kept: Kept) -> None:
        device = kept.held.device
        with self._noting:
            newest, reported = self._reported
            if newest == kept.mh:
                reported.add(device)
        size = body_bytes(kept.held.envelope.encode(), record.terms.length)
        self._rounds.journal.took("report taken", record.number, kept.mh, device, size)

    def _is_newest(self, mh: bytes) -> bool:
        newest = self._rounds.latest()
        return newest is not None and newest.record.mh == mh

    def _record(self, mh: bytes) -> Record:
        """The round with this manifest; the newest one is in memory.

        Raises:
            NotFound: there is none.
        """
        newest = self._rounds.latest()
        if newest is not None and newest.record.mh == mh:
            return newest.record
        with self._database.reading() as tx:
            return round_table.by_hash(tx, mh).record


class _Taking:
    """Decides on one report after the other, as if those before were stored already."""

    def __init__(
        self,
        machine: Aggregator,
        records: Mapping[bytes, Record],
        counts: Mapping[bytes, int],
        kept: Iterable[Kept | None],
        now: int,
    ) -> None:
        self.records = records
        self.new: list[tuple[Arrived, bytes]] = []
        self._machine = machine
        self._counts = Counter(counts)
        self._held = {(one.mh, one.held.device): (one.held, one.receipt) for one in kept if one is not None}
        self._now = now

    def answer(self, report: Arrived) -> bytes | FanlightError:
        """The receipt, of which there is one for each report, or why there is none."""
        mh, device = at = report.header.mh, report.header.device
        held, receipt = self._held.get(at, (None, b""))
        try:
            step = self._machine.take_report(self.records[mh], held, self._counts[mh], *report, self._now)
        except FanlightError as error:
            return error
        if held is None:
            receipt = step.reply
            self._held[at] = Held(device, report.envelope), receipt
            self._counts[mh] += 1
            self.new.append((report, receipt))
        return receipt
