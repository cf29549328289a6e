"""The network of ``niid_bench`` (Li et al. 2102.02079, section V), which ``benchmarks/results.py`` has trained."""

from __future__ import annotations

from typing import Any


def network() -> Any:
    """44,426 parameters: convolutions of 5 × 5 to 6 and 16 channels, each with a maximum of 2 × 2; then 120, 84, 10."""
    from torch import nn

    return nn.Sequential(
        nn.Conv2d(1, 6, 5),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(6, 16, 5),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(16 * 4 * 4, 120),
        nn.ReLU(),
        nn.Linear(120, 84),
        nn.ReLU(),
        nn.Linear(84, 10),
    )
