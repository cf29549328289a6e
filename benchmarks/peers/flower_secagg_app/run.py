"""Flower's SecAgg+ over clients that do nothing, in Flower's own environment; prints one JSON line.

    .venv-flower/bin/python run.py --clients 30 --parameters 1000000 --shares 9 --threshold 5 --dropouts 0 --rounds 3

Flower's simulation engine runs the clients in Ray actors, one for each core. A client that drops out has sent its keys
and shares, and fails when its update is asked for. A round is from the end of one aggregation to the end of the next,
so the first one, with its start-up, does not count.
"""

from __future__ import annotations

import argparse
import json
import time
from itertools import pairwise
from typing import Any

import numpy as np
from flwr.client import Client, ClientApp, NumPyClient
from flwr.client.mod import secaggplus_mod
from flwr.common import Context, ndarray_to_bytes, ndarrays_to_parameters
from flwr.common.secure_aggregation import ndarrays_arithmetic, quantization
from flwr.common.secure_aggregation.secaggplus_utils import pseudo_rand_gen
from flwr.server import Grid, LegacyContext, ServerApp, ServerConfig
from flwr.server.strategy import FedAvg
from flwr.server.workflow import DefaultWorkflow, SecAggPlusWorkflow
from flwr.simulation import run_simulation

_CLIP, _STEPS, _RING = 8.0, 1 << 22, 1 << 32


class Idle(NumPyClient):
    """Adds a little to every parameter, or fails."""

    def __init__(self, *, fails: bool) -> None:
        self._fails = fails

    def fit(self, parameters: list[Any], _config: dict[str, Any]) -> tuple[list[Any], int, dict[str, Any]]:
        """No training, and an update as long as the model."""
        if self._fails:
            raise RuntimeError("this client drops out")
        return [parameters[0] + np.float32(0.01)], 100, {}


class Timed(FedAvg):
    """Flower's own averaging, which notes when each round was added up, and of how many."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.ended: list[float] = []
        self.counts: list[int] = []

    def aggregate_fit(self, server_round: int, results: Any, failures: Any) -> Any:
        """As Flower does."""
        added = super().aggregate_fit(server_round, results, failures)
        self.ended.append(time.perf_counter())
        self.counts.append(len(results))
        return added


def simulate(clients: int, parameters: int, shares: int, threshold: int, dropouts: int, rounds: int) -> Timed:
    """All rounds; ``shares`` = ``clients`` is the full graph."""

    def client_of(context: Context) -> Client:
        return Idle(fails=int(context.node_config["partition-id"]) < dropouts).to_client()

    server = ServerApp()
    strategy = Timed(
        fraction_fit=1.0,
        fraction_evaluate=0.0,
        min_fit_clients=clients,
        min_available_clients=clients,
        initial_parameters=ndarrays_to_parameters([np.zeros(parameters, np.float32)]),
    )

    @server.main()
    def main(grid: Grid, context: Context) -> None:
        legacy = LegacyContext(context=context, config=ServerConfig(num_rounds=rounds), strategy=strategy)
        workflow = SecAggPlusWorkflow(
            num_shares=1.0 if shares == clients else shares,
            reconstruction_threshold=threshold / shares if shares == clients else threshold,
            clipping_range=_CLIP,
            quantization_range=_STEPS,
            modulus_range=_RING,
        )
        DefaultWorkflow(fit_workflow=workflow)(grid, legacy)

    run_simulation(
        server_app=server,
        client_app=ClientApp(client_fn=client_of, mods=[secaggplus_mod]),
        num_supernodes=clients,
        backend_config={"client_resources": {"num_cpus": 1, "num_gpus": 0.0}},
    )
    return strategy


def bytes_per_parameter(parameters: int) -> float:
    """Of one masked update, as Flower puts it into a message."""
    update = quantization.quantize([np.zeros(parameters, np.float32)], _CLIP, _STEPS)
    mask = pseudo_rand_gen(bytes(32), _RING, [(parameters,)])
    masked = ndarrays_arithmetic.parameters_mod(ndarrays_arithmetic.parameters_addition(update, mask), _RING)
    return len(ndarray_to_bytes(masked[0])) / parameters


def main() -> None:
    """Parse, run, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("clients", "parameters", "shares", "threshold", "dropouts", "rounds"):
        parser.add_argument(f"--{name}", type=int, required=True)
    given = parser.parse_args()
    strategy = simulate(**vars(given))
    seconds = [after - before for before, after in pairwise(strategy.ended)]
    found = {"seconds": seconds, "counts": strategy.counts, "bytes": bytes_per_parameter(given.parameters)}
    print(json.dumps(found), flush=True)


if __name__ == "__main__":
    main()
