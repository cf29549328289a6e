"""The secure aggregator as its routes and pages use it: members, rounds, what it holds, and its work with main."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import structlog

from fanlight.core.segments import layout_length
from fanlight.errors import Conflict, FanlightError, NotFound, NotPossibleNow, StorageError
from fanlight.protocol.aggregator import Aggregator
from fanlight.protocol.aggregator_round import TERMINAL, Record, State
from fanlight.protocol.closing import stored_verdict
from fanlight.protocol.exchange import ORDERED_BY_MAIN, Order, Orders
from fanlight.protocol.manifest import Proposal
from fanlight.services.aggregator import held_reports, refusals, round_table
from fanlight.services.aggregator.deadline import Deadline
from fanlight.services.aggregator.main_client import LONG_POLL_S, MainClient
from fanlight.services.aggregator.masked_sums import DEAD_ROUND
from fanlight.services.aggregator.members_exchange import MembersExchange
from fanlight.services.aggregator.older_copies import OlderCopies
from fanlight.services.aggregator.reception import Reception
from fanlight.services.aggregator.round_table import Stored
from fanlight.services.aggregator.rounds import Rounds
from fanlight.services.aggregator.window import Window
from fanlight.services.federation import ServerIdentity
from fanlight.services.http.backoff import Backoff
from fanlight.services.http.jobs import Jobs
from fanlight.services.http.problems import Problem, as_problem
from fanlight.services.http.waiting import Notifier
from fanlight.services.server.chained_log import ChainedLog
from fanlight.services.server.incidents import incidents
from fanlight.services.server.membership import Membership
from fanlight.services.server.round_keys import RoundKeys
from fanlight.storage.blobs import BlobFolder
from fanlight.storage.database import DATABASE_FILE, Database
from fanlight.storage.folder_lock import FolderLock
from fanlight.storage.migrating import migrate
from fanlight.storage.tables import aggregator as tables

log = structlog.get_logger(__name__)

ROLE: Final = "aggregator"
_HEARD_S: Final = 2 * LONG_POLL_S
_UNDER_WAY: Final = frozenset({State.COLLECTING, State.CLOSED, State.AGREED})
"""The round is open, and its sum is not released."""
_SURELY_S: Final = 0.1
"""So long after the end of a window it has passed by every clock of this machine."""
_YIELD_S: Final = 1.0
"""So much later a round is ended without main: whoever works with main does it better, and has told main then."""
WINDOW_PASSED: Final = "window-passed"
_RESTART: Final = 40
"""For so many tries, about ten seconds, main may just be starting again: rounds wait for both servers."""


class AggregatorService:
    """Everything the aggregator does.

    Args:
        state: its folder.
        identity: its key and whom it trusts.
        clock: unix seconds.
        monotonic: seconds that only grow.
        random_bytes: cryptographic source.
        jitter: a number in [0, 1), fresh each call; nothing secret depends on it.
        reception: takes the reports.
    """

    def __init__(
        self,
        state: Path,
        identity: ServerIdentity,
        clock: Callable[[], float],
        monotonic: Callable[[], float],
        random_bytes: Callable[[int], bytes],
        jitter: Callable[[], float],
        reception: type[Reception] = Reception,
    ) -> None:
        self.identity = identity
        self.clock = clock
        self._lock = FolderLock(state)
        self._lock.acquire()
        self.database = Database(state / DATABASE_FILE)
        migrate(self.database, ROLE)
        self.log = ChainedLog(tables.logs, identity.trust.fid, ROLE, clock)
        self.files = BlobFolder(state / "reports")
        self.membership = Membership(self.database, tables.members, self.log, identity.trust, held_reports.forget)
        self.membership.load()
        keys, machine = RoundKeys(state / "round-keys", random_bytes), Aggregator(identity.private, identity.trust)
        self.rounds = Rounds(self.database, self.log, keys, self.files, machine, clock, monotonic, random_bytes)
        self.reception = reception(self.database, keys, machine, self.membership, self.rounds, clock)
        self.rounds.forget_old()
        self.main = MainClient(identity, clock)
        self._exchange = MembersExchange(self.database, self.main, self.reception)
        self._window = Window(clock, monotonic)
        self.copies = OlderCopies(self.rounds, self.main)
        self.pages = Notifier()
        self.jobs = Jobs(on_change=self.pages.notify)
        self.main_problem: Problem | None = None
        self._monotonic = monotonic
        self._main_heard: float | None = None  # by it
        # One thing at a time with main: the operator's buttons and main's orders must not interleave.
        self._work = threading.Lock()
        self._told = b""  # the round on whose end main has our word, which is stored with the next one
        self._stopping = threading.Event()
        self._wake: Callable[[], object] = lambda: None
        self._thread = threading.Thread(target=self._follow_orders, name="fanlight-orders", daemon=True)
        self._deadline = Deadline(self._without_main_s, self._end_without_main, name="fanlight-deadline")
        self._backoff = Backoff(jitter, first_s=0.5, longest_s=5.0, steady=_RESTART)

    def close(self) -> None:
        """Stop."""
        self.pages.close()
        self.jobs.close()
        self.main.close()
        self.database.close()
        self._lock.release()

    # ---- the steps --------------------------------------------------------------------------------------------

    def close_round(self) -> Stored:
        """Step 4: close the set and get main's verdict.

        Raises:
            NotPossibleNow: too few reports, or no open round; or main dismissed the round, which is then abandoned.
            RemoteError: main cannot be reached; try again, the same bytes are sent.
        """
        with self._work:
            self.copies.compare()
            record = self._take_verdict(self.main.close_round(self.rounds.close()))
        if record.at is State.ABANDONED:
            raise NotPossibleNow(
                f"Round {record.number} was abandoned: the main server's verdict was not to sum it.",
                next="See the round on the main server's page for the reason; the next round opens by itself.",
                slug="round-dismissed",
            )
        return self._latest()

    def release_round(self) -> Stored:
        """Step 5: release the one sum to main, and sign the outcome.

        Raises:
            NotPossibleNow: the round is not agreed.
            RemoteError: main cannot be reached; try again, the same bytes are sent.
        """
        with self._work:
            self.copies.compare()
            try:
                self._release()
            finally:
                self.rounds.destroy_ended()
            return self._latest()

    def abandon_round(self, reason: str) -> Stored:
        """Give the open round up, before any release.

        Raises:
            NotPossibleNow: there is none, or it is released.
        """
        with self._work:
            self.copies.compare()
            self.rounds.abandon(reason)
            self._tell_main()
            return self._latest()

    # ---- the work with main -----------------------------------------------------------------------------------

    def start(self) -> None:
        """Follow main's orders from now on, in a thread of its own; back off while it cannot be reached."""
        self._thread.start()
        self._deadline.start()

    def stop(self, timeout_s: float) -> None:
        """Follow no more orders; the work at hand is given ``timeout_s`` seconds to end."""
        self._stopping.set()
        self._wake()
        if self._thread.is_alive():
            self._thread.join(timeout_s)
        self._deadline.stop(timeout_s)

    def _follow_orders(self) -> None:
        version = 0
        with self.main.open_line() as line:
            self._wake = line.break_off
            while not self._stopping.is_set():
                try:
                    orders = self.main.orders(line, version, self._patience() if version else 0)
                    version = self._follow_all(orders)
                    self._backoff.reset()
                    self._main_heard = self._monotonic()
                    self._note(None)
                    self._end_in_time()
                except Exception as error:  # noqa: BLE001 - the loop must survive whatever happens in it
                    if self._stopping.is_set():
                        return
                    problem = as_problem(error)
                    self._note(problem)
                    self._deadline.look()  # the clock may have been set
                    self._stopping.wait(self._backoff.next(problem.retry_after_s))

    def _follow_all(self, orders: Orders) -> int:
        """Follow orders, and those that main answers meanwhile; the version of the last ones."""
        answered: Orders | None = orders
        try:
            while answered is not None:
                orders, answered = answered, self.follow(answered)
        finally:
            self.rounds.destroy_ended()  # only now: the next round, which may be open by now, need not wait for it
        return orders.version

    def _patience(self) -> float:
        """How long to wait for orders: not beyond the end of the round's window."""
        return min(LONG_POLL_S, self._window_s() + _SURELY_S)

    def _window_s(self) -> float:
        """In how many seconds the open round's window has passed; without one, never."""
        stored = self.rounds.latest()
        if stored is None or stored.record.at not in _UNDER_WAY:
            return math.inf
        return self._window.left_s(stored.record)

    def _without_main_s(self) -> float:
        """When to look whether the round's window has passed with too few reports, if these are still too few."""
        try:
            return self._window_s() + _YIELD_S if self._lacks_reports() else math.inf
        except Exception as error:  # noqa: BLE001 - as in the loop
            self._note(as_problem(error))
            return _YIELD_S

    def _lacks_reports(self) -> bool:
        stored = self.rounds.latest()
        if stored is None or stored.record.at is not State.COLLECTING:
            return False
        return self.rounds.count(stored.record.mh) < stored.record.terms.proposal.k_min

    def _end_without_main(self) -> None:
        """Give up a round whose window has passed with too few reports, whoever waits for main; it is told later.

        Nothing else can become of such a round: it takes no reports any more, and cannot be closed. But a state that
        may be an older copy signs nothing before main was heard.
        """
        try:
            if self.copies.compared and self._window_s() == 0 and self._lacks_reports():
                self.rounds.abandon(WINDOW_PASSED)
                self.pages.notify()
        except Exception as error:  # noqa: BLE001 - as in the loop
            self._note(as_problem(error))

    def follow(self, orders: Orders) -> Orders | None:
        """Do what main's orders ask for, and finish what was left undone before.

        Returns:
            what main ordered next, if it has said so already.

        Raises:
            RemoteError, LocalError: what could not be done; it is tried again with the next orders.
        """
        with self._work:
            self.copies.compare()
            stored = self.rounds.latest()
            if stored is not None and stored.record.at is State.RELEASED:
                self._release()  # main may have it, publish and propose the next round; we never heard
            self._tell_main()
            self._exchange.tell()
            if self._exchange.hear(orders.members_version):
                self.pages.notify()
            if self.copies.bring_main_up(orders):
                return None  # main has other orders now
            self._open(orders)
        stored = self.rounds.latest()
        if stored is None or stored.record.mh != orders.mh:
            return None
        match Order(orders.order), stored.record.at:
            case Order.FINISH, at if at in _UNDER_WAY:
                return self._finish()
            case Order.ABANDON, at if at in _UNDER_WAY:
                self.abandon_round(ORDERED_BY_MAIN)
        return None

    def tell_main_of_members(self) -> None:
        """Hand new enrolments on at once; if main is away the loop does it later."""
        try:
            with self._work:
                self._exchange.tell()
        except FanlightError as error:
            self._note(as_problem(error))

    def _finish(self) -> Orders | None:
        """Close the set, get main's verdict and release the sum, as far as that is not done; the last two as one."""
        with self._work:
            self.copies.compare()
            stored, verdict = self.rounds.latest(), b""
            if stored is None or stored.record.at is not State.AGREED:
                verdict = self.main.close_round(self.rounds.close())
                self.pages.notify()
                if not stored_verdict(verdict).proceed:  # it is checked where it is stored
                    self._take_verdict(verdict)
                    return None
            return self._release(verdict)

    def _take_verdict(self, verdict: bytes) -> Record:
        """Store main's verdict; it may be that the round is abandoned."""
        record = self.rounds.take_verdict(verdict)
        self.pages.notify()
        if record.at is State.ABANDONED:
            self._tell_main()
        return record

    def _release(self, verdict: bytes = b"") -> Orders | None:
        try:
            signed, vector = self.rounds.release(verdict)
        except StorageError as error:
            stored = self.rounds.latest()
            if error.slug in DEAD_ROUND and stored is not None and stored.record.at is State.AGREED:
                self.rounds.abandon(error.slug)  # nothing that anybody could do would bring this sum back
                self._tell_main()
            raise
        try:
            outcome = self.main.release(signed, vector)
        except (NotFound, Conflict):  # it may have forgotten the round, or its verdict; then the next try succeeds
            stored = self.rounds.latest()
            self.copies.tell_main_from(stored.record.number if stored is not None else 1)
            raise
        self.rounds.finish(outcome)
        return self._tell_main()

    def _end_in_time(self) -> None:
        """The round's window is on this server's clocks: when it has passed, finish with what is here, or give up.

        Also what an operator, or this server before it died, has begun and not brought to its end.
        """
        stored = self.rounds.latest()
        if stored is None or stored.record.at not in _UNDER_WAY:
            return
        if self._window.left_s(stored.record) > 0:
            return
        if self._lacks_reports():
            self.abandon_round(WINDOW_PASSED)
            return
        try:
            self._finish()
        finally:
            self.rounds.destroy_ended()

    def _open(self, orders: Orders) -> None:
        """Sign what main proposes; what we signed and never heard of again may be open at main: hand it in again."""
        stored = self.rounds.latest()
        if orders.proposal is not None:
            signed = self.rounds.offer(Proposal.decode(orders.proposal), orders.cohort)
        elif stored is not None and stored.record.at is State.OFFERED:
            signed = stored.record.countersigned
        else:
            return
        self.reception.expect(self.rounds.open(self.main.manifest(signed)))
        self._deadline.look()  # from now on the window runs, whatever the clock on the wall is set to
        self.pages.notify()

    def _tell_main(self) -> Orders | None:
        """Main must have our word on how the last round ended, whatever happened in between; what it orders next.

        That it has is stored with the round that it proposes then, or else at once.
        """
        stored = self.rounds.latest()
        if stored is None or stored.record.at not in TERMINAL or stored.told_main or stored.record.mh == self._told:
            return None
        try:
            orders = self.main.outcome(stored.record.outcome)
        except NotFound:  # it has forgotten the round
            self.copies.tell_main_from(stored.record.number)
            orders = None
        if orders is not None and orders.proposal is not None:
            self._told = stored.record.mh
        else:
            self.rounds.told_main(stored.record.number)
        self.pages.notify()
        return orders

    def _latest(self) -> Stored:
        self.pages.notify()
        stored = self.rounds.latest()
        assert stored is not None
        return stored

    def why_without_main(self) -> str:
        """Why this server cannot do its work with main just now; empty if it can."""
        heard = self._main_heard
        if heard is None or self._monotonic() - heard > _HEARD_S:
            return "The main server has not been heard of lately."
        return "The main server's orders cannot be followed." if self.main_problem else ""

    def _note(self, problem: Problem | None) -> None:
        if problem is not None and (self.main_problem is None or self.main_problem.slug != problem.slug):
            log.warning("the main server's orders could not be followed", slug=problem.slug, problem=problem.message)
        if (problem is None) != (self.main_problem is None):
            self.pages.notify()
        self.main_problem = problem

    def note_refusal(self, mh: bytes, device: bytes, reason: str) -> None:
        """A member's report was refused for ``reason`` (a slug): for the owner to see. Said once, if it is repeated."""
        number = None
        with self.database.transaction() as tx:
            new = refusals.note(tx, mh, device, reason, self.clock())
            with suppress(NotFound):
                number = round_table.by_hash(tx, mh).record.number
        if new:
            self.rounds.journal.rejected(number, mh, device, reason)
        self.pages.notify()

    def incidents(self) -> list[dict[str, Any]]:
        """What should not have happened, newest first."""
        with self.database.reading() as tx:
            return [asdict(incident) for incident in incidents(tx, self.log)]

    def status(self) -> dict[str, Any]:
        """The whole at a glance."""
        stored = self.rounds.latest()
        return {
            "role": ROLE,
            "federation": self.identity.trust.fid.hex(),
            "members": len(self.reception.confirmed),
            "main_problem": self.main_problem.message if self.main_problem else None,
            "round": round_json(stored) if stored else None,
            "reports": self.rounds.count(stored.record.mh) if stored else 0,
            "incidents": self.incidents(),
        }


def round_json(stored: Stored) -> dict[str, Any]:
    """A round as the owner sees it."""
    record, terms = stored.record, stored.record.terms
    return {
        "round": record.number,
        "kind": terms.proposal.kind,
        "state": record.state,
        "mh": record.mh.hex(),
        "k_min": terms.proposal.k_min,
        "numbers": layout_length(terms.proposal.layout),
        "words": terms.length,
        "demo": terms.proposal.demo,
        "shards": terms.proposal.shards,
        "opened_at": stored.opened_at,
        "ended_at": stored.ended_at,
    }
