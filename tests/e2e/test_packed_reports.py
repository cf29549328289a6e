"""A task of 16-bit updates, with real processes: small reports, and the exact sum becomes the next version."""

from __future__ import annotations

from pathlib import Path

import pytest

from fanlight.learning.datasets import shapes
from tests.crash.federation import running
from tests.crash.invariants import Invariants
from tests.crash.role import LIMIT_S
from tests.crash.test_restarts import by_hand
from tests.services_world import draw


@pytest.mark.timeout(3 * LIMIT_S)
def test_a_packed_task_completes_rounds_with_the_exact_sum(tmp_path: Path) -> None:
    folders = (tmp_path / "pictures-1", tmp_path / "pictures-2")
    for number, folder in enumerate(folders):
        draw(folder, number, {"train": 2, "valid": 1, "test": 1}, shapes.CLASSES)
    with running(tmp_path, folders, update_bits=16, most_pictures=10, n_max=1000) as federation:
        by_hand(federation, lambda: None)
        rounds = federation.ask("aggregator", "/api/v1/rounds/held")["rounds"]
        (trained,) = [line for line in rounds if line["kind"] == "train" and line["reports"]]
        parameters = 1281 * len(shapes.CLASSES)
        assert trained["reports"] == 2
        assert trained["numbers"] > parameters
        assert 4 * trained["words"] == trained["report_bytes"] <= 3.3 * parameters
        Invariants(federation).check()
