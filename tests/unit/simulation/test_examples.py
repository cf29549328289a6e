"""The examples run, and say what they promise."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[3] / "examples"
LIMIT_S = 600

pytestmark = pytest.mark.timeout(2 * LIMIT_S)


def run(name: str, *words: str) -> str:
    command = [sys.executable, str(EXAMPLES / name), *words]
    done = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT_S, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_fedavg_by_hand_makes_the_model_of_the_package() -> None:
    assert run("fedavg_by_hand.py").endswith("the package makes the same model\n")
