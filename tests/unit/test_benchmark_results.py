"""``make results``: what is run and read out of runs, and that the page in docs has the shape that it writes."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from benchmarks.results import main
from benchmarks.results_page import NETWORK_NAMES, blocks_of, filled, table
from benchmarks.results_runs import ANALYTIC, DATASETS, GOES_ON, NETWORK_STUDIES, PARTITIONS, STUDIES, WAYS, Run, cells
from tests.requirements import require

DOCS = Path(__file__).parents[2] / "docs"
SPREAD = re.compile(r"(1\.000|\.\d{3}) ± \.\d{3}")
EFFORT = re.compile(r"–|\d of \d seeds|\d+(\.5)?, \d+(\.\d+)?")
PLAIN = re.compile(r"(1\.000|\.\d{3})")


def tables(block: str) -> list[list[list[str]]]:
    """Cells of the tables in a block, without the line below the headings."""
    found = re.findall(r"(?:^\|.*\|\n)+", block, re.MULTILINE)
    return [[line.strip("|").split("|") for line in each.splitlines() if "---" not in line] for each in found]


def stripped(rows: list[list[str]]) -> list[list[str]]:
    return [[cell.strip() for cell in row] for row in rows]


def check_grid(block: str) -> None:
    """Both tables of a data set: every way in every partition."""
    accuracy, effort = map(stripped, tables(block))
    assert accuracy[0] == ["balanced accuracy", *PARTITIONS.values()]
    assert [row[0] for row in accuracy[1:]] == list(WAYS)
    assert all(SPREAD.fullmatch(cell) for row in accuracy[1:] for cell in row[1:])
    assert effort[0] == ["rounds, MB to 95 % of pooled", *PARTITIONS.values()]
    assert [row[0] for row in effort[1:]] == [*list(STUDIES)[:-1], ANALYTIC, GOES_ON]
    assert all(EFFORT.fullmatch(cell) for row in effort[1:] for cell in row[1:])
    assert all(len(row) == 1 + len(PARTITIONS) for row in accuracy + effort)


def check_plot(path: Path, charts: int, curves: int) -> None:
    root = ET.fromstring(path.read_text())  # noqa: S314 our own
    drawn = root.findall(".//{*}polyline")
    assert len(drawn) == charts * curves
    assert len(root.findall(".//{*}polygon")) == charts * curves
    assert path.stat().st_size < 60_000


@pytest.mark.parametrize("dataset", DATASETS)
def test_the_page_has_every_data_set(dataset: str) -> None:
    check_grid(blocks_of((DOCS / "results.md").read_text())[dataset])
    check_plot(DOCS / "results" / f"{dataset}.svg", len(PARTITIONS), len(STUDIES))


def test_the_page_has_the_network() -> None:
    (rows,) = map(stripped, tables(blocks_of((DOCS / "results.md").read_text())["network"]))
    first, second = NETWORK_NAMES.values()
    assert rows[0] == ["accuracy", first, "published", second, "published"]
    assert [row[0] for row in rows[1:]] == list(NETWORK_STUDIES)
    for _, one, published, another, too in rows[1:]:
        assert SPREAD.fullmatch(one)
        assert SPREAD.fullmatch(another)
        assert PLAIN.fullmatch(published)
        assert PLAIN.fullmatch(too)
    check_plot(DOCS / "results" / "network.svg", len(NETWORK_NAMES), len(NETWORK_STUDIES))


def test_a_small_run_writes_its_block_and_is_kept(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    require("skimage-data")
    docs, state = tmp_path / "docs", tmp_path / "state"
    docs.mkdir()
    shutil.copy(DOCS / "results.md", docs)
    words = ["--small", "--only", "faces", "--state", str(state), "--docs", str(docs), "--json"]
    assert main(words) == 0
    first = capsys.readouterr()
    before, after = ((folder / "results.md").read_text() for folder in (DOCS, docs))
    assert before.partition("<!-- generated: faces -->")[0] == after.partition("<!-- generated: faces -->")[0]
    assert before.partition("<!-- generated: digits -->")[2] == after.partition("<!-- generated: digits -->")[2]
    check_grid(blocks_of(after)["faces"])
    check_plot(docs / "results" / "faces.svg", len(PARTITIONS), len(STUDIES))
    found = json.loads(first.out)["grid"]["faces"]["classes:1"]
    assert list(found) == list(WAYS)
    assert min(found[ANALYTIC]["balanced_accuracy"]) > max(found["local only"]["balanced_accuracy"])
    assert first.err.count("seed") == len(PARTITIONS) * len(STUDIES) * 2

    assert main(words) == 0
    again = capsys.readouterr()
    assert again.out == first.out
    assert again.err == ""
    assert (docs / "results.md").read_text() == after


def run_of(accuracies: list[float], pooled: float = 0.0, alone: float = 0.0) -> Run:
    """Of two devices that send a megabyte each a round."""
    lines = [
        {"round": number, "balanced_accuracy": accuracy, "bytes_up": 2_000_000, "participants": 2}
        for number, accuracy in enumerate(accuracies, start=1)
    ]
    return {"rounds": lines, "pooled": {"balanced_accuracy": pooled}, "local_only": {"balanced_accuracy": alone}}


def test_the_goal_is_that_of_the_same_seed() -> None:
    reaching, short = run_of([0.5, 0.95, 0.9], pooled=1.0, alone=0.3), run_of([0.5, 0.6, 0.8], pooled=0.9, alone=0.4)
    runs = {name: [reaching, short] for name in STUDIES}
    found = cells({**runs, GOES_ON: [run_of([0.96, 0.4]), run_of([0.1, 0.9])]})
    assert list(found) == list(WAYS)
    assert (found["FedAvg"].accuracy, found["FedAvg"].rounds) == ((0.9, 0.8), (2, None))
    assert found["FedAvg"].megabytes == (2.0, None)
    assert (found["local only"].accuracy, found["local only"].rounds) == ((0.3, 0.4), ())
    assert (found[ANALYTIC].accuracy, found[ANALYTIC].rounds) == ((0.96, 0.1), (1, None))
    assert (found[GOES_ON].accuracy, found[GOES_ON].rounds) == ((0.4, 0.9), (1, 2))


def test_only_the_named_blocks_change() -> None:
    page = "words\n<!-- generated: a -->\nold\n<!-- end -->\nmore\n<!-- generated: b -->\nkept\n<!-- end -->\n"
    after = filled(page, {"a": "new"})
    assert after == page.replace("old\n", "\nnew\n\n")
    with pytest.raises(ValueError, match="no block for c"):
        filled(page, {"c": "new"})


def test_a_table_in_markdown() -> None:
    assert table("x", {"a": ["1", "2"]}, ["one", "two"]) == "| x | one | two |\n|---|---|---|\n| a | 1 | 2 |"
