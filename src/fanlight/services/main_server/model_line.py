"""A running task with another head or backbone: a new line of models begins, with a version that knows nothing.

A version reads features in one way, of one length, so none can be taken over. Versions from before stay, and can be
exported, but not be made current again. It happens between two rounds: an open one without reports makes room for it.
The file is replaced first; a crash after that is made up for at the next start, also if it was edited by hand.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from typing import Final, NamedTuple

from sqlalchemy import Connection

from fanlight.errors import NotPossibleNow, SettingsError, StorageError
from fanlight.protocol import codec
from fanlight.protocol.exchange import Order
from fanlight.protocol.log import LogEntry
from fanlight.protocol.main_round import State
from fanlight.services.main_server import collected_sums, notes, policy_log, round_table
from fanlight.services.main_server.made_room import MadeRoom
from fanlight.services.main_server.models import Models
from fanlight.services.main_server.rounds import Rounds
from fanlight.services.main_server.scores import begin_anew
from fanlight.services.main_server.task_file import TaskFile
from fanlight.services.main_server.version_files import DAMAGED
from fanlight.services.server.chained_log import ChainedLog
from fanlight.storage.database import Database

NEW_LINE: Final = "new-line"
"""Type of the log entry; its payload is CBOR [version, head, backbone, its SHA-256]."""


class Wanted(NamedTuple):
    """The head and the backbone that the operator wants, by registry name."""

    head: str
    backbone: str


class ModelLine:
    """Begins them.

    Args:
        database, log, tasks, models, rounds: main's.
        clock: unix seconds.
    """

    def __init__(
        self,
        database: Database,
        log: ChainedLog,
        tasks: TaskFile,
        models: Models,
        rounds: Rounds,
        clock: Callable[[], float],
    ) -> None:
        self._database = database
        self._log = log
        self._tasks = tasks
        self._models = models
        self._rounds = rounds
        self._clock = clock
        self._changing = threading.Lock()

    def start(self) -> None:
        """Make the first version, or the first of a new line if the task's file has changed since main ran last.

        If the current version is damaged, that is not known; it is said in the log, and the operator can go back to
        another one.

        Raises:
            SettingsError: it has, under a round that is not over.
        """
        with self._database.transaction() as tx:
            self._models.ensure_first(tx, self._clock())
            if self._fits_or_is_damaged(tx):
                return
            line = round_table.latest_line(tx)
            if line is not None and not line.is_over:
                raise SettingsError(
                    f"The task has another head, backbone, picture size or classes than its models, and round "
                    f"{line.number} is not over.",
                    next="Undo the change in task.json, start the server, and change it on the page Task.",
                )
            self._begin(tx)

    def _fits_or_is_damaged(self, tx: Connection) -> bool:
        try:
            return self._models.current_fits(tx)
        except StorageError as error:
            if error.slug != DAMAGED:
                raise
            return True

    def want(self, head: str, backbone: str) -> None:
        """Have the next round begin a new line; nothing happens if the task has these already.

        Raises:
            SettingsError: there is no such head or backbone, or its sums would be too long.
            NotPossibleNow: the open round has reports, or is being added up.
        """
        changed = self._tasks.with_line(head, backbone)
        with self._database.transaction() as tx:
            if changed.plan == self._tasks.task.plan:
                notes.keep_text(tx, notes.LINE_NEXT, "")
                return
            line = round_table.latest_line(tx)
            if line is not None and not line.is_over and not self._can_give_way(tx, line):
                raise NotPossibleNow(
                    f"Round {line.number} is under way, and has reports for the present model. Nothing was changed.",
                    next="Wait until it is over, or abandon it on its page, with further rounds paused.",
                    slug="round-not-over",
                )
            notes.keep_text(tx, notes.LINE_NEXT, json.dumps(Wanted(head, backbone)))

    @staticmethod
    def waiting(tx: Connection) -> Wanted | None:
        """What is to begin when the round is over, if anything."""
        said = notes.read_text(tx, notes.LINE_NEXT)
        return Wanted(*json.loads(said)) if said else None

    def begin_now(self) -> bool:
        """Between two rounds, begin the line that is wanted; under one, have it make room. Was there anything to do?"""
        with self._database.reading() as tx:  # asked between any two rounds, and mostly in vain
            wanted = self.waiting(tx)
        if wanted is None:
            return False
        with self._changing:
            with self._database.transaction() as tx:
                line = round_table.latest_line(tx)
                if line is not None and not line.is_over:
                    if line.at is not State.OPEN or line.asked is not Order.NONE or round_table.arrived(tx, line.mh):
                        return False
                    self._rounds.ask(Order.ABANDON, tx, MadeRoom.FOR_RULES)
                    return True
                notes.keep_text(tx, notes.LINE_NEXT, "")
            self._tasks.change_line(wanted.head, wanted.backbone)
            with self._database.transaction() as tx:
                self._begin(tx)
                policy_log.follow(tx, self._log, self._tasks.task)  # it may want more devices in a sum
        return True

    def _begin(self, tx: Connection) -> None:
        task = self._tasks.task
        number = self._models.begin_line(tx, self._clock())
        collected_sums.forget(tx)
        notes.keep_all(tx, {notes.STOPPED: 0, notes.CHANGES_NEXT: 0, notes.CURRENT_NEXT: notes.NONE})
        begin_anew(tx, number)
        said = [number, task.head, task.backbone, bytes.fromhex(task.backbone_sha256)]
        self._log.append(tx, [LogEntry(NEW_LINE, codec.encode(said))])

    @staticmethod
    def _can_give_way(tx: Connection, line: round_table.RoundLine) -> bool:
        waits = line.at in (State.PROPOSED, State.OPEN)
        return waits and not (line.mh and round_table.arrived(tx, line.mh))
