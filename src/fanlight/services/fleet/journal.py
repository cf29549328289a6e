"""What a fleet sees of rounds: who has built, sent and ended what, and the version that came of it.

A round is told when three things are known: its signed outcome, a later version than the one that it began from, and
what became of every report of the fleet's. Rounds that bring no version are told of as news.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from fanlight.protocol.closing import InclusionProof, Result
from fanlight.protocol.device_round import End
from fanlight.protocol.manifest import Proposal
from fanlight.protocol.plan import Kind
from fanlight.services.fleet.lesson import Lesson
from fanlight.simulation.population import Population
from fanlight.simulation.result import Line, figures


@dataclass
class _Round:
    """One that was offered: what it began from, and what the fleet has done in it."""

    proposal: Proposal
    version: int
    opened_s: float
    waiting: set[int] = field(default_factory=set)
    sizes: dict[int | None, int] = field(default_factory=dict)
    end: End | None = None
    built: int = 0
    sent: int = 0
    included: int = 0
    bytes_up: int = 0
    device_seconds: float = 0.0
    clip: float = 0.0
    within_clip: int = 0

    @property
    def teaches(self) -> bool:
        return Kind(self.proposal.kind).teaches


@dataclass(frozen=True)
class _Version:
    lesson: Lesson
    seen_s: float
    figures: Mapping[str, Any]


class Journal:
    """Safe to share between threads.

    Args:
        population: who has what.
        monotonic: seconds that only grow.
        wanted: how many rounds are told of in all; what comes of later ones is not.
        told: rounds of earlier runs.
        on_line: told of each round that a version came of.
        on_news: told of others, in words.

    Attributes:
        lines: of all rounds so far.
        others: rounds without a version: round, kind, result and reason of each.
        latest: the newest version's.
    """

    def __init__(
        self,
        population: Population,
        monotonic: Callable[[], float],
        wanted: int,
        told: Sequence[Line],
        on_line: Callable[[Line], object],
        on_news: Callable[[str], object],
    ) -> None:
        self.lines = list(told)
        self.others: list[Mapping[str, Any]] = []
        self.latest: Lesson | None = None
        self._population = population
        self._monotonic = monotonic
        self._wanted = wanted
        self._on_line = on_line
        self._on_news = on_news
        self._lock = threading.RLock()
        self._rounds: dict[bytes, _Round] = {}
        self._versions: dict[int, _Version] = {}
        self._fetched: Counter[bytes] = Counter()

    def fetched(self, lesson: Lesson) -> None:
        """A device has fetched a model."""
        with self._lock:
            self._fetched[lesson.sha256] += lesson.file_bytes
            if lesson.version in self._versions and self._versions[lesson.version].lesson.sha256 == lesson.sha256:
                return
            self._versions[lesson.version] = _Version(lesson, self._monotonic(), self._measured(lesson))
            self.latest = lesson
            self._tell()

    def opened(self, mh: bytes, proposal: Proposal, lesson: Lesson) -> None:
        """A device is offered a round."""
        with self._lock:
            if mh not in self._rounds:
                self._rounds[mh] = _Round(proposal, lesson.version, self._monotonic())

    def built(self, mh: bytes, device: int, *, seconds: float, clip: float, within_clip: bool) -> None:
        """A device has built its report."""
        with self._lock:
            seen = self._rounds.get(mh)
            if seen is None:  # over already: this report comes too late for it
                return
            seen.waiting.add(device)
            seen.built += 1
            seen.device_seconds += seconds
            seen.clip = clip
            seen.within_clip += within_clip

    def delivered(self, mh: bytes, size: int) -> None:
        """Both servers have acknowledged a report, of so many bytes."""
        with self._lock:
            if mh in self._rounds:
                self._rounds[mh].sent += 1
                self._rounds[mh].bytes_up += size

    def ended(self, device: int, end: End, proof: InclusionProof | None) -> None:
        """A device has verified what became of its report."""
        with self._lock:
            seen = self._rounds.get(end.record.mh)
            if seen is None:  # of an earlier run
                return
            seen.waiting.discard(device)
            seen.included += end.was_included
            if proof is not None and end.was_included:
                seen.sizes[proof.shard] = proof.size
            if seen.end is None:
                seen.end = end
                self._tell_other(seen, end)
            self._tell()

    def gone(self, device: int) -> None:
        """A device is no member any more, and will hear of no round's end."""
        with self._lock:
            for seen in self._rounds.values():
                seen.waiting.discard(device)
            self._tell()

    @property
    def is_done(self) -> bool:
        """Were as many rounds told of as are wanted?"""
        return len(self.lines) >= self._wanted

    @property
    def is_measuring(self) -> bool:
        """Has a device of the fleet a report in a measuring round that is not over?"""
        with self._lock:
            return any(seen.waiting and not seen.teaches for seen in self._rounds.values())

    def _measured(self, lesson: Lesson) -> Mapping[str, Any]:
        found: dict[str, Any] = figures(lesson.measured_on(self._population.test))
        if self._population.marked is not None:
            found["backdoor_success"] = figures(lesson.measured_on(self._population.marked))["accuracy"]
        return found

    def _tell_other(self, seen: _Round, end: End) -> None:
        number, kind = seen.proposal.round, seen.proposal.kind
        if seen.teaches and end.result is Result.RELEASED:
            return
        self.others.append({"round": number, "kind": kind, "result": end.result.value, "reason": end.reason})
        if end.result is Result.RELEASED:
            self._on_news(f"Round {number} has measured version {seen.version}.")
        else:
            self._on_news(f"Round {number} was {end.result.value}: {end.reason}.")

    def _tell(self) -> None:
        """Tell of every round that all is known of; by the version that it began from."""
        for mh, seen in sorted(self._rounds.items(), key=lambda each: each[1].proposal.round):
            later = [version for version in self._versions if version > seen.version]
            if seen.waiting or (seen.end is None and seen.built):
                continue
            brings = seen.end is not None and seen.teaches and seen.end.result is Result.RELEASED
            if later or (seen.end is not None and not brings):
                del self._rounds[mh]
            if later and brings and not self.is_done:
                self._told(mh, seen, self._versions[min(later)])
        oldest = min((seen.version for seen in self._rounds.values()), default=None)
        for version in sorted(self._versions)[:-1]:
            if oldest is None or version <= oldest:
                del self._versions[version]

    def _told(self, mh: bytes, seen: _Round, version: _Version) -> None:
        line = Line(
            round=seen.proposal.round,
            participants=sum(seen.sizes.values()),
            **version.figures,
            seconds=version.seen_s - seen.opened_s,
            bytes_up=seen.bytes_up,
            bytes_down=self._fetched[seen.proposal.model],
            device_seconds=seen.device_seconds,
            clip=seen.clip,
            within_clip=seen.within_clip,
            live={
                "version": version.lesson.version,
                "kind": seen.proposal.kind,
                "manifest": mh.hex(),
                "built": seen.built,
                "sent": seen.sent,
                "included": seen.included,
            },
        )
        self.lines.append(line)
        self._on_line(line)
