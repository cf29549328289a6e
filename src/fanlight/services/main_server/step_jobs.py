"""The steps that the main server performs by hand, as jobs: aggregate (4 and 5 at once), publish (6), measure (7)."""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import Connection

from fanlight.errors import NotPossibleNow, Unreachable
from fanlight.protocol.exchange import Order
from fanlight.protocol.main_round import State
from fanlight.protocol.plan import Kind
from fanlight.services.http.jobs import Job, Progress
from fanlight.services.main_server import lines, measurements, notes, round_table
from fanlight.services.main_server.conductor import Conductor
from fanlight.services.main_server.measurements import Measurement
from fanlight.services.main_server.overview import AGGREGATE, MEASURE, PUBLISH
from fanlight.services.main_server.round_table import RoundLine
from fanlight.services.main_server.service import MainService

ANSWER_WITHIN_S: Final = 60.0
"""How long the aggregator may take to follow an order."""
_LOOK_BACK: Final = 10


class Steps:
    """Starts the jobs. What cannot be done now is refused before a job begins."""

    def __init__(self, service: MainService, conductor: Conductor) -> None:
        self._service = service
        self._conductor = conductor

    def aggregate(self) -> Job:
        """Steps 4 and 5: order the aggregator to finish the round, wait until its sum is here.

        Raises:
            NotPossibleNow: no open round, or too few reports.
        """
        with self._service.database.reading() as tx:
            why_not = self._conductor.why_not_aggregate(tx)
        if why_not is not None:
            raise why_not
        return self._service.jobs.start(AGGREGATE, self._aggregate)

    def publish(self) -> Job:
        """Step 6: publish the new version; the next round opens.

        Raises:
            NotPossibleNow: no round is released.
        """
        with self._service.database.reading() as tx:
            why_not = self._conductor.why_not_publish(tx)
        if why_not is not None:
            raise why_not
        return self._service.jobs.start(PUBLISH, self._publish)

    def measure(self) -> Job:
        """Step 7: let the next round measure the current model, and wait until it is over.

        Raises:
            NotPossibleNow: asked for already, the model has been measured, or a round is under way.
        """
        jobs, before = self._service.jobs, self._service.latest()
        running = jobs.latest(MEASURE)
        if running is None or not running.active:  # else the start below refuses, and nothing else may change
            self._conductor.measure_next()
        after, now = before.number if before else 0, self._service.monotonic()
        return jobs.start(MEASURE, lambda progress: self._measure(after, now, progress))

    def _measure(self, after: int, since: float, progress: Progress) -> dict[str, Any]:
        """Wait for the measuring round as long as something happens within the policy's patience."""
        changes, seen = self._service.news.changes, self._how_far(None)
        while (line := self._measuring_round(after)) is None or not line.is_over:
            now = self._how_far(line)
            if now != seen:
                seen, since = now, self._service.monotonic()
            left_s = since + self._service.task.policy.wait_s + ANSWER_WITHIN_S - self._service.monotonic()
            if left_s <= 0:
                raise self._measuring_stands_still(line)
            progress(0.2 if line else 0.0, now)
            changes = self._service.news.changes_beyond(changes, left_s)
        with self._service.database.reading() as tx:
            measured = measurements.of_round(tx, line.number)
            if measured is None:
                raise NotPossibleNow(
                    f"Measuring round {line.number} was {line.state}: {line.reason or 'nobody says why'}.",
                    next="See the rounds page, then measure again.",
                )
            return {"round": line.number} | self._figures(tx, measured)

    def _figures(self, tx: Connection, measured: Measurement) -> dict[str, Any]:
        """Which version was measured, its accuracy, and that of the version it was trained from; None if unknown."""
        models, model = self._service.models, measured.model
        version = models.of_hash(tx, model)
        parent = models.parents(tx, version, version).get(version)
        before = None if parent is None else measurements.of_model(tx, models.version(tx, parent).sha256)
        return {
            "version": version,
            "accuracy": lines.received(self._service.task, measured).get("accuracy"),
            "accuracy_before": lines.received(self._service.task, before).get("accuracy"),
        }

    def _how_far(self, line: RoundLine | None) -> str:
        if line is None:
            return "Waiting for a measuring round to open"
        with self._service.database.reading() as tx:
            reports = round_table.arrived(tx, line.mh)
        return f"Round {line.number} is {line.state}: {reports} {'report' if reports == 1 else 'reports'} so far"

    def _measuring_stands_still(self, line: RoundLine | None) -> NotPossibleNow:
        if line is not None:
            return NotPossibleNow(
                f"Measuring round {line.number} is still {line.state}, and no further device has answered.",
                next="It goes on by itself when more devices are there. Or abandon it on its page.",
                slug="measuring-stands-still",
            )
        with self._service.database.transaction() as tx:
            notes.keep(tx, notes.MEASURE_NEXT, 0)
        return NotPossibleNow(
            "No measuring round could open.",
            next="See whether the secure aggregator is connected and enough devices are enrolled, then measure again.",
            slug="no-measuring-round",
        )

    def _measuring_round(self, after: int) -> RoundLine | None:
        """The newest measuring round beyond ``after``; training rounds may have opened since."""
        with self._service.database.reading() as tx:
            lines = round_table.page(tx, 0, _LOOK_BACK)
        return next((line for line in lines if line.number > after and line.kind == Kind.MEASURE), None)

    def _aggregate(self, progress: Progress) -> dict[str, Any]:
        with self._service.database.transaction() as tx:
            mh = self._service.rounds.ask(Order.FINISH, tx)
        self._service.news.tell(orders=True)
        progress(0.2, "Waiting for the secure aggregator")
        changes, deadline = self._service.news.changes, self._service.monotonic() + ANSWER_WITHIN_S
        while (state := self._state(mh)) in (State.OPEN, State.JUDGED, State.DISMISSED):
            left_s = deadline - self._service.monotonic()
            if left_s <= 0:
                raise Unreachable(
                    "The secure aggregator has not followed the order.",
                    next="Look at its page or its log; the order stands until it does.",
                )
            changes = self._service.news.changes_beyond(changes, left_s)
        if state not in (State.RELEASED, State.COMPLETE):
            raise NotPossibleNow(f"The round was {state}.", next="See the rounds page for the reason.")
        return {"state": state}

    def _state(self, mh: bytes) -> State:
        with self._service.database.reading() as tx:
            return round_table.by_hash(tx, mh).at

    def _publish(self, progress: Progress) -> dict[str, Any]:
        number = self._service.rounds.publish()
        progress(0.5, "Published")
        self._service.news.tell(soon=True)
        with self._service.database.reading() as tx:
            made = self._service.models.from_round(tx, number)
        return {"round": number, "published": made.number if made else None}
