"""What comes when a round is over: training, measuring, or nothing, and why nothing.

Rules of the policy stop training for good: it has got no better for some rounds, or a version did much worse than the
best one before it. The stop is stored together with the way back to the best version, and stays until the operator
lets rounds go on; then counting begins anew. That it is paused, quiet, or that all rounds are done, is not stored: it
follows from the policy and the clock.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from sqlalchemy import Connection

from fanlight.core.percent import percent
from fanlight.learning.heads import HeadKind
from fanlight.protocol import codec
from fanlight.protocol.log import LogEntry
from fanlight.protocol.main_round import State
from fanlight.protocol.plan import Kind
from fanlight.services.main_server import (
    changing_sums,
    collected_sums,
    measurements,
    members,
    notes,
    quarantine,
    round_table,
    stopping_rules,
    teaching,
)
from fanlight.services.main_server.brake import Brake
from fanlight.services.main_server.policy import Policy
from fanlight.services.main_server.promotion import Reason
from fanlight.services.main_server.scores import Scores, begin_anew
from fanlight.services.main_server.service import MainService
from fanlight.services.main_server.stopping_rules import Score

STOPPED: Final = "stopped"
"""Type of the log entry; its payload is CBOR [reason, version that it was stopped by, best version]."""
RESUMED: Final = "resumed"
"""Type of the log entry: the operator lets rounds go on after a stop; its payload is empty."""
_MEASURING_TRIES: Final = 3
_PATIENCE_OF_SOLVED: Final = 2
_GO_ON: Final = "To train on, let rounds go on (/task)."


class Stop(IntEnum):
    """Which rule has stopped training, as it is stored."""

    NONE = 0
    NO_BETTER = 1
    DROPPED = 2


_REASONS: Final = {Stop.NO_BETTER: Reason.NO_BETTER, Stop.DROPPED: Reason.DROPPED}


@dataclass(frozen=True)
class Hold:
    """Why no round opens.

    Attributes:
        reason: ``dropped``, ``no-better``, ``paused``, ``all-done``, ``quiet``, ``too-few-present`` or
            ``in-vain``; stable, for machines.
        title, message: for people.
        next: what the operator can do about it.
        until: unix seconds; None if it takes the operator, or devices, to end it.
        can_go_on: does the operator end it by letting rounds go on.
    """

    reason: str
    title: str
    message: str
    next: str
    until: float | None = None
    can_go_on: bool = False


class Course:
    """Decides for a service; methods run inside the caller's transaction."""

    def __init__(self, service: MainService) -> None:
        self._service = service
        self._scores = Scores()
        self._brake = Brake(service.monotonic)

    @property
    def _policy(self) -> Policy:
        return self._service.task.policy

    @property
    def _patience(self) -> int:
        """Rounds without a better version after which training ends, by itself; 0: no end.

        A head that was solved is trained further only as long as that helps.
        """
        solved = HeadKind(self._service.task.head).is_solved
        return self._policy.patience_rounds or (_PATIENCE_OF_SOLVED if solved else 0)

    def is_stop_due(self, tx: Connection) -> bool:
        """Would ``stop`` change anything?"""
        return self._due(tx) is not None

    def stop(self, tx: Connection) -> bool:
        """Between two rounds: stop, and go back to the best version, if a rule says so; has anything changed?"""
        due = self._due(tx)
        if due is None:
            return False
        stop, by, best = due
        if stop is Stop.NONE:
            return self._service.promotion.restore(tx, best.version, Reason.BEST)
        self._keep(tx, stop, by, best)
        return True

    def _due(self, tx: Connection) -> tuple[Stop, Score, Score] | None:
        """Which rule ends training now, by which version, and the best one; ``NONE``: all rounds have been."""
        policy, stopped = self._policy, notes.read(tx, notes.STOPPED, Stop.NONE)
        patient = policy.by_itself and self._patience > 0
        if stopped or not (patient or policy.stop_on_drop_points):
            return None
        scores = self._scores.counted(tx)
        if not scores:
            return None
        if policy.stop_on_drop_points and stopping_rules.has_dropped(scores, policy.stop_on_drop_points):
            return Stop.DROPPED, scores[-1], stopping_rules.best(scores[:-1])
        if not patient:
            return None
        best = stopping_rules.best(scores)
        if self._is_fruitless(tx, scores) and not self._should_measure(tx):
            return Stop.NO_BETTER, scores[-1], best
        is_current = best.version == self._service.models.current(tx).number
        return (Stop.NONE, scores[-1], best) if self._all_done(tx) and not is_current else None

    def next_kind(self, tx: Connection) -> Kind | None:
        """What the next round does; None if none is to open now."""
        if self._too_few_present(tx) or self._braked(tx):
            return None
        if notes.read(tx, notes.MEASURE_NEXT, 0):
            return None if self.why_not_even_measure() else Kind.MEASURE
        if self._changes_are_due(tx):
            last = round_table.latest_line(tx)
            in_vain = last is not None and last.kind == Kind.CHANGES and last.at is not State.COMPLETE
            return (self._learning(tx) if in_vain else None) or Kind.CHANGES
        return self._learning(tx)

    def _changes_are_due(self, tx: Connection) -> bool:
        """Is a round to take in what has changed? By itself, as soon as it has company; nothing else has to be left."""
        service = self._service
        if self.why_not_even_measure() is not None or not HeadKind(service.task.head).is_solved:
            return False
        if collected_sums.collection(tx) is None:
            return False
        if notes.read(tx, notes.CHANGES_NEXT, 0):
            return True
        policy = self._policy
        return policy.by_itself and changing_sums.are_enough(tx, service.task, service.changers, service.presence)

    def _learning(self, tx: Connection) -> Kind | None:
        """What the next round does if it is none of changes."""
        if self._hold(tx) is not None:
            return None
        if not self._policy.by_itself:
            return teaching.kind_of_next(tx, self._service.task)
        fruitless = self._patience and self._is_fruitless(tx, self._scores.counted(tx))
        if fruitless or self._enough_trained(tx):
            return Kind.MEASURE
        return teaching.kind_of_next(tx, self._service.task)

    def hold(self, tx: Connection) -> Hold | None:
        """Why no round opens after the one that is open, if any."""
        return self._braked(tx) if self._changes_are_due(tx) else self._hold(tx)

    def _hold(self, tx: Connection) -> Hold | None:
        stopped = Stop(notes.read(tx, notes.STOPPED, Stop.NONE))
        if stopped is not Stop.NONE:
            return self._stopped(tx, stopped)
        if self._policy.paused:
            return self.why_not_even_measure()
        if self._all_done(tx):
            number = self._policy.rounds
            advice = f"Training rounds by the policy: {number}. For more, raise that number, or set 0: no end (/task)."
            return Hold("all-done", "All rounds are done.", self._current(tx), advice)
        return self.why_not_even_measure() or self._too_few_present(tx) or self._braked(tx)

    def why_not_even_measure(self) -> Hold | None:
        """Why no round of any kind opens now."""
        if self._policy.paused:
            message = "No round opens until you let rounds go on."
            return Hold("paused", "Rounds are paused.", message, _GO_ON, can_go_on=True)
        quiet, now = self._policy.quiet, self._service.clock()
        until = quiet.until(now) if quiet else None
        if quiet is None or until is None:
            return None
        title, advice = f"Quiet until {quiet.in_words(until)}.", "Wait, or change the quiet hours (/task)."
        return Hold("quiet", title, "No round opens in the quiet hours.", advice, until)

    def _too_few_present(self, tx: Connection) -> Hold | None:
        """Between two rounds: no cohort is drawn of devices that are away."""
        policy = self._policy
        if not policy.cohort_size:
            return None
        line = round_table.latest_line(tx)
        if line is not None and not line.is_over:
            return None
        known, present = len(members.confirmed(tx)), len(self._service.proposals.candidates(tx))
        if present >= policy.k_min or known < policy.k_min:
            return None
        message = f"{present} of the {policy.k_min} that a round needs are connected; cohorts are drawn of these."
        return Hold("too-few-present", "Waiting for devices.", message, "A round opens when more are connected.")

    def _braked(self, tx: Connection) -> Hold | None:
        """Between two rounds: several have come to nothing, one after the other."""
        left_s = self._brake.left_s(tx)
        if left_s <= 0:
            return None
        message = (
            f"The last {self._brake.in_vain(tx)} were given up or have failed; the next one opens by itself later."
        )
        names = [line["name"] for line in quarantine.listed(tx, self._policy.k_min)]
        suspects = f"What {', '.join(names)} sent could not be opened: look there, or revoke it. " if names else ""
        advice = f"{suspects}See why (/rounds). Then let rounds go on."
        until = self._service.clock() + left_s
        return Hold("in-vain", "Rounds come to nothing.", message, advice, until, can_go_on=True)

    def finished(self, tx: Connection) -> bool:
        """Does no further round open, unless the operator changes something?"""
        hold, line = self.hold(tx), round_table.latest_line(tx)
        over = line is None or line.is_over
        return over and hold is not None and hold.reason in ("all-done", *_REASONS.values())

    def go_on(self, tx: Connection) -> None:
        """Let rounds open again after a stop; what was measured before counts no more."""
        self._brake.release(tx)
        if not notes.read(tx, notes.STOPPED, Stop.NONE):
            return
        notes.keep(tx, notes.STOPPED, Stop.NONE)
        begin_anew(tx, self._service.models.current(tx).number)
        self._service.log.append(tx, [LogEntry(RESUMED, b"")])

    def _keep(self, tx: Connection, stop: Stop, by: Score, best: Score) -> None:
        notes.keep_all(tx, {notes.STOPPED: stop, notes.STOPPED_BY: by.version, notes.STOPPED_AT: best.version})
        reason = _REASONS[stop]
        self._service.log.append(tx, [LogEntry(STOPPED, codec.encode([reason.value, by.version, best.version]))])
        self._service.promotion.restore(tx, best.version, reason)

    def _stopped(self, tx: Connection, stop: Stop) -> Hold:
        by, best = notes.read(tx, notes.STOPPED_BY, 0), notes.read(tx, notes.STOPPED_AT, 0)
        current, reason = self._current(tx), _REASONS[stop].value
        if stop is Stop.DROPPED:
            message = (
                f"Version {by} named {self._right(tx, by)} of the held-out pictures rightly, "
                f"version {best} had named {self._right(tx, best)}."
            )
            return Hold(reason, "Stopped: the accuracy dropped.", f"{message} {current}", _GO_ON, can_go_on=True)
        message = (
            f"No version up to {by} named more of the held-out pictures rightly than version {best}, "
            f"{self._right(tx, best)}."
        )
        return Hold(reason, "Done: it gets no better.", f"{message} {current}", _GO_ON, can_go_on=True)

    def _right(self, tx: Connection, version: int) -> str:
        measured = measurements.of_model(tx, self._service.models.version(tx, version).sha256)
        return percent(measured.received.accuracy if measured else None)

    def _current(self, tx: Connection) -> str:
        return f"Version {self._service.models.current(tx).number} is current."

    def _is_fruitless(self, tx: Connection, scores: list[Score]) -> bool:
        """Would so many rounds have been no better as the policy allows, if the newest version is not?

        The newest one is measured then, and it is known whether it is.
        """
        if not scores:
            return False
        untested = self._service.models.current(tx).number > scores[-1].version
        return stopping_rules.rounds_without_better(scores) + untested >= self._patience

    def _enough_trained(self, tx: Connection) -> bool:
        policy = self._policy
        return policy.by_itself and 0 < policy.rounds <= round_table.count_taught(tx)

    def _all_done(self, tx: Connection) -> bool:
        """By itself and with a number of rounds: have they been, and is the last model measured (or not measurable)?"""
        return self._enough_trained(tx) and not self._should_measure(tx)

    def _should_measure(self, tx: Connection) -> bool:
        model = self._service.models.current(tx).sha256
        if measurements.of_model(tx, model) is not None:
            return False
        return round_table.count_measured(tx, model) < _MEASURING_TRIES
