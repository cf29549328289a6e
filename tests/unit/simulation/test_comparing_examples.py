"""The examples that compare run on made-up data, and show what they say they show."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[3] / "examples"
LIMIT_S = 600

pytestmark = pytest.mark.timeout(2 * LIMIT_S)


def rows(name: str, plot: Path) -> dict[str, list[float]]:
    """The table that an example prints: numbers by the words before them."""
    command = [sys.executable, str(EXAMPLES / name), "--small", "--plot", str(plot)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT_S, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    found: dict[str, list[float]] = {}
    for line in done.stdout.splitlines()[1:]:
        words = line.split()
        first = next(place for place, word in enumerate(words) if word.replace(".", "").isdigit())
        key = words[: first + 1] if words[first].isdigit() else words[:first]  # a number of rounds belongs to it
        found[" ".join(key)] = [float(word) for word in words[first:]]
    return found


def test_unlike_devices_hurt_fedavg_and_what_helps(tmp_path: Path) -> None:
    table = rows("non_iid_comparison.py", tmp_path / "p.html")
    fedavg, scaffold = table["FedAvg, pixels of digits"], table["SCAFFOLD, pixels of digits"]
    assert fedavg[2] < fedavg[0] - 0.1
    assert scaffold[2] > fedavg[2] + 0.1
    solved = table["analytic, pre-trained, stamps"]
    assert table["FedAvg, pre-trained, stamps"][1] > table["FedAvg, pixels of stamps"][1] + 0.3
    assert max(solved) - min(solved) < 0.03
    assert (tmp_path / "p.html").read_text().count("<figure>") == 3


def test_attackers_break_the_mean_and_not_the_median(tmp_path: Path) -> None:
    table = rows("attack_and_defence.py", tmp_path / "p.html")
    for attack in ("sign-flip", "ipm"):
        mean, median, _, geometric, _ = table[attack]
        assert mean < 0.4
        assert min(median, geometric) > table["nobody"][1] - 0.05
    assert (tmp_path / "p.html").read_text().count("<figure>") == 8


def test_one_round_is_as_good_as_many_whoever_has_what(tmp_path: Path) -> None:
    table = rows("analytic_against_iterative.py", tmp_path / "p.html")
    solved = [table[f"{split} analytic 1"][1] for split in ("iid", "dirichlet:0.1", "classes:1")]
    assert max(solved) - min(solved) < 0.03
    assert table["classes:1 softmax 1"][1] < solved[2] - 0.05
    assert table["classes:1 softmax 10"][2] > 1.5 * table["classes:1 softmax 5"][2]
    assert (tmp_path / "p.html").read_text().count("<figure>") == 3
