"""The main server as its routes and pages use it: members, offers and orders, rounds, models, the steps by hand."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from sqlalchemy import ColumnElement, Connection, and_, delete, or_, select, update
from sqlalchemy.dialects.sqlite import insert

from fanlight.core.adaptive_clip import FIRST_CLIP
from fanlight.core.segments import check_layout
from fanlight.errors import NotAuthentic, NotEnrolled
from fanlight.protocol import identities, signing
from fanlight.protocol.contribution import expected_layout
from fanlight.protocol.exchange import MEMBERS, OFFER, ORDERS, Enrolments, Members, Offer, Order, Orders
from fanlight.protocol.log import LogEntry
from fanlight.protocol.main_round import State
from fanlight.protocol.main_server import MainServer
from fanlight.protocol.manifest import Proposal, invite
from fanlight.protocol.report import READINESS, Readiness
from fanlight.services.federation import ServerIdentity
from fanlight.services.http.jobs import Jobs
from fanlight.services.http.problems import Problem
from fanlight.services.http.waiting import Notifier
from fanlight.services.main_server import class_proposals, device_models, round_table
from fanlight.services.main_server.models import Models
from fanlight.services.main_server.presence import PRESENT_S, Presence
from fanlight.services.main_server.promotion import Promotion
from fanlight.services.main_server.proposals import Proposals
from fanlight.services.main_server.round_table import RoundLine
from fanlight.services.main_server.rounds import Rounds
from fanlight.services.main_server.task import TASK_FILE, Task
from fanlight.services.main_server.task_file import TaskFile
from fanlight.services.server.chained_log import ChainedLog
from fanlight.services.server.incidents import TOKEN_CONFLICT
from fanlight.services.server.membership import Membership
from fanlight.services.server.round_keys import RoundKeys
from fanlight.storage.database import Database
from fanlight.storage.folder_lock import FolderLock
from fanlight.storage.migrating import migrate
from fanlight.storage.tables import main as tables

ROLE: Final = "main"
AGGREGATOR = "aggregator"
"""Key id of the aggregator's requests."""
POLICY: Final = "policy"
"""Type of the log entry of a changed policy; its payload is JSON."""
NEWS_WAIT_S: Final = 1.0
"""How long news for devices may wait for the manifest of a round that is being opened."""


def _check_layout(task: Task) -> None:
    """Refuse a task whose rounds nobody could sum, before anybody is asked to.

    Raises:
        SettingsError, MalformedMessage: too many devices for the ring, or too long a vector.
    """
    policy = task.policy
    check_layout(expected_layout(task.plan, policy.n_max, round(FIRST_CLIP * 1e6), with_counts=True), policy.n_max)


class MainService:
    """Everything the main server does.

    Args:
        state: its folder.
        identity: its key and whom it trusts.
        clock: unix seconds.
        random_bytes: cryptographic source.
    """

    def __init__(
        self,
        state: Path,
        identity: ServerIdentity,
        clock: Callable[[], float],
        random_bytes: Callable[[int], bytes],
    ) -> None:
        self.identity = identity
        self.clock = clock
        self._tasks = TaskFile(state / TASK_FILE, _check_layout)
        self._lock = FolderLock(state)
        self._lock.acquire()
        self.database = Database(state / "state.sqlite3")
        migrate(self.database, ROLE)
        self.log = ChainedLog(tables.log, identity.trust.fid, ROLE)
        self.machine = MainServer(identity.private, identity.trust)
        self.models = Models(self._tasks)
        self.presence = Presence(clock)
        self.membership = Membership(self.database, tables.members, self.log, identity.trust, self._forget_device)
        keys = RoundKeys(state / "round-keys", random_bytes)
        self.proposals = Proposals(self.machine, self._tasks, self.models, keys, self.log, self.confirmed)
        self.rounds = Rounds(
            self.database, self.log, keys, self.models, self.proposals, self.machine, self.signers, clock
        )
        self.promotion = Promotion(self.database, self.log, self.models, self.rounds, clock)
        self.offers = Notifier()
        self.orders = Notifier()
        self.policy = Notifier()
        self.pages = Notifier()
        self.changed = threading.Condition()
        # two: whoever waits for a measuring round may aggregate and publish meanwhile
        workers = ThreadPoolExecutor(max_workers=2, thread_name_prefix="fanlight-job")
        self.jobs = Jobs(workers, on_change=self.pages.notify)
        # Versions of offers and orders must not repeat after a restart, or a waiting peer would miss a change.
        self._version_base = int(clock() * 1000)
        self._members_changes = 0
        self._news_since: float | None = None
        self._declined: dict[bytes, set[bytes]] = {}
        self.aggregator_seen_at: float | None = None
        self.policy_problem: Problem | None = None  # why the policy cannot go on
        self.membership.load()
        with self.database.transaction() as tx:
            self.models.ensure_first(tx, clock())
        self.rounds.destroy_old_keys()

    @property
    def task(self) -> Task:
        """The task as it is now."""
        return self._tasks.task

    def change_policy(self, **changes: Any) -> Task:
        """Change the policy from the next manifest on; see ``TaskFile.change_policy`` for what it raises."""
        task = self._tasks.change_policy(**changes)
        with self.database.transaction() as tx:
            self.log.append(tx, [LogEntry(POLICY, task.policy.model_dump_json().encode())])
        self.notify(offers=True, orders=True)
        return task

    def make_current(self, number: int, *, abandon: bool = False) -> bool:
        """Make another version the current one; see ``Promotion.make_current``."""
        changed = self.promotion.make_current(number, abandon=abandon)
        self.notify(offers=True, orders=True)
        return changed

    def wake_all(self) -> None:
        """The process ends: answer every request that waits, and let no other one wait."""
        for notifier in (self.offers, self.orders, self.policy, self.pages):
            notifier.close()

    def close(self) -> None:
        """Stop: wake everybody who waits, end the jobs and close the database."""
        self.wake_all()
        self.jobs.close()
        self.database.close()
        self._lock.release()

    # ---- changes ----------------------------------------------------------------------------------------------

    def notify(self, *, offers: bool = False, news: bool = False, orders: bool = False, members: bool = False) -> None:
        """Something changed: wake the policy, the pages, whoever waits for a step, and those whom it concerns.

        Args:
            offers: devices are woken now.
            news: devices are woken as soon as there is nothing that they would be woken for again in a moment.
            orders: the aggregator is woken.
            members: it is woken, and asks for the list of members.
        """
        self._members_changes += members
        if news and self._news_since is None:
            self._news_since = self.clock()
        if orders or members:
            self.orders.notify()
        if offers:
            self._wake_devices()
        self.policy.notify()
        self.pages.notify()
        with self.changed:
            self.changed.notify_all()

    def spread_news(self) -> None:
        """Wake the devices if there is news for them, unless a round is about to open, which will wake them anyway."""
        if self._news_since is None:
            return
        line = self.latest()
        soon = line is not None and line.at is State.PROPOSED and self.clock() - self._news_since < NEWS_WAIT_S
        if not soon:
            self._wake_devices()

    def _wake_devices(self) -> None:
        self._news_since = None
        self.offers.notify()

    def version_of(self, notifier: Notifier) -> int:
        """The version that long-polls compare."""
        return self._version_base + notifier.version

    async def wait_beyond(self, notifier: Notifier, after: int, timeout_s: float) -> None:
        """Return when the version differs from ``after``, or after ``timeout_s``."""
        if after == self.version_of(notifier):
            await notifier.wait_beyond(after - self._version_base, timeout_s)

    # ---- members ----------------------------------------------------------------------------------------------

    @property
    def members_version(self) -> int:
        """Changes whenever the list of members may have."""
        return self._version_base + self._members_changes

    def confirmed(self, tx: Connection) -> dict[bytes, bytes]:
        """Current public key by device, of those enrolled with one key at both servers and not revoked or gone."""
        return self._keys_where(tx, tables.devices.c.left_at.is_(None))

    def signers(self, tx: Connection, mh: bytes) -> dict[bytes, bytes]:
        """Whose reports count in a round: the confirmed, and who left after its receipt for the round was seen here."""
        columns = tables.devices.c
        reported = select(tables.beacons.c.dev).where(tables.beacons.c.mh == mh)
        return self._keys_where(tx, or_(columns.left_at.is_(None), columns.dev.in_(reported)))

    @staticmethod
    def _keys_where(tx: Connection, condition: ColumnElement[bool]) -> dict[bytes, bytes]:
        columns, there = tables.devices.c, tables.enrolled_at_aggregator.c
        rows = tx.execute(
            select(columns.dev, columns.public_key)
            .join(tables.enrolled_at_aggregator, there.dev == columns.dev)
            .where(columns.revoked_at.is_(None), condition)
        )
        return {row.dev: row.public_key for row in rows}

    def _forget_device(self, tx: Connection, device: bytes) -> None:
        """Delete what is kept of a device that has left; its receipt for the newest round counts until that is over."""
        values = {"ready_plan": None, "ready_model": None, "has_model": None}
        tx.execute(update(tables.devices).where(tables.devices.c.dev == device).values(**values))
        for table in (tables.class_proposals, tables.device_models):
            tx.execute(delete(table).where(table.c.dev == device))
        newest, columns = round_table.latest_line(tx), tables.beacons.c
        mine = columns.dev == device
        tx.execute(delete(tables.beacons).where(and_(mine, columns.mh != newest.mh) if newest else mine))
        self.presence.forget(device)

    def members(self) -> bytes:
        """The signed list of confirmed members, for the aggregator."""
        version = self.members_version  # read first: who is confirmed meanwhile makes another version
        with self.database.transaction() as tx:
            devices = tuple(sorted(self.confirmed(tx)))
        message = Members(fid=self.identity.trust.fid, version=version, devices=devices)
        return signing.sign(self.identity.private, MEMBERS, message.encode()).encode()

    def take_enrolments(self, data: bytes) -> None:
        """Enrolments that the aggregator has.

        Raises:
            NotAuthentic, MalformedMessage: see ``check_enrolment``. Expiry was the aggregator's to check.
        """
        known = tables.enrolled_at_aggregator
        members = [
            identities.check_enrolment(self.identity.trust.root_key, enrolment, 0)
            for enrolment in Enrolments.decode(data).enrolments
        ]
        with self.database.transaction() as tx:
            for member in members:
                row = insert(known).values(dev=member.device, token_key=member.token_key)
                tx.execute(row.on_conflict_do_nothing())
        self.members_changed()

    def members_changed(self) -> None:
        """Somebody enrolled at one of the servers, or was revoked: the aggregator asks for the list again.

        A token that one device used here and another one there makes neither a member; it is logged.
        """
        here, there = tables.devices.c, tables.enrolled_at_aggregator.c
        with self.database.transaction() as tx:
            other = select(here.enrolment).join(tables.enrolled_at_aggregator, there.token_key == here.token_key)
            for enrolment in tx.execute(other.where(there.dev != here.dev)).scalars().all():
                self.log.append_once(tx, LogEntry(TOKEN_CONFLICT, enrolment))
        self.notify(members=True)

    def take_readiness(self, device: bytes, data: bytes) -> None:
        """Step 2 of a device: it has trained on this plan and model.

        Raises:
            NotAuthentic: not that device's, or for another federation.
        """
        public_key = self.membership.public_keys().get(device)
        if public_key is None:
            raise NotEnrolled("This device is not a member (any more).", device=device.hex())
        readiness = Readiness.decode(signing.verify_bytes(public_key, READINESS, data))
        if (readiness.fid, readiness.device) != (self.identity.trust.fid, device):
            raise NotAuthentic("The readiness is another device's.")
        with self.database.transaction() as tx:
            self._set_device(tx, device, ready_plan=readiness.plan, ready_model=readiness.model)
            if readiness.plan == self.task.plan.hash:
                line = round_table.latest_line(tx)
                since = line.opened_at if line is not None and line.opened_at else 0.0
                device_models.note_ready(tx, device, readiness.model, since, self.clock())
        self.notify()

    def take_class_proposal(self, device: bytes, data: bytes) -> None:
        """A device's owner would like another class; see ``class_proposals.take`` for what it raises."""
        with self.database.transaction() as tx:
            class_proposals.take(tx, device, data, self.task.classes, self.clock())
        self.pages.notify()

    def take_acknowledgement(self, device: bytes, sha256: bytes) -> None:
        """A device has fetched and verified a model.

        Raises:
            NotFound: there is no such model.
        """
        with self.database.transaction() as tx:
            self.models.content(tx, sha256)
            self._set_device(tx, device, has_model=sha256)
            device_models.note_fetched(tx, device, sha256, self.clock())
        self.notify()

    @staticmethod
    def _set_device(tx: Connection, device: bytes, **values: bytes) -> None:
        tx.execute(update(tables.devices).where(tables.devices.c.dev == device).values(**values))

    # ---- what devices and the aggregator ask for --------------------------------------------------------------

    def offer(self, device: bytes) -> bytes:
        """The signed offer for a device."""
        version = self.version_of(self.offers)
        with self.database.transaction() as tx:
            model = self.models.current(tx)
            stored = round_table.latest(tx)
        manifest = invitation = None
        if stored is not None and stored.at is State.OPEN:
            record = stored.record
            if not record.cohort or device in record.cohort:
                manifest = record.manifest
                invitation = invite(self.identity.private, record.mh, device) if record.cohort else None
        message = Offer(
            fid=self.identity.trust.fid,
            version=version,
            by_itself=self.task.policy.by_itself,
            plan=self.task.plan.encode(),
            model=model.sha256,
            model_version=model.number,
            manifest=manifest,
            invitation=invitation,
        )
        return signing.sign(self.identity.private, OFFER, message.encode()).encode()

    def current_orders(self) -> bytes:
        """The signed orders for the aggregator."""
        version = self.version_of(self.orders)
        members_version = self.members_version
        with self.database.transaction() as tx:
            stored = round_table.latest(tx)
        cohort: tuple[bytes, ...] = ()
        proposal, order, mh = None, Order.NONE, b""
        if stored is not None:
            record = stored.record
            mh, order = record.mh, stored.asked
            if stored.at is State.PROPOSED:
                proposal, cohort = Proposal.decode(record.proposal).encode(), record.cohort
        message = Orders(
            fid=self.identity.trust.fid,
            version=version,
            members_version=members_version,
            order=order.value,
            mh=mh,
            proposal=proposal,
            cohort=cohort,
        )
        return signing.sign(self.identity.private, ORDERS, message.encode()).encode()

    def resolve_aggregator(self, key_id: str) -> Ed25519PublicKey | None:
        """The aggregator's key under its one key id (for request signatures)."""
        return Ed25519PublicKey.from_public_bytes(self.identity.trust.aggregator_key) if key_id == AGGREGATOR else None

    def see_aggregator(self) -> None:
        """The aggregator asks for orders: it is there."""
        self.aggregator_seen_at = self.clock()

    @property
    def aggregator_connected(self) -> bool:
        """Has the aggregator asked for orders a moment ago?"""
        seen = self.aggregator_seen_at
        return seen is not None and self.clock() - seen < 2 * PRESENT_S

    def model(self, sha256: bytes) -> bytes:
        """A published model's file by its hash.

        Raises:
            NotFound: there is none.
        """
        with self.database.transaction() as tx:
            return self.models.content(tx, sha256)

    def latest(self) -> RoundLine | None:
        """The newest round."""
        with self.database.transaction() as tx:
            return round_table.latest_line(tx)

    def decline(self, mh: bytes, device: bytes) -> None:
        """A device will not report in this round: nobody needs to wait for it.

        Raises:
            NotFound: there is no such round.
        """
        with self.database.transaction() as tx:
            round_table.by_hash(tx, mh)
        if mh not in self._declined:
            self._declined = {mh: set()}  # those of earlier rounds are of no use any more
        self._declined[mh].add(device)
        self.notify()

    def declined(self, mh: bytes) -> set[bytes]:
        """The devices that have said they will not report in this round."""
        return self._declined.get(mh, set())
