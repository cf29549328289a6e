"""The policy of rounds: when the next one opens, when by itself one is finished, and when the work is done.

``advance`` looks at the state and does the next thing, if there is one; one loop calls it after every change, and
about twice a second. It does nothing when there is nothing to do, so calling it too often is harmless. That a round's
window has passed is for the aggregator to say, on whose clock it is.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice

from sqlalchemy import Connection, select

from fanlight.errors import NotPossibleNow
from fanlight.protocol.exchange import Order
from fanlight.protocol.main_round import State
from fanlight.protocol.plan import Kind
from fanlight.services.main_server import measurements, members, notes, round_table
from fanlight.services.main_server.course import Course, Hold
from fanlight.services.main_server.round_table import RoundLine, Stored
from fanlight.services.main_server.rounds import MadeRoom, Rounds
from fanlight.services.main_server.service import MainService
from fanlight.services.main_server.stragglers import WaitingRules
from fanlight.services.main_server.task import Policy
from fanlight.storage.tables.main import devices


class Conductor:
    """Runs the policy of the task over the rounds of a service."""

    def __init__(self, service: MainService) -> None:
        self._service = service
        self.course = Course(service)
        self._enough_since: tuple[bytes, float] | None = None

    @property
    def _policy(self) -> Policy:
        return self._service.task.policy

    def measure_next(self) -> None:
        """The next round measures the current model instead of training (the "Measure" button).

        An open training round for which nobody has announced anything, and to which nobody has reported, gives way.

        Raises:
            NotPossibleNow: see ``why_not_measure``.
        """
        with self._service.database.transaction() as tx:
            why_not = self.why_not_measure(tx)
            if why_not is not None:
                raise why_not
            line = round_table.latest_line(tx)
            if line is not None and not line.is_over:
                self._service.rounds.ask(Order.ABANDON, tx, MadeRoom.FOR_MEASURING)
            notes.keep(tx, notes.MEASURE_NEXT, 1)
        self._service.news.tell(orders=True)

    def why_not_aggregate(self, tx: Connection) -> NotPossibleNow | None:
        """Why the newest round cannot be finished now, or None."""
        stored = round_table.latest(tx)
        why_not = self._service.rounds.why_not_ask(tx, stored, Order.FINISH)
        return why_not and (self._why_none_opens(tx, stored, "No round is open.", why_not.slug) or why_not)

    def why_not_publish(self, tx: Connection) -> NotPossibleNow | None:
        """Why there is nothing to publish, or None."""
        line = round_table.latest_line(tx)
        if line is not None and line.at is State.RELEASED:
            return None
        why_not = Rounds.why_not_publish(line)
        return self._why_none_opens(tx, line, "There is no new model to publish.", why_not.slug) or why_not

    def _why_none_opens(
        self, tx: Connection, line: RoundLine | None, message: str, slug: str | None
    ) -> NotPossibleNow | None:
        """What to say where no round is under way and none opens either; None otherwise."""
        hold = self.course.hold(tx) if line is None or line.is_over else None
        return None if hold is None else self._refusal(hold, f"{message} {hold.title}", slug)

    def _refusal(self, hold: Hold, message: str, slug: str | None) -> NotPossibleNow:
        again_s = None if hold.until is None else max(0.0, hold.until - self._service.clock())
        return NotPossibleNow(message, next=hold.next, slug=slug, retry_after_s=again_s)

    def why_not_measure(self, tx: Connection) -> NotPossibleNow | None:
        """Why the current model cannot be measured now, or None."""
        model, known, needed = self._service.models.current(tx), len(members.confirmed(tx)), self._policy.k_min
        if measurements.of_model(tx, model.sha256) is not None:
            return NotPossibleNow(
                f"Version {model.number} has been measured.",
                next="See its figures (/models), or train the next version.",
                slug="measured-already",
            )
        if known < needed:
            return NotPossibleNow(
                f"{known} of the {needed} devices that a round needs are enrolled at both servers.",
                next="Let more devices join.",
                slug="too-few-devices",
            )
        if not self._service.aggregator_connected:
            return NotPossibleNow(
                "The secure aggregator is not connected.", next="Start it, then measure.", slug="no-aggregator"
            )
        hold = self.course.why_not_even_measure()
        if hold is not None:
            return self._refusal(hold, hold.title, hold.reason)
        line = round_table.latest_line(tx)
        return None if line is None or line.is_over else self._why_not_give_way(tx, line)

    def _why_not_give_way(self, tx: Connection, line: RoundLine) -> NotPossibleNow | None:
        if line.at is not State.OPEN or line.kind == Kind.MEASURE or round_table.arrived(tx, line.mh):
            return NotPossibleNow(
                f"Round {line.number} is under way.",
                next="Finish it first; it measures the model too.",
                slug="round-not-over",
            )
        announced = self._announced(tx, line)
        if not announced:
            return None
        return NotPossibleNow(
            f"{announced} {'device has' if announced == 1 else 'devices have'} trained and announced for "
            f"round {line.number}.",
            next="Let the devices send their models (/sendmodel) and finish it; it measures the model too.",
            slug="round-not-over",
        )

    def go_on(self) -> None:
        """End a pause, and whatever rule has stopped training; see ``MainService.change_policy`` for what it raises."""
        if self._policy.paused:
            self._service.change_policy(paused=False)
        with self._service.database.transaction() as tx:
            self.course.go_on(tx)
        self._service.news.tell()

    def abandon(self, number: int) -> None:
        """Give a round up that is under way: no sum of it is ever released, and devices keep what they have trained.

        The aggregator is ordered to; the round is abandoned when it has signed that.

        Raises:
            NotFound: there is no such round.
            NotPossibleNow: it is over, or its sum is released.
        """
        with self._service.database.transaction() as tx:
            line = round_table.numbered(tx, number)
            if line.is_over:
                raise NotPossibleNow(
                    f"Round {number} is over: it is {line.state}.",
                    slug="round-over",
                    next="Only a round that is under way can be abandoned; see all rounds (/rounds).",
                )
            self._service.rounds.ask(Order.ABANDON, tx)
        self._service.news.tell(orders=True)

    def _announced(self, tx: Connection, line: RoundLine) -> int:
        """Devices whose work for the open round would be lost with it."""
        columns, plan = devices.c, self._service.task.plan
        ready = select(columns.dev).where(columns.ready_plan == plan.hash, columns.ready_model == line.model)
        waited_for = members.confirmed(tx).keys() - self._service.presence.declined(line.number).keys()
        return len(waited_for & set(tx.execute(ready).scalars()))

    def advance(self) -> bool:
        """Do the next thing that the policy asks for; was there one?"""
        line = self._service.latest()
        if line is None or line.is_over:
            return self._change_model() or self._open_next()
        if line.at is State.RELEASED and (self._policy.by_itself or line.kind == Kind.MEASURE):
            self._service.rounds.publish()
            self._service.news.tell(soon=True)
            return True
        return line.at is State.OPEN and line.asked is Order.NONE and self._finish_if_content(line)

    def _change_model(self) -> bool:
        if not self._service.promotion.change_now():
            return False
        self._service.news.tell(soon=True)
        return True

    def _open_next(self) -> bool:
        with self._service.database.transaction() as tx:
            line = round_table.latest_line(tx)
            if line is not None and not line.is_over:
                return False
            stopped = self.course.stop(tx)
            if not (stopped or self._propose(tx)):
                return False
        self._service.news.tell(orders=not stopped, soon=stopped)
        return True

    def _propose(self, tx: Connection) -> bool:
        kind = self.course.next_kind(tx)  # before the members, who may be many, are read: asked twice a second
        if kind is None or len(members.confirmed(tx)) < self._policy.k_min:
            return False
        self._service.proposals.propose(tx, kind)
        notes.keep(tx, notes.MEASURE_NEXT, 0)
        return True

    def _finish_if_content(self, line: RoundLine) -> bool:
        """Finish an open round when enough reports are in and nobody is worth waiting for."""
        if not (self._policy.by_itself or line.kind == Kind.MEASURE):
            return False
        with self._service.database.reading() as tx:  # asked at every report, and mostly in vain
            stored = round_table.latest(tx)
            if stored is None or stored.mh != line.mh or not self._is_content(tx, stored):
                return False
        with self._service.database.transaction() as tx:
            if round_table.latest_line(tx) != line:
                return False
            self._service.rounds.ask(Order.FINISH, tx)
        self._service.news.tell(orders=True)
        return True

    def _is_content(self, tx: Connection, stored: Stored) -> bool:
        """Asked at every report: so it counts, and looks at silent devices only until there are too many of them."""
        reported, needed = round_table.arrived(tx, stored.mh), stored.record.terms.k_min
        if reported < needed:
            return False
        most = WaitingRules.of_newest(tx, self._policy).most_missing(reported, self._waited_s(stored))
        missing = filter(self._is_awaited_in(stored), members.silent(tx, stored.mh))
        return most is None or sum(1 for _ in islice(missing, most + 1)) <= most

    def _waited_s(self, stored: Stored) -> float:
        """Seconds since a round was first seen here with enough reports for a sum; a restart begins anew."""
        now = self._service.monotonic()
        if self._enough_since is None or self._enough_since[0] != stored.mh:
            self._enough_since = stored.mh, now
        return now - self._enough_since[1]

    def _is_awaited_in(self, stored: Stored) -> Callable[[bytes], bool]:
        """Whether a device is there, takes part in the round, and has not said that it will not report."""
        presence, cohort = self._service.presence, frozenset(stored.record.cohort)
        declined = presence.declined(stored.number)

        def is_awaited(device: bytes) -> bool:
            return presence.may_be_present(device) and device not in declined and (not cohort or device in cohort)

        return is_awaited
