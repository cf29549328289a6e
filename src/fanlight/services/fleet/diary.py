"""What a simulated device keeps from one run to the next: a file that grows by a line whenever something happens.

A line is written before the first byte of a report is sent, so a device that is started again answers nothing twice,
and asks what became of the reports it has sent. Nobody waits until lines are on the disk: after a power cut the last
ones may be gone. Masked vectors are not kept: what was not delivered when the process ended is lost, as of a device
that breaks.

::

    {"enrolled": true}
    {"mh", "at", "key", "record", "remembers", "collection"}     a report was built
    {"ended": mh, "result", "included", "key"}                   its round is over
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from fanlight.errors import StorageError, from_os_error
from fanlight.learning.algorithms.lineage import Lineage
from fanlight.protocol.closing import Result
from fanlight.protocol.device_round import SECONDS_PER_DAY, End, History, Record
from fanlight.protocol.plan import Kind
from fanlight.storage.folders import OWNER_ONLY_FILE, make_private_folder

MOST_REMEMBERED: Final = 2
"""Going back further than by a version begins anew; a deployed device, which is alone on its disk, remembers more."""


@dataclass(frozen=True)
class Sent:
    """A report whose round is not over.

    Attributes:
        record: of the protocol.
        remembers: does the algorithm leave something if it counts?
        collection: the round that began to collect the sums that it is counted in, if it counts; None: of no sums.
    """

    record: Record
    remembers: bool = False
    collection: int | None = None


class Diary:
    """One device's.

    Args:
        path: the file; made if missing.

    Attributes:
        enrolled: at both servers.
        pending: reports by manifest hash whose rounds are not over.
        collection: the round that began to collect the sums in which this device is counted; None: in none.

    Raises:
        StorageError: it cannot be read, or is damaged.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self.enrolled = False
        self.pending: dict[bytes, Sent] = {}
        self.collection: int | None = None
        self._answered: dict[bytes, bytes] = {}
        self._times: list[int] = []
        self._remembered: list[int] = []
        make_private_folder(path.parent)
        try:
            lines = path.read_text(encoding="utf-8").splitlines(keepends=True) if path.exists() else []
            whole = [line for line in lines if line.endswith("\n")]
            if whole != lines:  # the process ended while it wrote the last one
                os.truncate(path, len("".join(whole).encode()))
        except OSError as error:
            raise from_os_error(error, str(path)) from error
        except UnicodeDecodeError as error:
            raise self._damaged() from error
        try:
            for line in whole:
                self._take(json.loads(line))
        except (ValueError, KeyError, TypeError) as error:
            raise self._damaged() from error

    def enrol(self, *, done: bool = True) -> None:
        """It is a member at both servers; or a server has forgotten it."""
        self._note({"enrolled": done})

    def commit(self, sent: Sent) -> None:
        """A report was built; nothing of it has been sent yet."""
        record = sent.record
        self._note(
            {
                "mh": record.mh.hex(),
                "at": record.committed_at,
                "key": record.answer_key.hex(),
                "record": record.with_(chunks=b"").encode().hex(),
                "remembers": sent.remembers,
                "collection": sent.collection,
            }
        )

    def end(self, end: End) -> None:
        """A report's round is over."""
        mh, key = end.record.mh.hex(), end.record.answer_key.hex()
        self._note({"ended": mh, "result": end.result.value, "included": end.was_included, "key": key})

    def history(self, key: bytes, now: int) -> History:
        """What was answered under an ``answer_key``, and how often at all in the day before ``now``."""
        answered = {key: self._answered[key]} if key in self._answered else {}
        return History(answered, sum(at >= now - SECONDS_PER_DAY for at in self._times))

    def remembered(self, lineage: Lineage | None) -> int | None:
        """The round whose memory holds when it trains from a version that comes of these: the last that it was in."""
        return next((number for number in reversed(self._remembered) if lineage and number in lineage), None)

    @property
    def memories(self) -> frozenset[int]:
        """The rounds whose memory counts, or may come to."""
        open_rounds = {sent.record.number for sent in self.pending.values() if sent.remembers}
        return frozenset(open_rounds | set(self._remembered))

    @property
    def waits_for_sums(self) -> bool:
        """Is it not known yet whether its sums are counted?"""
        return any(Kind(sent.record.kind).sums for sent in self.pending.values())

    def _note(self, line: Mapping[str, Any]) -> None:
        data = (json.dumps(line, separators=(",", ":")) + "\n").encode()
        try:
            handle = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, OWNER_ONLY_FILE)
            with os.fdopen(handle, "ab") as file:
                file.write(data)
        except OSError as error:
            raise from_os_error(error, str(self._path)) from error
        self._take(line)

    def _take(self, line: Mapping[str, Any]) -> None:
        if "enrolled" in line:
            self.enrolled = bool(line["enrolled"])
        elif "ended" in line:
            self._end(line)
        else:
            mh, record = bytes.fromhex(line["mh"]), Record.decode(bytes.fromhex(line["record"]))
            self.pending[mh] = Sent(record, bool(line["remembers"]), line["collection"])
            self._answered[bytes.fromhex(line["key"])] = mh
            self._times.append(int(line["at"]))

    def _end(self, line: Mapping[str, Any]) -> None:
        sent = self.pending.pop(bytes.fromhex(line["ended"]), None)
        if line["result"] == Result.ABANDONED:  # it may be answered again
            self._answered.pop(bytes.fromhex(line["key"]), None)
        if sent is None or not (line["result"] == Result.RELEASED and line["included"]):
            return
        if sent.remembers:
            self._remembered = [*self._remembered, sent.record.number][-MOST_REMEMBERED:]
        if sent.collection is not None:
            self.collection = sent.collection

    def _damaged(self) -> StorageError:
        return StorageError(
            f"{self._path} is damaged.", next="Give new devices a folder and tokens of their own.", slug="damaged-file"
        )
