"""``fanlight demo --augment``: rounds with variants of pictures, with real processes and pictures."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.e2e.test_demo import LIMIT_S, Demo


@pytest.mark.timeout(2 * LIMIT_S)
@pytest.mark.parametrize("head", ["analytic", pytest.param("softmax", marks=pytest.mark.long)])
def test_a_round_is_learned_from_variants_and_counts_pictures(tmp_path: Path, head: str) -> None:
    arguments = ("--dataset", "shapes", "--head", head, "--augment", "2:zoom=10", "--rounds", 1, "--exit", "--json")
    demo = Demo(tmp_path, *arguments)
    try:
        code, out = demo.wait()
        assert code == 0, demo.errors.read_text()
        result = json.loads(out)
        (only,) = result["rounds"]
        assert only["accuracy_before"] == pytest.approx(0.25)
        assert only["balanced_accuracy_after"] > (0.9 if head == "analytic" else 0.6)
        assert result["model"]["version"] == 1
        for number in (1, 2):
            features = tmp_path / "state" / "run-1" / f"device-{number}" / "features"
            kept = {folder.name.split("-", 2)[2]: sum(path.is_file() for path in folder.rglob("*"))
                    for folder in features.iterdir() if folder.name.count("-") > 1}  # fmt: skip
            assert kept == {"v1-f1-z10-l20-0": 60, "v1-f1-z10-l20-1": 60}, "of the training pictures alone"
            whole = [sum(path.is_file() for path in folder.rglob("*")) for folder in features.iterdir()]
            assert max(whole) == 100
    finally:
        demo.close()
