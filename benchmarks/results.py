"""All figures of "Who has what" in ``docs/results.md``, by one command: simulations, tables and plots.

    make results
    make results ARGS="--only digits --only stamps --json"

Every run is kept below ``--state``: interrupted, the command goes on where it was; repeated, it only writes tables and
plots anew. To run all afresh, remove ``simulations`` there. ``--small`` takes two seeds and few rounds, to see that it
works.

The *network* needs PyTorch; ``--torch`` is a Python that has it and Fanlight's needs, if this one has not.
"""

from __future__ import annotations

import argparse
import functools
import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # run as a script, only this folder would be on the path

from benchmarks.results_page import grid_block, grid_plot, network_block, network_plot, write
from benchmarks.results_runs import (
    DATASETS,
    NETWORK,
    NETWORK_STUDIES,
    PARTITIONS,
    SMALL,
    STUDIES,
    Cell,
    Run,
    Size,
    cells,
    found_by,
    head_study,
    kept_of,
    network_study,
)
from fanlight.simulation import Data
from fanlight.simulation.data import load

ROOT = Path(__file__).resolve().parents[1]
PARTS = (*DATASETS, "network")


def main(arguments: Sequence[str] | None = None) -> int:
    """Parse, run, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", action="append", choices=PARTS, help="may be given repeatedly")
    parser.add_argument("--small", action="store_true", help="two seeds, few rounds")
    parser.add_argument("--state", type=Path, default=Path("fanlight-state"), help="where runs and features are kept")
    parser.add_argument("--docs", type=Path, default=ROOT / "docs", help="the folder of results.md")
    parser.add_argument("--torch", type=Path, default=ROOT / ".venv-torch" / "bin" / "python")
    parser.add_argument("--json", action="store_true", help="print one JSON line")
    options = parser.parse_args(arguments)
    size = SMALL if options.small else Size()
    printed: dict[str, Any] = {"benchmark": "results", "size": vars(size), "grid": {}, "network": {}}
    for part in PARTS:
        if part not in (options.only or PARTS):
            continue
        if part == "network":
            if not _with_torch(options, size):
                continue
            networks = _networks(size, options.state)
            write(options.docs, {part: network_block(networks)}, {part: network_plot(networks)})
            printed["network"] = {
                dataset: {name: [run["rounds"][-1]["accuracy"] for run in some] for name, some in by.items()}
                for dataset, by in networks.items()
            }
            continue
        runs = _heads(size, part, options.state)
        found: dict[str, dict[str, Cell]] = {partition: cells(some) for partition, some in runs.items()}
        block = grid_block(part, found, runs["iid"]["FedAvg"][0])
        write(options.docs, {part: block}, {part: grid_plot(part, runs)})
        printed["grid"][part] = {
            partition: {way: cell.as_json() for way, cell in by.items()} for partition, by in found.items()
        }
    if options.json:
        print(json.dumps(printed, separators=(",", ":")), flush=True)
    return 0


def _heads(size: Size, dataset: str, state: Path) -> dict[str, dict[str, list[Run]]]:
    """By partition and study, a run for each seed."""
    examples = _loader(dataset, state, as_pixels=False)
    return {
        partition: {
            name: [
                found_by(head_study(size, dataset, partition, name, seed), examples, state)
                for seed in range(size.seeds)
            ]
            for name in STUDIES
        }
        for partition in PARTITIONS
    }


def _networks(size: Size, state: Path) -> dict[str, dict[str, list[Run]]]:
    """By data set and algorithm, a run for each seed."""
    return {
        dataset: {
            name: [
                found_by(network_study(size, dataset, name, seed), _loader(dataset, state, as_pixels=True), state)
                for seed in range(size.seeds)
            ]
            for name in NETWORK_STUDIES
        }
        for dataset in NETWORK
    }


@functools.cache
def _loader(dataset: str, state: Path, *, as_pixels: bool) -> Any:
    """What loads a data set once, and not at all if all runs are kept."""

    @functools.cache
    def examples() -> Data:
        return load(dataset, state, as_pixels=as_pixels)

    return examples


def _with_torch(options: argparse.Namespace, size: Size) -> bool:
    """Have the network's runs done where PyTorch is, if they are not yet; they are kept, so this process finds them."""
    studies = [
        network_study(size, dataset, name, seed)
        for dataset in NETWORK
        for name in NETWORK_STUDIES
        for seed in range(size.seeds)
    ]
    if importlib.util.find_spec("torch") is not None or all(kept_of(study, options.state) for study in studies):
        return True
    if not options.torch.exists():
        print(f"There is no {options.torch}: the network is not run.", file=sys.stderr)
        return False
    command = [str(options.torch), __file__, "--only", "network", "--state", str(options.state)]
    command += ["--docs", str(options.docs), *(["--small"] if options.small else [])]
    places = {"FANLIGHT_DATA_DIR": str(Path(sys.prefix) / "share" / "fanlight-data"), **os.environ}
    subprocess.run(command, env=places, stdout=sys.stderr, check=True)
    return True


if __name__ == "__main__":
    sys.exit(main())
