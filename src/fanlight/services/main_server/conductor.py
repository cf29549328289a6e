"""The policy of rounds: when the next one opens, when by itself one is finished, and when the work is done.

``advance`` looks at the state and does the next thing, if there is one; it is called after every change and about once
a second, and does nothing when there is nothing to do, so calling it too often is harmless.
"""

from __future__ import annotations

from sqlalchemy import Connection, select

from fanlight.errors import NotPossibleNow
from fanlight.protocol.exchange import Order
from fanlight.protocol.main_server import TERMINAL, State
from fanlight.protocol.plan import Kind
from fanlight.services.main_server import measurements
from fanlight.services.main_server.rounds import Rounds, Stored, opened_at
from fanlight.services.main_server.service import MainService
from fanlight.storage.tables import main as tables

_MEASURING_TRIES = 3


class Conductor:
    """Runs the policy of the task over the rounds of a service."""

    def __init__(self, service: MainService) -> None:
        self._service = service
        self._policy = service.task.policy
        self._wants_measure = False

    @property
    def _rounds(self) -> Rounds:
        return self._service.rounds

    def measure_next(self) -> None:
        """The next round measures the current model instead of training (the "Measure" button).

        An open training round to which nobody has reported gives way.

        Raises:
            NotPossibleNow: the model has been measured, or a round is under way.
        """
        stored = self._service.latest()
        with self._service.database.transaction() as tx:
            model = self._service.models.current(tx)
            if measurements.of_model(tx, model.sha256) is not None:
                raise NotPossibleNow(
                    f"Model version {model.number} has been measured.",
                    next="See the figures on the models page, or train the next version.",
                    slug="measured-already",
                )
            reported = bool(stored and self._rounds.beacons(tx, stored.record.mh))
        if stored is not None and stored.record.at not in TERMINAL:
            if stored.record.at is not State.OPEN or reported:
                raise NotPossibleNow(
                    f"Round {stored.record.number} is under way.",
                    next="Finish it first; it measures the model too.",
                    slug="round-not-over",
                )
            self._rounds.ask(Order.ABANDON)
        self._wants_measure = True
        self._service.notify()

    def advance(self) -> bool:
        """Do the next thing that the policy asks for; was there one?"""
        stored = self._service.latest()
        if stored is None or stored.record.at in TERMINAL:
            return self._open_next(stored)
        if stored.record.at is State.RELEASED and (self._policy.by_itself or stored.record.kind == Kind.MEASURE):
            self._rounds.publish()
            self._service.notify(offers=True)
            return True
        if stored.record.at is State.OPEN and stored.asked is Order.NONE:
            return self._close_in_time(stored)
        return False

    def finished(self, tx: Connection) -> bool:
        """By itself and with a number of rounds: are they over, and the last model measured (or not measurable)?"""
        if not (self._policy.by_itself and self._policy.rounds):
            return False
        rounds = self._rounds.all(tx)
        ended = [stored for stored in rounds if stored.record.at in TERMINAL]
        if len(ended) < len(rounds) or self._trained(ended) < self._policy.rounds:
            return False
        return not self._should_measure(tx, ended)

    def _open_next(self, previous: Stored | None) -> bool:
        with self._service.database.transaction() as tx:
            if len(self._service.confirmed(tx)) < self._policy.k_min:
                return False
            kind = self._next_kind(tx)
            if kind is None:
                return False
            self._rounds.propose(tx, kind)
        self._wants_measure = False
        self._service.notify(offers=previous is not None)
        return True

    def _next_kind(self, tx: Connection) -> Kind | None:
        if self._wants_measure:
            return Kind.MEASURE
        if not (self._policy.by_itself and self._policy.rounds):
            return Kind.TRAIN
        ended = self._rounds.all(tx)
        if self._trained(ended) < self._policy.rounds:
            return Kind.TRAIN
        return Kind.MEASURE if self._should_measure(tx, ended) else None

    def _should_measure(self, tx: Connection, ended: list[Stored]) -> bool:
        model = self._service.models.current(tx).sha256
        tries = sum(stored.record.kind == Kind.MEASURE and stored.model == model for stored in ended)
        return tries < _MEASURING_TRIES and measurements.of_model(tx, model) is None

    @staticmethod
    def _trained(rounds: list[Stored]) -> int:
        return sum(stored.record.kind == Kind.TRAIN for stored in rounds)

    def _close_in_time(self, stored: Stored) -> bool:
        order = self._due(stored)
        if order is Order.NONE:
            return False
        self._rounds.ask(order)
        self._service.notify()
        return True

    def _due(self, stored: Stored) -> Order:
        """What is due with an open round: nothing yet, finish it, or give it up because its window has passed."""
        record, now = stored.record, self._service.clock()
        columns = tables.beacons.c
        with self._service.database.transaction() as tx:
            rows = tx.execute(select(columns.dev, columns.received_at).where(columns.mh == record.mh)).all()
            members = self._service.confirmed(tx)
        arrived = sorted(row.received_at for row in rows)
        enough = len(arrived) >= record.terms.k_min
        if now >= opened_at(record) + record.terms.window_s:
            return Order.FINISH if enough else Order.ABANDON
        if not enough or not (self._policy.by_itself or record.kind == Kind.MEASURE):
            return Order.NONE
        expected = set(record.cohort) or set(members)
        reported = {row.dev for row in rows}
        missing = [device for device in expected - reported if self._service.presence.is_present(device)]
        waited = now - arrived[record.terms.k_min - 1]
        return Order.FINISH if not missing or waited >= self._policy.wait_s else Order.NONE
