"""The federations that cases happen to: what is learned in them, by which algorithm, and how vectors travel."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from enum import StrEnum
from typing import Final
from unittest import mock

from fanlight.protocol.report import WHOLE_BYTES
from fanlight.services.aggregator import uploads
from fanlight.services.device import client
from fanlight.services.main_server.algorithm_choice import AlgorithmChoice
from fanlight.services.main_server.policy import Policy
from fanlight.services.main_server.task import Task, Training

DEVICES: Final = 4
"""As many as two shards of ``k_min`` take."""
WINDOW_S: Final = 600
_POLICY: Final = Policy(
    demo=True, by_itself=True, k_min=2, n_max=DEVICES, r_max_percent=34, window_s=WINDOW_S, wait_s=60
)
_TASK: Final = Task(classes=("circle", "square"), picture_size=32, training=Training(epochs=1), policy=_POLICY)
_LARGE: Final = 4096
"""Bytes of y from which on it is large, in a federation where all are: a head has 10,000."""


class Scenario(StrEnum):
    """A federation."""

    PLAIN = "averaged, 32 bits"
    PACKED = "averaged, packed"
    IN_PARTS = "packed, and large: asked for what is there, and sent from there on"
    SCAFFOLD = "SCAFFOLD, with what both sides remember"
    STATISTICS = "solved from sums in 64 bits, then averaged"
    SAMPLED = "averaged, three of four drawn by lot"

    @property
    def task(self) -> Task:
        """What its main server is set up with."""
        match self:
            case Scenario.PACKED | Scenario.IN_PARTS:
                return _TASK.with_policy(update_bits=16)
            case Scenario.SCAFFOLD:
                return _TASK.with_algorithm(AlgorithmChoice(name="scaffold").model_dump())
            case Scenario.STATISTICS:
                return Task(**{**{name: getattr(_TASK, name) for name in Task.model_fields}, "head": "prototypes"})
            case Scenario.SAMPLED:
                return _TASK.with_policy(cohort_size=3)
        return _TASK

    @contextmanager
    def sizes(self) -> Generator[None, None, None]:
        """Here it may be that all reports are large."""
        most = _LARGE if self is Scenario.IN_PARTS else WHOLE_BYTES
        with mock.patch.object(uploads, "WHOLE_BYTES", most), mock.patch.object(client, "WHOLE_BYTES", most):
            yield
