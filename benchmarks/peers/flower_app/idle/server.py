"""Federated averaging over two clients, which notes when each round has been added up."""

from __future__ import annotations

import json
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
    """Flower's own averaging."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.ended: list[float] = []

    def aggregate_train(self, server_round: int, replies: Iterable[Message]) -> Any:
        """As Flower does; note when it is done."""
        result = super().aggregate_train(server_round, replies)
        self.ended.append(time.time())
        return result


@app.main()
def main(grid: Grid, context: Context) -> None:
    """All rounds; then write when each one ended to the file that the run's configuration names."""
    least = int(context.run_config["least"])
    strategy = Timed(fraction_train=1.0, fraction_evaluate=0.0, min_train_nodes=least, min_available_nodes=least)
    arrays = ArrayRecord([np.zeros(int(context.run_config["parameters"]), np.float32)])
    strategy.start(grid=grid, initial_arrays=arrays, num_rounds=int(context.run_config["rounds"]))
    Path(str(context.run_config["times"])).write_text(json.dumps(strategy.ended), encoding="utf-8")
