"""FedBN: batch normalisation stays at home (Li et al. 2102.07623, algorithm 1).

As FedAvg, but scale, shift and statistics of normalisation layers are each device's own, for its light and its camera.
Tensors belong to one if a part of their name, between dots, is ``bn`` or begins with ``norm``: "stem.bn.weight",
"blocks.3.norm1.bias".

State: the normalisation tensors on each device. Composes: a device sends zeros in their place. Without such tensors it
is FedAvg; a head on a fixed backbone has none, as they are folded into the backbone's convolutions. Where the backbone
learns, and batch normalisation is local, there are some.
"""

from __future__ import annotations

import re

from fanlight.core.tensors import TensorLayout
from fanlight.learning.algorithms.algorithm import Algorithm
from fanlight.learning.algorithms.personal import personalised, together
from fanlight.learning.algorithms.recipe import Recipe

_NORMALISATION = re.compile(r"(^|\.)(bn\d*|norm[^.]*)(\.|$)")


def fedbn() -> Algorithm:
    """The algorithm."""
    return personalised(_normalisation, together, descents=1)


def _normalisation(layout: TensorLayout) -> frozenset[str]:
    return frozenset(name for name in layout.names if _NORMALISATION.search(name))


RECIPE = Recipe(
    name="fedbn",
    title="FedBN",
    summary="FedAvg whose batch normalisation stays at home.",
    paper="Li et al. 2021, 2102.07623",
    on_device="its normalisation layers",
    on_server="",
    composes="yes: zeros travel in place of personal tensors",
    make=fedbn,
    why_not="it is fedavg where fine_tune has batch_norm local; a frozen backbone has no normalisation of its own",
)
