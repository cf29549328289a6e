"""FedPer: the last layers stay at home (Arivazhagan et al. 1912.00818, algorithms 1 and 2).

Each device trains shared and personal tensors together; only the shared ones are averaged. Of a softmax head on fixed
features the bias alone can be personal, how often a home sees what: the paper's personal layers are behind a body that
learns, as where the backbone is tuned.

State: the personal tensors on each device. Composes: a device sends zeros in their place. Without personal tensors it
is FedAvg.
"""

from __future__ import annotations

from fanlight.learning.algorithms.algorithm import Algorithm
from fanlight.learning.algorithms.personal import LAST, last, personalised, together
from fanlight.learning.algorithms.recipe import Recipe


def fedper(personal: float) -> Algorithm:
    """The algorithm; ``personal`` tensors from the end stay at home."""
    return personalised(last(int(personal)), together, descents=1)


RECIPE = Recipe(
    name="fedper",
    title="FedPer",
    summary="The model's last tensors stay at home, the others are averaged.",
    paper="Arivazhagan et al. 2019, 1912.00818",
    on_device="its personal tensors",
    on_server="",
    composes="yes: zeros travel in place of personal tensors",
    make=fedper,
    parameters=(LAST,),
)
