"""The main server as its routes and pages use it: members, offers and orders, rounds, models, the steps by hand."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final, NamedTuple

from sqlalchemy import Connection

from fanlight.core.adaptive_clip import FIRST_CLIP
from fanlight.core.segments import check_layout
from fanlight.errors import NotPossibleNow
from fanlight.learning.heads import HeadKind
from fanlight.protocol import identities
from fanlight.protocol.contribution import expected_layout
from fanlight.protocol.exchange import Change, Enrolments, Order
from fanlight.protocol.log import LogEntry
from fanlight.protocol.main_round import State
from fanlight.protocol.main_server import MainServer
from fanlight.protocol.plan import Kind
from fanlight.services.federation import BACKBONES_FOLDER, TASK_FILE, ServerIdentity
from fanlight.services.http.jobs import Jobs
from fanlight.services.http.problems import Problem
from fanlight.services.http.waiting import Notifier
from fanlight.services.main_server import (
    changing_sums,
    collected_sums,
    members,
    notes,
    policy_log,
    quarantine,
    round_table,
)
from fanlight.services.main_server.changers import Changers
from fanlight.services.main_server.made_room import MadeRoom
from fanlight.services.main_server.model_line import ModelLine
from fanlight.services.main_server.models import Models
from fanlight.services.main_server.news import News
from fanlight.services.main_server.outcomes import Outcomes
from fanlight.services.main_server.pace import pause_s
from fanlight.services.main_server.presence import PRESENT_S, Presence
from fanlight.services.main_server.promotion import Promotion
from fanlight.services.main_server.proposals import Proposals
from fanlight.services.main_server.published_backbones import PublishedBackbones
from fanlight.services.main_server.round_table import RoundLine
from fanlight.services.main_server.rounds import Opened, Rounds
from fanlight.services.main_server.stragglers import WaitingRules
from fanlight.services.main_server.task import Task
from fanlight.services.main_server.task_file import TaskFile
from fanlight.services.main_server.version_files import MODELS_FOLDER, VersionFiles
from fanlight.services.server.chained_log import ChainedLog
from fanlight.services.server.incidents import TOKEN_CONFLICT
from fanlight.services.server.membership import Membership
from fanlight.services.server.round_keys import RoundKeys
from fanlight.storage.database import DATABASE_FILE, Database
from fanlight.storage.folder_lock import FolderLock
from fanlight.storage.migrating import migrate
from fanlight.storage.tables import main as tables

ROLE: Final = "main"
AGGREGATOR = "aggregator"
"""Key id of the aggregator's requests."""
COLLECT_ANEW: Final = "collect-anew"
"""Type of the log entry: the head is to be solved anew; its payload is empty."""
TAKE_CHANGES: Final = "take-changes"
"""Type of the log entry: the next round is to take in what has changed on devices; its payload is empty."""
PATIENCE_ROUNDS: Final = 5
"""After so many rounds that got no better they end, where rounds were let run by themselves without a rule for that."""


def _check_layout(task: Task) -> None:
    """Refuse a task whose rounds nobody could sum, or whose devices share nothing, before anybody is asked to.

    Raises:
        SettingsError, MalformedMessage: too many devices for the ring, or too long a vector; see ``check_at_home``.
    """
    task.check_at_home()
    n_max, update_bits = task.policy.n_max, task.policy.update_bits
    clip_micro = round(FIRST_CLIP * 1e6)
    solved = HeadKind(task.head).is_solved
    for kind in (Kind.TRAIN, Kind.STATISTICS, Kind.CHANGES) if solved else (Kind.TRAIN,):
        plan = task.plan.of_kind(kind)
        check_layout(expected_layout(plan, n_max, clip_micro, with_counts=True, update_bits=update_bits), n_max)


class Newest(NamedTuple):
    """The newest round, if there is one, whom it waits for, and whether another line of models is to follow it."""

    line: RoundLine | None
    rules: WaitingRules
    wants_model_line: bool


class MainService:
    """Everything the main server does.

    Args:
        state: its folder.
        identity: its key and whom it trusts.
        clock: unix seconds: for what is stored and shown, and the quiet hours.
        monotonic: seconds that only grow: for how long something takes or is ago.
        random_bytes: cryptographic source.
    """

    def __init__(
        self,
        state: Path,
        identity: ServerIdentity,
        clock: Callable[[], float],
        monotonic: Callable[[], float],
        random_bytes: Callable[[int], bytes],
    ) -> None:
        self.identity = identity
        self.clock = clock
        self.monotonic = monotonic
        self._tasks = TaskFile(state / TASK_FILE, _check_layout)
        self.backbones = PublishedBackbones(state / BACKBONES_FOLDER, lambda: self.task)
        self._changing_policy = threading.Lock()
        self._lock = FolderLock(state)
        self._lock.acquire()
        self.database = Database(state / DATABASE_FILE)
        migrate(self.database, ROLE)
        self.log = ChainedLog(tables.logs, identity.trust.fid, ROLE, clock)
        self.machine = MainServer(identity.private, identity.trust)
        self.models = Models(self._tasks, self.backbones, VersionFiles(state / MODELS_FOLDER))
        self.presence = Presence(monotonic, lambda: self.pause_s)
        self.changers = Changers()
        self.membership = Membership(self.database, tables.members, self.log, identity.trust, self._forget)
        keys = RoundKeys(state / "round-keys", random_bytes)
        self.proposals = Proposals(self.machine, self._tasks, self.models, keys, self.log, self.presence)
        self.rounds = Rounds(
            self.database, self.log, keys, self.models, self.proposals, self.machine, self.changers, clock, monotonic
        )
        self.outcomes = Outcomes(self.database, self.machine)
        self.promotion = Promotion(self.database, self.log, self.models, self.rounds, clock)
        self.line = ModelLine(self.database, self.log, self._tasks, self.models, self.rounds, clock)
        self.pages = Notifier()
        self.news = News(clock, monotonic, self.pages)
        # two: whoever waits for a measuring round may aggregate and publish meanwhile
        workers = ThreadPoolExecutor(max_workers=2, thread_name_prefix="fanlight-job")
        self.jobs = Jobs(workers, on_change=self.pages.notify)
        self._newest = functools.lru_cache(maxsize=1)(self._read_newest)
        self._aggregator_seen: float | None = None  # on the monotonic clock
        self.policy_problem: Problem | None = None  # why the policy cannot go on
        self.membership.load()
        self.line.start()
        with self.database.transaction() as tx:
            policy_log.follow(tx, self.log, self.task)
        self.rounds.destroy_old_keys()

    @property
    def task(self) -> Task:
        """The task as it is now."""
        return self._tasks.task

    @property
    def pause_s(self) -> int:
        """Within how many seconds devices come back that have nothing to do."""
        return pause_s(len(self.membership.public_keys()), self.task.policy.polls_per_second)

    def change_policy(self, **changes: Any) -> Task:
        """Change the policy from the next manifest on; see ``TaskFile.change_policy`` for what it raises."""
        # in the transaction, or a round might be proposed half by the old rules and half by the new ones
        with self._changing_policy, self.database.transaction() as tx:
            before, task = self.task.policy, self._tasks.change_policy(**changes)
            policy_log.follow(tx, self.log, task)
        self.news.tell(offers=task.policy.by_itself != before.by_itself)  # which offers say between two rounds
        return task

    def change_algorithm(self, **choice: Any) -> Task:
        """Change the algorithm from the next manifest on; for what it raises see ``TaskFile.change_algorithm``.

        A round that is open keeps its own. But where devices are to do something else, they get another plan, and can
        answer it no more: without a report it is abandoned for that.

        Raises:
            NotPossibleNow: it has reports.
            SettingsError: the algorithm makes nothing of the tensors of the version that the next round starts from.
        """

        def check(tx: Connection, task: Task) -> None:
            waiting = self.promotion.waiting(tx)
            start = self.models.current(tx) if waiting is None else self.models.version(tx, waiting)
            self.models.check_algorithm(tx, task.algorithm.algorithm, start)

        return self._change_plan(
            lambda task: task.with_algorithm(choice), lambda: self._tasks.change_algorithm(**choice), check
        )

    def change_augmentation(self, **choice: Any) -> Task:
        """Change how pictures are varied from the next manifest on; see ``TaskFile.change_augmentation``.

        The rest as in ``change_algorithm``.
        """
        return self._change_plan(
            lambda task: task.with_augmentation(choice), lambda: self._tasks.change_augmentation(**choice)
        )

    def change_class_weights(self, **choice: Any) -> Task:
        """Change by what classes weigh from the next manifest on; see ``TaskFile.change_class_weights``.

        The rest as in ``change_algorithm``.
        """
        return self._change_plan(
            lambda task: task.with_class_weights(choice), lambda: self._tasks.change_class_weights(**choice)
        )

    def _change_plan(
        self,
        wanted: Callable[[Task], Task],
        change: Callable[[], Task],
        check: Callable[[Connection, Task], None] = lambda _tx, _task: None,
    ) -> Task:
        def prepare(tx: Connection) -> None:
            task = wanted(self.task)
            check(tx, task)
            if task.plan != self.task.plan:
                self._make_room_for_another_plan(tx)

        with self._changing_policy:
            with self.database.transaction() as tx:  # of its own: a crash may leave room unused, but not rules without
                prepare(tx)
            with self.database.transaction() as tx:  # again: another version, or a round, may have come in between
                prepare(tx)
                task = change()
                policy_log.follow(tx, self.log, task)
        self.news.tell(offers=True, orders=True)
        return task

    def change_line(self, head: str, backbone: str) -> None:
        """Have a new line of models begin, with this head and backbone; see ``ModelLine.want`` for what it raises."""
        with self._changing_policy:
            self.line.want(head, backbone)
        self.news.tell()

    def collect_anew(self) -> None:
        """Have the head solved anew in the next round, from the pictures that all devices have then.

        So new pictures and devices come in, and who has left is out. An open round without reports makes room for it.

        Raises:
            NotPossibleNow: the head is not solved from sums, or the open round has reports.
        """
        if not HeadKind(self.task.head).is_solved:
            raise NotPossibleNow(
                f"The head {self.task.head} is not solved from sums.",
                next="Choose the head analytic or prototypes on the page Task.",
                slug="not-solved",
            )
        with self._changing_policy, self.database.transaction() as tx:
            self._make_room_for_another_plan(tx)
            collected_sums.forget(tx)
            notes.keep(tx, notes.CHANGES_NEXT, 0)
            self.log.append(tx, [LogEntry(COLLECT_ANEW, b"")])
        self.news.tell(offers=True, orders=True)

    def take_changes(self) -> None:
        """Have the next round take in what devices report to have changed; an open one without reports makes room.

        Raises:
            NotPossibleNow: the head was not solved yet; too few devices report changes, or too few would be left; or
                the open round has reports.
        """
        with self.database.reading() as tx:
            found = changing_sums.as_json(tx, self.task, self.changers, self.presence)
            enough = changing_sums.are_enough(tx, self.task, self.changers, self.presence)
        if found is None:
            raise NotPossibleNow(
                "There are no sums yet that a round could change.",
                next="Wait for the round that the head is solved in.",
                slug="not-solved",
            )
        if not enough:
            reporting = sum(found[change] for change in Change)
            raise NotPossibleNow(
                f"{reporting} devices report changes. A sum needs {found['needed']}, and has to leave "
                f"{self.task.policy.k_min} that are counted.",
                next="Wait for more; who leaves waits for company.",
                slug="too-few-changes",
            )
        with self._changing_policy, self.database.transaction() as tx:
            self._make_room_for_another_plan(tx)
            notes.keep(tx, notes.CHANGES_NEXT, 1)
            self.log.append(tx, [LogEntry(TAKE_CHANGES, b"")])
        self.news.tell(offers=True, orders=True)

    def _make_room_for_another_plan(self, tx: Connection) -> None:
        line = round_table.latest_line(tx)
        if line is None or line.at is not State.OPEN:
            return
        if round_table.arrived(tx, line.mh):
            raise NotPossibleNow(
                f"Round {line.number} is under way, and has reports by another plan. Nothing was changed.",
                next="Wait until it is over, or abandon it on its page, with further rounds paused.",
                slug="round-not-over",
            )
        self.rounds.ask(Order.ABANDON, tx, MadeRoom.FOR_RULES)

    def run_by_itself(self) -> Task:
        """Let rounds run by themselves; if no rule ends them yet, until some in a row got no better."""
        policy = self.task.policy
        endless = not (policy.rounds or policy.patience_rounds)
        return self.change_policy(by_itself=True, **({"patience_rounds": PATIENCE_ROUNDS} if endless else {}))

    def make_current(self, number: int, *, abandon: bool = False) -> bool:
        """Make another version the current one; see ``Promotion.make_current``."""
        changed = self.promotion.make_current(number, abandon=abandon)
        self.news.tell(offers=True, orders=True)
        return changed

    def why_policy_stands(self) -> str:
        """Why the policy cannot go on, for everybody to read; empty if it can."""
        return "Rounds cannot go on; the log and the overview say why." if self.policy_problem else ""

    def close(self) -> None:
        """Stop: wake everybody who waits, end the jobs and close the database."""
        self.news.close()
        self.jobs.close()
        self.database.close()
        self._lock.release()

    # ---- members ----------------------------------------------------------------------------------------------

    def _forget(self, tx: Connection, device: bytes) -> None:
        members.forget(tx, device)
        self.presence.forget(device)
        self.changers.forget(device)

    def take_enrolments(self, data: bytes) -> None:
        """Enrolments that the aggregator has.

        Raises:
            NotAuthentic, MalformedMessage: see ``check_enrolment``. Expiry was the aggregator's to check.
        """
        enrolled = [
            identities.check_enrolment(self.identity.trust.root_key, enrolment, 0)
            for enrolment in Enrolments.decode(data).enrolments
        ]
        with self.database.transaction() as tx:
            members.take_from_aggregator(tx, enrolled)
        self.members_changed()

    def readmit(self, device: bytes) -> None:
        """Let a device that is left out take part again from the next round on; see ``quarantine.readmit``."""
        with self.database.transaction() as tx:
            quarantine.readmit(tx, self.log, device)
        self.news.tell()

    def members_changed(self) -> None:
        """Somebody enrolled at one of the servers, or was revoked: the aggregator asks for the list again.

        A token that one device used here and another one there makes neither a member; it is logged.
        """
        with self.database.transaction() as tx:
            for enrolment in members.with_a_token_of_another(tx):
                self.log.append_once(tx, LogEntry(TOKEN_CONFLICT, enrolment))
        self.news.tell(members=True)

    # ---- what its routes ask ----------------------------------------------------------------------------------

    def resolve_aggregator(self, key_id: str) -> bytes | None:
        """The aggregator's key under its one key id (for request signatures)."""
        return self.identity.trust.aggregator_key if key_id == AGGREGATOR else None

    def see(self, device: bytes) -> None:
        """A device has asked for something: it is there."""
        if self.presence.see(device):
            self.pages.notify()
            if self.task.policy.cohort_size:
                self.news.policy.notify()  # which may wait for somebody to draw

    def lose(self, device: bytes, since: float) -> None:
        """A device's connection broke, see ``Presence.lose``: a round may wait for nobody else."""
        self.presence.lose(device, since)
        self.news.policy.notify()

    def tell_opened(self, opened: Opened) -> None:
        """A round has opened: devices may report, or the aggregator is to give it up."""
        self.news.tell(offers=not opened.withdrawn and (opened.cohort or True), orders=opened.withdrawn)

    def see_aggregator(self) -> None:
        """The aggregator asks for orders: it is there."""
        was_away = not self.aggregator_connected
        self._aggregator_seen = self.monotonic()
        if was_away:
            self.news.policy.notify()  # which proposes nothing while nobody would answer
            self.pages.notify()

    @property
    def aggregator_connected(self) -> bool:
        """Has the aggregator asked for orders a moment ago?"""
        seen = self._aggregator_seen
        return seen is not None and self.monotonic() - seen < 2 * PRESENT_S

    def model(self, sha256: bytes) -> bytes:
        """A published model's file by its hash.

        Raises:
            NotFound: there is none.
        """
        with self.database.reading() as tx:
            return self.models.content(tx, sha256)

    def newest(self) -> Newest:
        """The newest round and its rules; read only after something has changed, for they are asked for many times."""
        return self._newest(self.database.commits)

    def latest(self) -> RoundLine | None:
        """The newest round."""
        return self.newest().line

    def _read_newest(self, _commits: int) -> Newest:
        with self.database.reading() as tx:
            rules = WaitingRules.of_newest(tx, self.task.policy)
            return Newest(round_table.latest_line(tx), rules, ModelLine.waiting(tx) is not None)
