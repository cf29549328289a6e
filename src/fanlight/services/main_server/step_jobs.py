"""The steps that the main server performs by hand, as jobs: aggregate (4 and 5 at once) and publish (6)."""

from __future__ import annotations

from typing import Any, Final

from fanlight.errors import NotPossibleNow, Unreachable
from fanlight.protocol.exchange import Order
from fanlight.protocol.main_round import State
from fanlight.services.http.jobs import Job, Progress
from fanlight.services.main_server import round_table
from fanlight.services.main_server.overview import AGGREGATE, PUBLISH
from fanlight.services.main_server.rounds import Rounds
from fanlight.services.main_server.service import MainService

ANSWER_WITHIN_S: Final = 60.0
"""How long the aggregator may take to follow an order."""


class Steps:
    """Starts the jobs. What cannot be done now is refused before a job begins."""

    def __init__(self, service: MainService) -> None:
        self._service = service

    def aggregate(self) -> Job:
        """Steps 4 and 5: order the aggregator to finish the round, wait until its sum is here.

        Raises:
            NotPossibleNow: no open round, or too few reports.
        """
        with self._service.database.transaction() as tx:
            why_not = self._service.rounds.why_not_ask(tx, round_table.latest(tx), Order.FINISH)
        if why_not is not None:
            raise why_not
        return self._service.jobs.start(AGGREGATE, self._aggregate)

    def publish(self) -> Job:
        """Step 6: publish the new version; the next round opens.

        Raises:
            NotPossibleNow: no round is released.
        """
        stored = self._service.latest()
        if stored is None or stored.at is not State.RELEASED:
            raise Rounds.why_not_publish(stored)
        return self._service.jobs.start(PUBLISH, self._publish)

    def _aggregate(self, progress: Progress) -> dict[str, Any]:
        with self._service.database.transaction() as tx:
            mh = self._service.rounds.ask(Order.FINISH, tx)
        self._service.notify()
        deadline = self._service.clock() + ANSWER_WITHIN_S
        with self._service.changed:
            while (state := self._state(mh)) in (State.OPEN, State.JUDGED, State.DISMISSED):
                progress(0.2, "Waiting for the secure aggregator")  # each time: here the job ends if the process does
                if self._service.clock() > deadline:
                    raise Unreachable(
                        "The secure aggregator has not followed the order.",
                        next="Look at its page or its log; the order stands until it does.",
                    )
                self._service.changed.wait(0.5)
        if state not in (State.RELEASED, State.COMPLETE):
            raise NotPossibleNow(f"The round was {state}.", next="See the rounds page for the reason.")
        return {"state": state}

    def _state(self, mh: bytes) -> State:
        with self._service.database.transaction() as tx:
            return round_table.by_hash(tx, mh).at

    def _publish(self, progress: Progress) -> dict[str, Any]:
        number = self._service.rounds.publish()
        progress(0.5, "Published")
        self._service.notify(offers=True)
        return {"round": number}
