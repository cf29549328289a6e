"""One workload for simulators: a small CNN, 100 clients × 100 pictures, 10 a round, one epoch in batches of 32.

    python benchmarks/peers/cnn.py ours|plain|two-processes|flower [ROUNDS]

prints a line of JSON. Each runs alone in its process, in an environment that has PyTorch (and Flower); see
``benchmarks/simulation.py``. *plain* is the loop that anybody would write; *two-processes* the same in two persistent
workers over pipes. All are federated averaging by SGD without momentum, over the same pictures.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import random
import statistics
import sys
import time
from collections.abc import Callable
from itertools import pairwise
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

STARTED = time.perf_counter()
ROOT = Path(__file__).resolve().parents[2]
CLIENTS, PICTURES, A_ROUND, ROUNDS, BATCH, RATE = 100, 100, 10, 20, 32, 0.05
TESTED = 12_345


def network() -> Any:
    """105,866 parameters."""
    from torch import nn

    return nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(16, 32, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(32 * 49, 64),
        nn.ReLU(),
        nn.Linear(64, 10),
    )


def pictures_of(client: int) -> tuple[Any, Any]:
    """(100, 1, 28, 28) noise with a bar whose height tells the class, and (100,) labels."""
    import torch

    generator = torch.Generator().manual_seed(client)
    y = torch.randint(0, 10, (PICTURES,), generator=generator)
    x = torch.randn(PICTURES, 1, 28, 28, generator=generator) * 0.5
    for i, label in enumerate(y.tolist()):
        x[i, 0, 2 * label : 2 * label + 6, 4:20] += 1.0
    return x, y


def train(module: Any, x: Any, y: Any) -> None:
    """One epoch as a tutorial has it."""
    import torch
    from torch.nn import functional

    optimiser, order = torch.optim.SGD(module.parameters(), lr=RATE), torch.randperm(len(y))
    for first in range(0, len(y), BATCH):
        batch = order[first : first + BATCH]
        optimiser.zero_grad()
        functional.cross_entropy(module(x[batch]), y[batch]).backward()
        optimiser.step()


def accuracy(module: Any) -> float:
    """On pictures of nobody."""
    x, y = pictures_of(TESTED)
    return float((module(x).argmax(1) == y).float().mean())


def plain(rounds: int) -> tuple[list[float], float]:
    """The loop; the end of each round, and the accuracy after the last."""
    import torch

    torch.set_num_threads(1)
    torch.manual_seed(0)
    data, module, ends = [pictures_of(client) for client in range(CLIENTS)], network(), []
    state = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    for _ in range(rounds):
        mean = {name: torch.zeros_like(tensor) for name, tensor in state.items()}
        for client in random.sample(range(CLIENTS), A_ROUND):
            module.load_state_dict(state)
            train(module, *data[client])
            for name, tensor in module.state_dict().items():
                mean[name].add_(tensor, alpha=1 / A_ROUND)
        state = mean
        ends.append(time.perf_counter())
    module.load_state_dict(state)
    return ends, accuracy(module)


def two_processes(rounds: int) -> tuple[list[float], float]:
    """The same, by two workers that are told a client and a vector, and answer with a vector."""
    import torch
    from torch.nn.utils import parameters_to_vector, vector_to_parameters

    torch.set_num_threads(1)
    torch.manual_seed(0)
    context, lines = multiprocessing.get_context("fork"), list[Connection]()
    for _ in range(2):
        ours, theirs = context.Pipe()
        context.Process(target=_serve, args=(theirs,), daemon=True).start()
        lines.append(ours)
    module, ends = network(), []
    state = parameters_to_vector(module.parameters()).detach().numpy()
    for _ in range(rounds):
        todo, mean, done = random.sample(range(CLIENTS), A_ROUND), state * 0, 0
        for line in lines:
            line.send((todo.pop(), state))
        while done < A_ROUND:
            ready = wait(lines)
            for line in lines:
                if line in ready:
                    mean += line.recv() / A_ROUND
                    done += 1
                    if todo:
                        line.send((todo.pop(), state))
        state = mean
        ends.append(time.perf_counter())
    vector_to_parameters(torch.from_numpy(state), module.parameters())
    return ends, accuracy(module)


def _serve(line: Connection) -> None:
    import torch
    from torch.nn.utils import parameters_to_vector, vector_to_parameters

    torch.set_num_threads(1)
    module, data = network(), dict[int, Any]()
    while True:
        client, vector = line.recv()
        vector_to_parameters(torch.from_numpy(vector), module.parameters())
        train(module, *data.setdefault(client, pictures_of(client)))
        line.send(parameters_to_vector(module.parameters()).detach().numpy())


def ours(rounds: int) -> tuple[list[float], float]:
    """``fanlight.simulation`` with two forked workers."""
    import torch
    from torch.nn.utils import vector_to_parameters

    from fanlight.simulation import Data, Study, simulate

    torch.set_num_threads(1)
    xs, ys = zip(*(pictures_of(client) for client in range(CLIENTS)), strict=True)
    training = {"epochs": 1, "batch_size": BATCH, "learning_rate": RATE, "momentum": 0, "l2": 0, "class_weights": False}
    study = Study.of(
        {"partition": "iid", "devices": CLIENTS - 1, "cohort": A_ROUND, "rounds": rounds, "module": "cnn:network",
         "test_percent": 1, "valid_percent": 0, "training": training}
    )  # fmt: skip
    ends: list[float] = []
    sys.path.insert(0, str(Path(__file__).parent))
    data = Data.of(torch.cat(xs).numpy(), torch.cat(ys).numpy())
    result = simulate(study, data, workers=2, on_round=lambda _: ends.append(time.perf_counter()))
    module = network()
    vector_to_parameters(torch.from_numpy(result.parameters), module.parameters())
    return ends, accuracy(module)


def flower(rounds: int) -> tuple[list[float], float]:
    """Flower's simulation with two actors of one core each, and a client app that trains by ``train``."""
    os.environ |= {"FLWR_TELEMETRY_ENABLED": "0", "RAY_USAGE_STATS_ENABLED": "0"}
    import torch
    from flwr.app import ArrayRecord, Context, Message, MetricRecord, RecordDict
    from flwr.clientapp import ClientApp
    from flwr.serverapp import Grid, ServerApp
    from flwr.serverapp.strategy import FedAvg
    from flwr.simulation import run_simulation

    client, server, ends, scores = ClientApp(), ServerApp(), list[float](), list[float]()

    @client.train()
    def learn(message: Message, context: Context) -> Message:
        torch.set_num_threads(1)
        module = network()
        module.load_state_dict(message.content["arrays"].to_torch_state_dict())
        train(module, *pictures_of(int(context.node_config["partition-id"])))
        metrics = MetricRecord({"num-examples": PICTURES})
        return Message(RecordDict({"arrays": ArrayRecord(module.state_dict()), "metrics": metrics}), reply_to=message)

    class Timed(FedAvg):
        def aggregate_train(self, number: int, replies: Any) -> Any:
            found = super().aggregate_train(number, replies)
            ends.append(time.perf_counter())
            return found

    @server.main()
    def serve(grid: Grid, _context: Context) -> None:
        strategy = Timed(
            fraction_train=A_ROUND / CLIENTS,
            fraction_evaluate=0.0,
            min_train_nodes=A_ROUND,
            min_available_nodes=CLIENTS,
        )
        first = ArrayRecord(network().state_dict())
        result = strategy.start(grid=grid, initial_arrays=first, num_rounds=rounds)
        module = network()
        module.load_state_dict(result.arrays.to_torch_state_dict())
        scores.append(accuracy(module))

    backend: Any = {"client_resources": {"num_cpus": 1.0, "num_gpus": 0.0}}
    run_simulation(server_app=server, client_app=client, num_supernodes=CLIENTS, backend_config=backend)
    return ends, scores[0]


RUNNERS: dict[str, Callable[[int], tuple[list[float], float]]] = {
    "ours": ours,
    "plain": plain,
    "two-processes": two_processes,
    "flower": flower,
}


def main() -> None:
    """Run one, and print what it took: milliseconds a round (median, the first one does not count), seconds in all."""
    name, rounds = sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else ROUNDS
    sys.path.insert(0, str(ROOT / "src"))
    random.seed(0)
    ends, score = RUNNERS[name](rounds)
    took = [1000 * (after - before) for before, after in pairwise(ends)]
    seconds = time.perf_counter() - STARTED
    print(json.dumps({"ms": statistics.median(took), "seconds": seconds, "accuracy": score, "rounds": rounds}))


if __name__ == "__main__":
    main()
