"""Federated averaging over two clients, which notes when each round has been added up."""

from __future__ import annotations

import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from flwr.app import ArrayRecord, Context, Message
from flwr.serverapp import Grid, ServerApp
from flwr.serverapp.strategy import FedAvg

app = ServerApp()


class Timed(FedAvg):
    """Flower's own averaging; it writes a line into a file when each round has ended."""

    def __init__(self, times: Path, **options: Any) -> None:
        super().__init__(**options)
        self._times = times

    def aggregate_train(self, server_round: int, replies: Iterable[Message]) -> Any:
        """As Flower does; note when it is done."""
        result = super().aggregate_train(server_round, replies)
        with self._times.open("a", encoding="utf-8") as times:
            print(time.time(), file=times)
        return result


@app.main()
def main(grid: Grid, context: Context) -> None:
    """All rounds; the run's configuration names the file for when each one ended."""
    least, times = int(context.run_config["least"]), Path(str(context.run_config["times"]))
    strategy = Timed(times, fraction_train=1.0, fraction_evaluate=0.0, min_train_nodes=least, min_available_nodes=least)
    arrays = ArrayRecord([np.zeros(int(context.run_config["parameters"]), np.float32)])
    strategy.start(grid=grid, initial_arrays=arrays, num_rounds=int(context.run_config["rounds"]))
