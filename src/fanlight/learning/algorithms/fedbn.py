"""FedBN: batch normalisation stays at home (Li et al. 2102.07623, algorithm 1).

As FedAvg, but scale, shift and statistics of batch normalisation are each device's own, for its light and its camera.
Which tensors these are, whoever has the model says (``Received.normalisation``): their names need not tell.

State: the normalisation tensors on each device. Composes: a device sends zeros in their place. A model without such
tensors is refused, for it would be FedAvg: a head on a fixed backbone has none, as they are folded into the backbone's
convolutions. Where the backbone learns, and batch normalisation is local, there are some.
"""

from __future__ import annotations

from fanlight.core.tensors import TensorLayout
from fanlight.errors import SettingsError
from fanlight.learning.algorithms.algorithm import Algorithm
from fanlight.learning.algorithms.personal import personalised, together
from fanlight.learning.algorithms.recipe import Recipe


def fedbn() -> Algorithm:
    """The algorithm."""
    return personalised(_normalisation, together, descents=1)


def _normalisation(_layout: TensorLayout, normalisation: frozenset[str]) -> frozenset[str]:
    if not normalisation:
        raise SettingsError(
            "FedBN: the model has no batch normalisation that could stay at home.",
            next="Choose fedavg, which is the same of such a model; or a module with batch normalisation.",
        )
    return normalisation


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
