"""A module of your own in PyTorch, federated: written as for any other training, with nothing of Fanlight's in it.

    python examples/own_pytorch_module.py                        the digits of MNIST, a minute
    python examples/own_pytorch_module.py --small                fewer of them, seconds
    python examples/own_pytorch_module.py --algorithm scaffold   or any other

Ten devices have digits in unlike shares. Each trains the whole network, and what they learn is summed as in a real
round. Beside it stand the same network trained on all digits in one place, and on each device alone. What comes of it
is an ordinary file, which plain PyTorch loads and uses. It needs `pip install 'fanlight[torch]'`.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file
from torch import nn

from fanlight.simulation import Data, Line, Study, simulate
from fanlight.simulation.data import load
from fanlight.simulation.folder import MODEL, folder_of


class Reader(nn.Module):  # type: ignore[misc]  # PyTorch is not installed where types are checked
    """Reads digits: (n, 1, 28, 28) in 0 to 1 become (n, 10) logits."""

    def __init__(self) -> None:
        super().__init__()
        self.strokes = nn.Sequential(nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2))
        self.shapes = nn.Sequential(nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2))
        self.names = nn.Linear(32 * 7 * 7, 10)

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.names(self.shapes(self.strokes(pictures)).flatten(1))
        return logits


def study_of(algorithm: str, small: bool) -> Study:
    return Study.of(
        {
            "module": "own_pytorch_module:Reader",  # in this file; whatever gives a module when it is called will do
            "dataset": "some-digits" if small else "digits",  # what its runs are kept by
            "partition": "dirichlet:0.5",
            "devices": 10,
            "rounds": 5 if small else 12,
            "algorithm": algorithm,
            "training": {"learning_rate": 0.01, "epochs": 5},
            "baselines": True,
        }
    )


def digits_of(state: Path, small: bool) -> Data:
    """Pixels, (n, 1, 28, 28); arrays of your own become the same by ``Data.of(x, y, names)``."""
    digits = load("digits", state, as_pixels=True)
    kept = np.random.default_rng(0).permutation(len(digits.y))[: 1500 if small else None]
    return replace(digits, x=digits.x[kept], y=digits.y[kept])


def show(line: Line) -> None:
    print(f"round {line.round:<14}{line.balanced_accuracy:.3f}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--small", action="store_true", help="fewer digits and rounds")
    parser.add_argument("--algorithm", default="fedavg", help="see docs/algorithms.md")
    parser.add_argument("--state", type=Path, default=Path("fanlight-state"), help="where the run is kept")
    given = parser.parse_args()
    sys.path.insert(0, str(Path(__file__).parent))  # where the module is imported from
    study, digits = study_of(given.algorithm, given.small), digits_of(given.state, given.small)
    folder = folder_of(study, given.state)
    result = simulate(study, digits, folder=folder, on_round=show)
    if result.pooled and result.local_only:
        print(f"all in one place    {result.pooled['balanced_accuracy']:.3f}")
        print(f"each device alone   {result.local_only['balanced_accuracy']:.3f}")

    reader = Reader()  # from here on there is no Fanlight
    reader.load_state_dict(load_file(folder / MODEL))
    with torch.no_grad():
        found = reader(torch.from_numpy(digits.x)).argmax(dim=1).numpy()
    print(f"in PyTorch          {(found == digits.y).mean():.3f} of all digits, those of the devices too")


if __name__ == "__main__":
    main()
