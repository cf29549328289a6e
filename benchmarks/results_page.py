"""Tables and plots of ``benchmarks/results.py``, and where they stand in ``docs/results.md``.

A part of the page is a block between ``<!-- generated: NAME -->`` and ``<!-- end -->``; the words around them are
written by hand.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from benchmarks.results_runs import NETWORK, NETWORK_STUDIES, PARTITIONS, POOLED, PUBLISHED, STUDIES, Cell, Run
from fanlight.simulation.plots import Curve, Panel, sheet

PAGE: Final = "results.md"
NAMES: Final = {"faces": "Faces", "digits": "Digits", "fashion": "Fashion-MNIST", "stamps": "Stamps"}
NETWORK_NAMES: Final = {"digits": "MNIST, IID", "fashion": "Fashion-MNIST, Dirichlet 0.5"}
_BLOCK: Final = re.compile(r"(<!-- generated: ([a-z ]+) -->\n).*?(<!-- end -->)", re.DOTALL)
NEVER: Final = "–"


def filled(page: str, blocks: Mapping[str, str]) -> str:
    """The page with these blocks; others stay as they are.

    Raises:
        ValueError: it has no such block.
    """
    there = {found[2] for found in _BLOCK.finditer(page)}
    if not blocks.keys() <= there:
        raise ValueError(f"the page has no block for {', '.join(blocks.keys() - there)}")
    return _BLOCK.sub(
        lambda found: f"{found[1]}\n{blocks[found[2]]}\n\n{found[3]}" if found[2] in blocks else found[0], page
    )


def blocks_of(page: str) -> dict[str, str]:
    """What stands in each block."""
    return {found[2]: found[0] for found in _BLOCK.finditer(page)}


def write(docs: Path, blocks: Mapping[str, str], plots: Mapping[str, str]) -> None:
    """Fill the page's blocks, and write the plots below ``results/``."""
    page = docs / PAGE
    page.write_text(filled(page.read_text(encoding="utf-8"), blocks), encoding="utf-8")
    (docs / "results").mkdir(exist_ok=True)
    for name, plot in plots.items():
        (docs / "results" / f"{name}.svg").write_text(plot, encoding="utf-8")


# -- the grid


def grid_block(dataset: str, found: Mapping[str, Mapping[str, Cell]], some_run: Run) -> str:
    """Heading, tables and plot of a data set.

    Args:
        dataset: its name.
        found: cells by partition and way.
        some_run: any of its runs, which says how many pictures there are.
    """
    data, study = some_run["data"], some_run["study"]
    ways = list(next(iter(found.values())))
    said = (
        f"{len(data['classes'])} classes; {data['train']:,} pictures on {study['devices']} devices, {data['test']:,} "
    )
    went = [way for way in ways if next(iter(found.values()))[way].rounds]
    return "\n\n".join(
        (
            f"### {NAMES[dataset]}",
            f"{said}held back.",
            table(
                "balanced accuracy", {way: [spread(cells[way].accuracy) for cells in found.values()] for way in ways}
            ),
            table(
                "rounds, MB to 95 % of pooled", {way: [_effort(cells[way]) for cells in found.values()] for way in went}
            ),
            f"![Balanced accuracy by round, {NAMES[dataset]}](results/{dataset}.svg)",
        )
    )


def grid_plot(dataset: str, runs: Mapping[str, Mapping[str, Sequence[Run]]]) -> str:
    """A chart for each partition: a curve for each study, and what the pooled head reaches.

    Args:
        dataset: its name.
        runs: by partition and study, one for each seed.
    """
    panels = [
        Panel(
            f"Balanced accuracy, {PARTITIONS[partition]}",
            "round",
            [curve(name, some[name], "balanced_accuracy") for name in STUDIES],
            [(POOLED, float(np.mean([run["pooled"]["balanced_accuracy"] for run in some["FedAvg"]])))],
        )
        for partition, some in runs.items()
    ]
    return sheet(f"{NAMES[dataset]}: balanced accuracy by round", panels)


# -- the network


def network_block(runs: Mapping[str, Mapping[str, Sequence[Run]]]) -> str:
    """Table and plot; ``runs`` by data set and name."""
    rows = {}
    for number, name in enumerate(NETWORK_STUDIES):
        rows[name] = [
            cell
            for dataset in NETWORK
            for cell in (
                spread([run["rounds"][-1]["accuracy"] for run in runs[dataset][name]]),
                decimals(PUBLISHED[dataset][number]),
            )
        ]
    headings = [words for dataset in NETWORK for words in (NETWORK_NAMES[dataset], "published")]
    return f"{table('accuracy', rows, headings)}\n\n![Accuracy by round, the network](results/network.svg)"


def network_plot(runs: Mapping[str, Mapping[str, Sequence[Run]]]) -> str:
    """A chart for each data set."""
    return sheet(
        "A network: accuracy by round",
        [
            Panel(
                f"Accuracy, {NETWORK_NAMES[dataset]}",
                "round",
                [curve(name, some, "accuracy") for name, some in by.items()],
            )
            for dataset, by in runs.items()
        ],
    )


# -- cells


def table(corner: str, rows: Mapping[str, Sequence[str]], headings: Sequence[str] = tuple(PARTITIONS.values())) -> str:
    """A table in Markdown."""
    lines = [(corner, *headings), ("---",) * (1 + len(headings)), *((name, *cells) for name, cells in rows.items())]
    return (
        "\n".join(f"| {' | '.join(line)} |" for line in lines).replace(" --- ", "---").replace("|---|---", "|---|---")
    )


def spread(values: Sequence[float]) -> str:
    """Mean and standard deviation over seeds."""
    return f"{decimals(float(np.mean(values)))} ± {decimals(float(np.std(values, ddof=1)))}"


def decimals(value: float) -> str:
    """Three of them, as in the page's other tables."""
    return f"{value:.3f}".removeprefix("0")


def curve(name: str, runs: Sequence[Run], figure: str) -> Curve:
    """Mean over the seeds by round, and the band from the least to the greatest."""
    rows = np.array([[line[figure] for line in run["rounds"]] for run in runs])
    x = [float(line["round"]) for line in runs[0]["rounds"]]
    return Curve(name, x, rows.mean(axis=0).tolist(), rows.min(axis=0).tolist(), rows.max(axis=0).tolist())


def _effort(cell: Cell) -> str:
    """The median seed's."""
    there: list[Any] = [each for each in zip(cell.rounds, cell.megabytes, strict=True) if None not in each]
    if len(there) < len(cell.rounds):
        return NEVER if not there else f"{len(there)} of {len(cell.rounds)} seeds"
    rounds, megabytes = np.median(np.array(there, float), axis=0)
    return f"{rounds:g}, {megabytes:.2g}"
