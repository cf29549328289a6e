"""The two steps of the aggregator by hand, as the page shows them and as jobs: aggregate (4) and release (5)."""

from __future__ import annotations

from typing import Any, Final

from fanlight.errors import NotPossibleNow
from fanlight.protocol.aggregator_round import TABLE, Event, State
from fanlight.services.aggregator.round_table import Stored, no_round
from fanlight.services.aggregator.service import AggregatorService, round_json
from fanlight.services.http.jobs import Job, Progress
from fanlight.services.http.steps import StepView

AGGREGATE: Final = "/aggregate_models"
RELEASE: Final = "/send_model_secagg"


class Steps:
    """Starts the jobs. What cannot be done now is refused before a job begins."""

    def __init__(self, service: AggregatorService) -> None:
        self._service = service

    def aggregate(self) -> Job:
        """Step 4.

        Raises:
            NotPossibleNow: too few reports, or no open round.
        """
        self._refuse(self._why_not_aggregate(self._service.rounds.latest()))
        return self._service.jobs.start(AGGREGATE, self._aggregate)

    def release(self) -> Job:
        """Step 5.

        Raises:
            NotPossibleNow: the round is not aggregated yet.
        """
        self._refuse(self._why_not_release(self._service.rounds.latest()))
        return self._service.jobs.start(RELEASE, self._release)

    def views(self) -> list[StepView]:
        """Both steps as their pages show them."""
        stored = self._service.rounds.latest()
        held = self._service.rounds.count(stored.record.mh) if stored else 0
        facts = [("Round", f"{stored.record.number}, {stored.record.state}" if stored else "none yet")]
        if stored is not None:
            facts.append(("Reports", f"{held} of at least {stored.record.terms.proposal.k_min}"))
        return [
            StepView(
                route=AGGREGATE,
                button="Aggregate Local Models",
                explanation="Closes the round: fixes which reports count, and gets the main server's word on them. "
                "This server sees only vectors that look like noise.",
                possible=True,
                now=True,
                reason=f"{held} reports are here.",
                next="Then send the sum to the main server (/send_model_secagg).",
                facts=tuple(facts),
                job=self._service.jobs.latest(AGGREGATE),
            ).unless(self._why_not_aggregate(stored)),
            StepView(
                route=RELEASE,
                button="Send Aggregated Model to Main Server",
                explanation="Takes this server's masks off the sum and sends the one result to the main server, "
                "once. Then every report and the round's key are destroyed.",
                possible=True,
                now=True,
                reason="The set is agreed; the sum can be released.",
                next="Then the main server publishes it (/send_model_clients).",
                facts=tuple(facts),
                job=self._service.jobs.latest(RELEASE),
            ).unless(self._why_not_release(stored)),
        ]

    def _why_not_aggregate(self, stored: Stored | None) -> NotPossibleNow | None:
        if stored is None:
            return no_round()
        if not TABLE.allows(stored.record.at, Event.CLOSE):
            return _refused(stored, Event.CLOSE)
        held, needed = self._service.rounds.count(stored.record.mh), stored.record.terms.proposal.k_min
        if held >= needed:
            return None
        return NotPossibleNow(
            f"Round {stored.record.number} holds {held} of the {needed} reports it needs.",
            next="Let more devices send their models (device page /sendmodel), then aggregate again.",
            slug="too-few-reports",
        )

    @staticmethod
    def _why_not_release(stored: Stored | None) -> NotPossibleNow | None:
        if stored is None:
            return no_round()
        if TABLE.allows(stored.record.at, Event.RELEASE):
            return None
        if stored.record.at in (State.COLLECTING, State.CLOSED):
            return NotPossibleNow(
                f"Round {stored.record.number} is not aggregated yet.",
                next="Aggregate the local models first (/aggregate_models).",
                slug="not-aggregated",
            )
        return _refused(stored, Event.RELEASE)

    @staticmethod
    def _refuse(why_not: NotPossibleNow | None) -> None:
        if why_not is not None:
            raise why_not

    def _aggregate(self, progress: Progress) -> dict[str, Any]:
        progress(0.1, "Closing the round")
        return round_json(self._service.close_round())

    def _release(self, progress: Progress) -> dict[str, Any]:
        progress(0.1, "Summing and releasing")
        return round_json(self._service.release_round())


def _refused(stored: Stored, event: Event) -> NotPossibleNow | None:
    try:
        TABLE.next(stored.record.at, event)
    except NotPossibleNow as error:
        return error
    return None
