"""Which version is current: the operator can go back to an older one, and forward again; so can rules of the policy.

No version is deleted. Going back (or forward) raises the attempt of the next round, so that devices which have answered
for that model before may answer again. It never happens under an open round, whose manifest names the other model: the
round is finished first, or abandoned for it; then the change waits until the round is over.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from typing import Any, Final

from sqlalchemy import Connection, insert, select

from fanlight.errors import NotPossibleNow, SettingsError
from fanlight.protocol import codec
from fanlight.protocol.exchange import Order
from fanlight.protocol.log import LogEntry
from fanlight.services.main_server import device_models, notes, round_table
from fanlight.services.main_server.made_room import MadeRoom
from fanlight.services.main_server.models import Models, Version
from fanlight.services.main_server.rounds import Rounds
from fanlight.services.main_server.scores import begin_anew
from fanlight.services.server.chained_log import ChainedLog
from fanlight.storage.database import Database
from fanlight.storage.tables.main import current_changes, model_notes

CURRENT_MODEL: Final = "current-model"
"""Type of the log entry; its payload is CBOR [from version, to version]."""
LONGEST_NOTE: Final = 10_000


class Reason(StrEnum):
    """Why another version became current."""

    BY_HAND = "by-hand"
    NO_BETTER = "no-better"
    DROPPED = "dropped"
    BEST = "best"
    """The rounds were over, and another version was the best one."""


class Promotion:
    """Changes which version is current.

    Args:
        database, log, models, rounds: main's.
        clock: unix seconds.
    """

    def __init__(
        self, database: Database, log: ChainedLog, models: Models, rounds: Rounds, clock: Callable[[], float]
    ) -> None:
        self._database = database
        self._log = log
        self._models = models
        self._rounds = rounds
        self._clock = clock

    def make_current(self, number: int, *, abandon: bool = False) -> bool:
        """Make version ``number`` the one that devices fetch; returns whether it is so now.

        Args:
            number: of a published version.
            abandon: give up the open round for it, and the reports that have arrived for it. One without a report gives
                way anyhow; the change follows as soon as the round is over.

        Raises:
            NotFound: there is no such version.
            NotPossibleNow: it is current already or not published, or a round is under way that has reports.
            SettingsError: the task's algorithm can make nothing of it.
        """
        with self._database.transaction() as tx:
            version = self._models.version(tx, number)
            self._check(tx, version)
            line = round_table.latest_line(tx)
            if line is None or line.is_over:
                self._change(tx, version, Reason.BY_HAND)
                return True
            if not abandon and round_table.arrived(tx, line.mh):
                raise NotPossibleNow(
                    f"Round {line.number} is under way, and starts from another version. Nothing was changed.",
                    next=f"Wait until it is over, or tick “Abandon round {line.number}” on the page of this change "
                    "(by the API: abandon = true).",
                    slug="round-not-over",
                )
            self._rounds.ask(Order.ABANDON, tx, MadeRoom.FOR_VERSION)
            notes.keep(tx, notes.CURRENT_NEXT, number)
            return False

    def change_now(self) -> bool:
        """Between two rounds: make the change that waited for the last one's end, if there is one; was there?"""
        with self._database.reading() as tx:  # asked between any two rounds, and mostly in vain
            if self.waiting(tx) is None:
                return False
        with self._database.transaction() as tx:
            number, line = self.waiting(tx), round_table.latest_line(tx)
            if number is None or (line is not None and not line.is_over):
                return False
            self._change(tx, self._models.version(tx, number), Reason.BY_HAND)
        return True

    def restore(self, tx: Connection, number: int, reason: Reason) -> bool:
        """Between two rounds: make version ``number`` current because a rule says so; returns whether it has become so.

        One that the task's algorithm can make nothing of does not: no rule may choose what nobody can.
        """
        version = self._models.version(tx, number)
        if number == self._models.current(tx).number:
            return False
        try:
            self._models.check_goes_on(tx, version)
        except SettingsError:
            return False
        self._change(tx, version, reason)
        return True

    @staticmethod
    def waiting(tx: Connection) -> int | None:
        """The version that becomes current when the round is over, if one is to."""
        number = notes.read(tx, notes.CURRENT_NEXT, notes.NONE)
        return None if number == notes.NONE else number

    @staticmethod
    def changes(tx: Connection, limit: int = 50) -> list[dict[str, Any]]:
        """When which version became current by hand or by a rule, newest first; ``reason``: see ``Reason``."""
        columns = current_changes.c
        rows = tx.execute(select(current_changes).order_by(columns.seq.desc()).limit(limit))
        return [
            {"at": row.changed_at, "from": row.from_version, "to": row.to_version, "reason": row.reason} for row in rows
        ]

    def write_note(self, number: int, text: str) -> None:
        """Keep the operator's words about a version; empty ones are forgotten.

        Raises:
            NotFound: there is no such version.
            SettingsError: too long.
        """
        if len(text) > LONGEST_NOTE:
            raise SettingsError(f"A note has at most {LONGEST_NOTE:,} characters.", next="Shorten it.")
        where = model_notes.c.version == number
        with self._database.transaction() as tx:
            self._models.version(tx, number)
            tx.execute(model_notes.delete().where(where))
            if text.strip():
                tx.execute(insert(model_notes).values(version=number, text=text.strip()))

    @staticmethod
    def notes(tx: Connection, first: int, last: int) -> dict[int, str]:
        """The operator's words about those of the versions ``first`` to ``last`` that there are some about."""
        rows = tx.execute(select(model_notes).where(model_notes.c.version.between(first, last)))
        return {row.version: row.text for row in rows}

    def _check(self, tx: Connection, version: Version) -> None:
        if not version.published:
            raise NotPossibleNow(
                f"Version {version.number} is not published yet.",
                next="Publish it (/send_model_clients).",
                slug="not-published",
            )
        if not self._models.fits(tx, version):
            raise NotPossibleNow(
                f"Version {version.number} has another head or backbone than the task has now.",
                next="Export it, or choose a version since then; the page Task changes the head.",
                slug="another-line",
            )
        if version.number == self._models.current(tx).number and self.waiting(tx) is None:
            raise NotPossibleNow(
                f"Version {version.number} is the current one.",
                slug="current-already",
                next="Devices fetch it already. For another one, choose it among all versions (/models).",
            )
        self._models.check_goes_on(tx, version)

    def _change(self, tx: Connection, version: Version, reason: Reason) -> None:
        before = self._models.current(tx).number
        notes.keep(tx, notes.CURRENT_NEXT, notes.NONE)
        if before == version.number:
            return
        self._models.set_current(tx, version.number)
        device_models.forget_ready(tx, version.sha256)
        begin_anew(tx, version.number)
        notes.keep(tx, notes.ATTEMPT_UP, 1)
        values = {"changed_at": self._clock(), "from_version": before, "to_version": version.number, "reason": reason}
        tx.execute(insert(current_changes).values(**values))
        self._log.append(tx, [LogEntry(CURRENT_MODEL, codec.encode([before, version.number]))])
