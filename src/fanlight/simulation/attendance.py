"""Whose updates a round of a study sums: of those that it opens for, or of those that are ready first."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from fanlight.protocol.plan import Kind
from fanlight.simulation.buffered import Buffer, collect, durations
from fanlight.simulation.checkpoint import Standing
from fanlight.simulation.study import Study
from fanlight.simulation.worlds.course import Course, run
from fanlight.simulation.worlds.hardware import Work
from fanlight.simulation.worlds.world import World


def is_buffered(study: Study, kind: Kind) -> bool:
    """Does the server take updates as they come? Sums that a head is solved from it collects in a round."""
    return kind is Kind.TRAIN and study.concurrency > 0


def attendance(
    study: Study, world: World, before: Standing, kind: Kind, work: Work, able: NDArray[np.bool_]
) -> tuple[Course, Buffer, Mapping[int, tuple[int, ...]]]:
    """How the next round goes; who is at work after it; whose updates are summed, by staleness."""
    number, at_s = before.next_round, before.simulated_s
    if is_buffered(study, kind):
        seconds = durations(world, number, work if study.world else None)
        places, size = study.concurrency, study.cohort
        return collect(before.buffer, world, number, at_s, seconds, size=size, concurrency=places, able=able)
    course = run(
        world,
        number,
        at_s,
        work,
        size=study.cohort,
        fewest_asked=study.fewest_asked,
        fewest_reports=study.fewest_reports,
        able=able,
    )
    return course, before.buffer, {0: course.reported}
