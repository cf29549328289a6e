"""The three steps by hand: under which conditions they can be performed, and how their pages show them.

The page and the ``POST`` ask the same functions, so a button that is offered works, and one that is not says why.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from fanlight.core.percent import percent
from fanlight.errors import FanlightError, NotAuthentic, NotPossibleNow, Refused, RemoteError, Unreachable
from fanlight.protocol.device_round import PREPARATION, Preparation, PreparationEvent, Record
from fanlight.protocol.report import Envelope, body_bytes
from fanlight.services.device.deliveries import may_pass
from fanlight.services.device.rounds import UNDELIVERED, Opening, Rounds, as_not_possible
from fanlight.services.http.backoff import Backoff
from fanlight.services.http.jobs import Job, Jobs, Progress
from fanlight.services.http.steps import StepView

TRAIN: Final = "Model training"
ANNOUNCE: Final = "Sending the status"
SEND: Final = "Sending the model"
MEASURE: Final = "Measuring"
KNOCK_S: Final = 0.6
"""Bound of the first waits for a server that does not answer: starting again takes it one second, and nobody is to wait
for more than another one."""
_TRIES: Final = 10
_PATIENCE_S: Final = 5.0
"""A button does not wait for longer before the next attempt; the agent does."""
_SO_FAR: Final = {
    Preparation.IDLE: "has not trained this version yet",
    Preparation.TRAINED: "has trained",
    Preparation.ANNOUNCED: "has trained and announced",
    Preparation.SENT: "has sent what it learned",
}
_NOT_DELIVERED: Final = "has a report that is not delivered yet"


@dataclass(frozen=True)
class Steps:
    """What an owner, or the agent in the owner's place, can ask of this device.

    Attributes:
        rounds: this device's part in rounds. jobs: run what takes long.
        jitter: a number in [0, 1), fresh each call. sleep: wait some seconds.
    """

    rounds: Rounds
    jobs: Jobs
    jitter: Callable[[], float]
    sleep: Callable[[float], object]

    # -- perform

    def train(self) -> Job:
        """Step 1.

        Raises:
            NotPossibleNow, DataError: it cannot be performed now.
        """
        self.rounds.learner.look()
        self.check_train()
        return self.jobs.start(TRAIN, self._train)

    def announce(self) -> Job:
        """Step 2; errors as in ``train``."""
        self.check_announce()
        return self.jobs.start(ANNOUNCE, self._announce)

    def send(self) -> Job:
        """Step 3; errors as in ``train``."""
        self.check_send()
        return self.jobs.start(SEND, self._send)

    def answer(self) -> Job:
        """Step 3 of a round by itself, without step 2: a report says that this device has trained."""
        return self.jobs.start(SEND, functools.partial(self._send, event=PreparationEvent.ANSWER))

    def take_out(self) -> Job:
        """Answer a round of changes with what takes back all that is counted of this device."""
        return self.jobs.start(SEND, self._take_out)

    def measure(self) -> Job:
        """Answer a measuring round."""
        return self.jobs.start(MEASURE, self._answer_measuring)

    def look_at_model(self) -> Job:
        """Measure the current global model on this device's own test pictures."""
        return self.jobs.start(MEASURE, self._look_at_model)

    # -- conditions

    def check_train(self) -> None:
        """Raise why step 1 cannot be performed, if so."""
        self.rounds.held()
        self.rounds.learner.check()

    def look_for_pictures(self) -> None:
        """Where there were no training pictures, the owner may have put some. Reads the folder, so not for pages."""
        if self.rounds.learner.pictures.lacks_training:
            self.rounds.learner.look()

    def check_announce(self) -> None:
        """Raise why step 2 cannot be performed, if so."""
        self._check_wishes()
        self.rounds.held()
        PREPARATION.next(self.rounds.offers.preparation, PreparationEvent.ANNOUNCE)

    def check_send(self) -> None:
        """Raise why step 3 cannot be performed, if so."""
        self._to_send(PreparationEvent.SEND)

    def _to_send(self, event: PreparationEvent) -> Record | Opening:
        """The report that is not delivered yet, or the open round for which one can be built."""
        self._check_wishes()
        self.rounds.held()
        signed = self.rounds.offers.manifest
        record = self.rounds.store.report(signed.hash) if signed else None
        if record is not None:
            if record.at not in UNDELIVERED:
                raise _already_sent(record)
            return record
        PREPARATION.next(self.rounds.offers.preparation, event)
        opening = self._opening()
        if not opening.trains:
            raise NotPossibleNow(
                "The open round only measures; this device answers it by itself.",
                slug="measuring-round",
                next="Wait for the next training round.",
            )
        return opening

    def _check_wishes(self) -> None:
        try:
            self.rounds.wishes.check()
        except Refused as error:
            raise as_not_possible(error) from error

    # -- pages

    def views(self) -> list[StepView]:
        """The three steps as their pages show them."""
        return [
            self._view(
                "/modeltrain",
                "Model Training (Locally)",
                "Trains a model on this device's own pictures, further from the current global model. "
                "Nothing leaves this device.",
                self.check_train,
                TRAIN,
            ),
            self._view(
                "/sendstatus",
                "Send Status to Main Server",
                "Tells the main server that this device has trained and could take part. It sends no model.",
                self.check_announce,
                ANNOUNCE,
            ),
            self._view(
                "/sendmodel",
                "Send Model to Federated Server",
                "Sends what was learned, masked twice, to the secure aggregator. "
                "Neither server can read it; only the sum over all devices comes to light.",
                self.check_send,
                SEND,
            ),
        ]

    def view(self, route: str) -> StepView:
        """One of them, by its route."""
        return next(view for view in self.views() if view.route == route)

    def _view(self, route: str, button: str, explanation: str, check: Callable[[], None], kind: str) -> StepView:
        job = self.jobs.latest(kind)
        try:
            check()
        except FanlightError as error:
            return StepView(route, button, explanation, False, error.message, error.next, self._facts(), job)
        reason = "It is running." if job and job.active else "It can be performed now."
        return StepView(route, button, explanation, not (job and job.active), reason, "", self._facts(), job)

    def _facts(self) -> tuple[tuple[str, str], ...]:
        held, prepared = self.rounds.store.held, self.rounds.offers.prepared
        facts = [("Global model", f"version {held.version}" if held else "none yet")]
        undelivered = self.rounds.undelivered()
        facts.append(("This device", _NOT_DELIVERED if undelivered else _SO_FAR[self.rounds.offers.preparation]))
        if prepared:
            accuracy = prepared.local.metrics.accuracy
            facts.append(("Training pictures", str(prepared.examples)))
            facts.append(("Its own model names rightly", "no test pictures" if accuracy is None else percent(accuracy)))
        return tuple(facts)

    # -- jobs

    def _train(self, progress: Progress) -> dict[str, Any]:
        prepared = self.rounds.learner.train(self.rounds.held(), progress, self.rounds.most_pictures())
        return {
            "model_version": prepared.model_version,
            "examples": prepared.examples,
            "epochs": prepared.epochs,
            "received_accuracy": prepared.received.metrics.accuracy,
            "local_accuracy": prepared.local.metrics.accuracy,
        }

    def _announce(self, progress: Progress) -> dict[str, Any]:
        progress(0.0, "telling the main server")
        self.rounds.announce()
        return {"state": self.rounds.offers.preparation.value}

    def _send(self, progress: Progress, event: PreparationEvent = PreparationEvent.SEND) -> dict[str, Any]:
        found = self._to_send(event)
        if isinstance(found, Opening):
            progress(0.1, "building the masked report")
            found = self.rounds.commit_training(found, event)
        return self._deliver(found, progress)

    def _answer_measuring(self, progress: Progress) -> dict[str, Any]:
        opening = self._opening()
        record = self.rounds.store.report(opening.signed.hash)
        if record is None:
            record = self.rounds.commit_measuring(opening, progress)
        return self._deliver(record, progress)

    def _take_out(self, progress: Progress) -> dict[str, Any]:
        opening = self._opening()
        record = self.rounds.store.report(opening.signed.hash)
        if record is None:
            progress(0.1, "building the masked report that takes this device's pictures out")
            record = self.rounds.commit_taking_out(opening)
        return self._deliver(record, progress)

    def _look_at_model(self, progress: Progress) -> dict[str, Any]:
        learned = self.rounds.learner.measure(self.rounds.held(), progress)
        return {"accuracy": learned.received.metrics.accuracy}

    def _opening(self) -> Opening:
        try:
            return self.rounds.examine()
        except (Refused, NotAuthentic) as error:
            raise as_not_possible(error) from error

    def _deliver(self, record: Record, progress: Progress) -> dict[str, Any]:
        backoff = Backoff(self.jitter, first_s=KNOCK_S, longest_s=_PATIENCE_S, steady=_TRIES // 2)
        progress(0.5, "Sending")
        for attempt in range(1, _TRIES + 1):
            try:
                return sent_json(self.rounds.deliver(record.mh))
            except RemoteError as error:
                if attempt == _TRIES or not may_pass(error) or (error.retry_after_s or 0.0) > _PATIENCE_S:
                    raise _later(error) from error
                pause_s = backoff.next(error.retry_after_s)
                progress(0.5, f"Not delivered yet: {error.message} Trying again ({next_try(pause_s)}).")
            self.sleep(pause_s)
        raise AssertionError("the last attempt returns or raises")


def next_try(in_s: float) -> str:
    """When the next attempt is, in words."""
    return f"next try in {in_s:.0f} s" if in_s >= 1 else "next try now"


def sent_json(record: Record) -> dict[str, Any]:
    """A report as its owner reads it; ``fingerprint`` is the report id that receipt and proof name.

    ``bytes`` are those of the report as it is sent.
    """
    envelope = Envelope.decode(record.envelope)
    return {
        "round": record.number,
        "kind": record.kind,
        "manifest": record.mh.hex(),
        "fingerprint": envelope.report_id.hex(),
        "bytes": body_bytes(record.envelope, record.length),
        "state": record.delivery,
        "at": record.committed_at,
    }


def _already_sent(record: Record) -> NotPossibleNow:
    return NotPossibleNow(
        f"The report for round {record.number} has been sent.",
        slug="already-sent",
        next="Wait until the round is over.",
        round_number=record.number,
    )


def _later(error: RemoteError) -> Unreachable:
    advice = "The report is kept, and this device goes on trying by itself until the round is over."
    said = f"{error.next} {advice}".strip()
    return Unreachable(error.message, slug=error.slug, next=said, retry_after_s=error.retry_after_s)
