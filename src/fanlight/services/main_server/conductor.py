"""The policy of rounds: when the next one opens, when by itself one is finished, and when the work is done.

``advance`` looks at the state and does the next thing, if there is one; one loop calls it after every change, and when
the clock may have made something due. It does nothing when there is nothing to do, so calling it too often is harmless.
That a round's window has passed is for the aggregator to say, on whose clock it is.
"""

from __future__ import annotations

import math

from sqlalchemy import Connection, select

from fanlight.errors import NotPossibleNow
from fanlight.protocol.exchange import Order
from fanlight.protocol.main_round import State
from fanlight.protocol.plan import Kind
from fanlight.services.main_server import measurements, members, notes, round_table, teaching
from fanlight.services.main_server.course import Course, Hold
from fanlight.services.main_server.made_room import MadeRoom
from fanlight.services.main_server.policy import Policy
from fanlight.services.main_server.round_table import RoundLine
from fanlight.services.main_server.service import MainService, Newest
from fanlight.services.main_server.stragglers import WaitingRules
from fanlight.services.main_server.waiting import Waiting
from fanlight.services.main_server.why_not import why_not_ask, why_not_publish
from fanlight.storage.tables.main import devices


class Conductor:
    """Runs the policy of the task over the rounds of a service."""

    def __init__(self, service: MainService) -> None:
        self._service = service
        self.course = Course(service)
        self._waiting = Waiting(service)

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
        why_not = why_not_ask(tx, stored, Order.FINISH)
        return why_not and (self._why_none_opens(tx, stored, "No round is open.", why_not.slug) or why_not)

    def why_not_publish(self, tx: Connection) -> NotPossibleNow | None:
        """Why there is nothing to publish, or None."""
        line = round_table.latest_line(tx)
        if line is not None and line.at is State.RELEASED:
            return None
        why_not = why_not_publish(line)
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
        columns, plan = devices.c, teaching.plan_of_next(tx, self._service.task)
        ready = select(columns.dev).where(columns.ready_plan == plan.hash, columns.ready_model == line.model)
        waited_for = members.confirmed(tx).keys() - self._service.presence.declined(line.number).keys()
        return len(waited_for & set(tx.execute(ready).scalars()))

    def stands(self) -> bool:
        """Is there nothing to do before somebody else does something, whatever the clock says?

        It is so for most of a round. Quick enough for an event loop, since only the newest round is looked at.
        """
        return _stands(self._service.newest())

    def advance(self) -> bool:
        """Do the next thing that the policy asks for; was there one?"""
        newest = self._service.newest()
        if _stands(newest):
            return False
        line, rules, wants_model_line = newest
        if wants_model_line and self._service.line.begin_now():
            self._service.news.tell(offers=True, orders=True)
            return True
        if line is None or line.is_over:
            return self._change_model() or self._open_next()
        if line.at is State.RELEASED and _ends_by_itself(line, rules):
            self._service.rounds.publish(durable=False)  # after a power cut the policy sees it again
            self._service.news.tell(soon=True)
            return True
        if not _waits(line):
            return False
        return self._finish_if_content(line, rules) if _ends_by_itself(line, rules) else self._make_room_for_rules(line)

    def due_in_s(self) -> float:
        """In how many seconds, if nothing happens, the clock alone may make something due; infinite if never."""
        line, rules, _ = self._service.newest()
        if line is None or line.is_over:
            with self._service.database.reading() as tx:
                hold = self.course.hold(tx)
            return math.inf if hold is None or hold.until is None else hold.until - self._service.clock()
        return self._waiting.due_in_s(line.mh, rules) if _waits(line) else math.inf

    def _change_model(self) -> bool:
        if not self._service.promotion.change_now():
            return False
        self._service.news.tell(soon=True)
        return True

    def _open_next(self) -> bool:
        with self._service.database.reading() as tx:  # looked at between any two rounds, and mostly in vain
            if not self.course.is_stop_due(tx) and self._next_kind(tx) is None:
                return False
        with self._service.database.transaction() as tx:
            line = round_table.latest_line(tx)
            if line is not None and not line.is_over:
                return False
            stopped = self.course.stop(tx)
            if not (stopped or self._propose(tx)):
                return False
        self._service.news.tell(orders=not stopped, soon=stopped)
        return True

    def _next_kind(self, tx: Connection) -> Kind | None:
        """What to propose now, if anything: nothing while nobody would answer, since rules may change meanwhile."""
        kind = self.course.next_kind(tx)  # before the members, who may be many, are read
        if kind is None or not self._service.aggregator_connected:
            return None
        return kind if len(members.confirmed(tx)) >= self._policy.k_min else None

    def _propose(self, tx: Connection) -> bool:
        kind = self._next_kind(tx)
        if kind is None:
            return False
        self._service.proposals.propose(tx, kind)
        notes.keep(tx, notes.MEASURE_NEXT, 0)
        if kind is Kind.CHANGES:
            notes.keep(tx, notes.CHANGES_NEXT, 0)
        return True

    def _finish_if_content(self, line: RoundLine, rules: WaitingRules) -> bool:
        """Finish an open round when enough reports are in and nobody is worth waiting for."""
        with self._service.database.reading() as tx:  # asked at every report, and mostly in vain
            stored = round_table.latest(tx)
            if stored is None or stored.mh != line.mh or not self._waiting.is_over(tx, stored, rules):
                return False
        return self._ask(Order.FINISH, line)

    def _make_room_for_rules(self, line: RoundLine) -> bool:
        """A round by hand that nobody has begun to work for gives way once rounds are to run by themselves."""
        if not self._policy.by_itself:
            return False
        with self._service.database.reading() as tx:
            if self._why_not_give_way(tx, line) is not None:
                return False
        return self._ask(Order.ABANDON, line, MadeRoom.FOR_RULES)

    def _ask(self, order: Order, line: RoundLine, made_room: MadeRoom | None = None) -> bool:
        """That a round is content the policy sees again after a power cut; what one is abandoned for has to be kept."""
        with self._service.database.transaction(durable=order is not Order.FINISH) as tx:
            if round_table.latest_line(tx) != line:
                return False
            self._service.rounds.ask(order, tx, made_room)
        self._service.news.tell(orders=True)
        return True


def _stands(newest: Newest) -> bool:
    line, rules, wants_model_line = newest
    if wants_model_line or line is None or line.is_over or _waits(line):
        return False
    return line.at is not State.RELEASED or not _ends_by_itself(line, rules)


def _waits(line: RoundLine) -> bool:
    """Is it open, for reports or until somebody ends it?"""
    return line.at is State.OPEN and line.asked is Order.NONE


def _ends_by_itself(line: RoundLine, rules: WaitingRules) -> bool:
    return rules.by_itself or line.kind == Kind.MEASURE
