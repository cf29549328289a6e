"""The versions that a fleet has fetched: each is read and checked once, whoever brings it first."""

from __future__ import annotations

import threading

from fanlight.errors import NotPossibleNow
from fanlight.protocol.exchange import Offer
from fanlight.protocol.plan import Plan
from fanlight.services.fleet.lesson import Lesson
from fanlight.services.fleet.terms import check_plan
from fanlight.simulation.population import Population
from fanlight.simulation.study import Study

_KEPT = 3
"""Devices may be a version apart for a moment, and main may change the plan of one."""


class Lessons:
    """Safe to share between threads.

    Args:
        study: what is simulated.
        population: who has what.
    """

    def __init__(self, study: Study, population: Population) -> None:
        self.population = population
        self._study = study
        self._lock = threading.Lock()
        self._files: dict[bytes, bytes] = {}
        self._known: dict[tuple[bytes, bytes], Lesson] = {}

    def find(self, offer: Offer) -> Lesson | None:
        """What an offer has everybody do; None if its model is not here (any more). Errors as in ``arrived``."""
        with self._lock:
            file = self._files.get(offer.model)
            return None if file is None else self._read(offer, file)

    def arrived(self, offer: Offer, file: bytes) -> Lesson:
        """What an offer has everybody do, of which a device has brought the model's file, whose hash is right.

        Raises:
            NotPossibleNow, SettingsError: another task by now than simulated devices can learn; see ``terms``.
            Refused: see ``Lesson.of``.
        """
        with self._lock:
            self._files.setdefault(offer.model, file)
            while len(self._files) > _KEPT:
                del self._files[next(iter(self._files))]
            return self._read(offer, file)

    def _read(self, offer: Offer, file: bytes) -> Lesson:
        key = offer.model, offer.plan
        found = self._known.get(key)
        if found is None:
            plan = Plan.decode(offer.plan)
            check_plan(plan, self._study)
            if plan.classes != self.population.classes:
                raise NotPossibleNow(
                    "The task's classes are others by now than those that these devices began with.",
                    slug="other-classes",
                    next="Begin anew, with devices of their own.",
                )
            found = self._known[key] = Lesson.of(offer, file, self.population, self._study.seed)
            while len(self._known) > _KEPT:
                del self._known[next(iter(self._known))]
        return found
