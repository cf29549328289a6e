"""Workers that were forked: none outlives the first process, wherever that one ended."""

from __future__ import annotations

import os
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from fanlight.protocol.plan import Kind
from fanlight.simulation.engines.forked import Forked
from fanlight.simulation.orders import Order

ORDER = Order(round=1, kind=Kind.MEASURE, clip_micro=1, groups=[[0], [1]])


def workshop() -> Any:
    """Nothing is learned: only what a worker waits for is looked at."""
    return SimpleNamespace(
        algorithm=SimpleNamespace(publishes=()),
        learner=SimpleNamespace(layout=SimpleNamespace(size=4)),
        longest_sum_bytes=16,
        empty_sums=lambda _order: np.zeros(4, np.uint32),
        carry_out=lambda *_: [],
    )


@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize("told", [False, True], ids=["before the order", "between the order and its groups"])
def test_workers_end_with_the_first_process(workers: int, told: bool) -> None:
    engine = Forked(workshop(), workers)
    lines, processes = engine._lines, engine._processes
    if told:
        for line in lines:
            line.send_bytes(ORDER.encode())
    for line in lines:  # as the system does when it ends
        line.close()
    os.close(engine._queue[1])
    for process in processes:
        process.join(20)
    ended = [process.exitcode for process in processes]
    for process in processes:
        process.kill()
        process.join()
    os.close(engine._queue[0])
    assert ended == [0] * workers
