"""``python -m benchmarks.idle ARGUMENTS``: the program ``fanlight``, but for the learning.

What rounds cost by themselves is measured with devices that do nothing, as one measures other frameworks. Everything
else is as it is in earnest: processes, routes, signatures, masks, databases, files. Two stand-ins:

- the backbone ``idle-N`` with N features, which exists only as an entry of the registry;
- a learner that returns a random update at once, and says that it got every picture right.
"""

from __future__ import annotations

import dataclasses
import os
from types import MappingProxyType

from fanlight.learning import backbones

FEATURES_VARIABLE = "FANLIGHT_BENCHMARK_FEATURES"
"""Length of the stand-in's feature vector."""


def backbone_id(features: int) -> str:
    """Name of the stand-in backbone."""
    return f"idle-{features}"


def register(features: int) -> None:
    """Add the stand-in backbone to the registry; call before anything else of fanlight is imported."""
    entry = dataclasses.replace(
        backbones.BACKBONES[backbones.DEFAULT_BACKBONE],
        id=backbone_id(features),
        title=f"Stand-in of {features} features",
        features=features,
        compiled_sha256=f"{features:064x}",
    )
    backbones.BACKBONES = MappingProxyType({**backbones.BACKBONES, entry.id: entry})


def put_idle_learner() -> None:
    """Replace the device's learner."""
    import hashlib

    import numpy as np
    from numpy.typing import NDArray

    from fanlight.core.randomness import Keystream
    from fanlight.protocol.device_round import Preparation
    from fanlight.services.device import role
    from fanlight.services.device.learned import Held, Learned, Prepared, StoredCounts
    from fanlight.services.device.learner import Learner
    from fanlight.services.device.pictures import Overview, Pictures
    from fanlight.services.http.jobs import Progress

    class IdleLearner(Learner):
        """Knows the model's size, and nothing else."""

        def train(self, held: Held, progress: Progress) -> Prepared:  # noqa: ARG002 the learner's signature
            """A preparation with nothing behind it."""
            counts = self._all_right(held)
            file = b"idle" + self.randomness(16)
            prepared = Prepared(
                state=Preparation.IDLE.value,
                plan=held.plan.hash,
                model=held.sha256,
                model_version=held.version,
                head=hashlib.sha256(file).digest(),
                examples=100,
                epochs=1,
                supporters=(True,) * len(held.plan.classes),
                received=counts,
                local=counts,
                trained_at=int(self.clock()),
            )
            return self.store.trained(prepared, file)

        def measure(self, held: Held, progress: Progress) -> Learned:  # noqa: ARG002
            """Every picture right."""
            self.pictures.overview = Overview()
            counts = self._all_right(held)
            self.store.measured(held, counts)
            return Learned(received=counts)

        def update(self, held: Held, prepared: Prepared) -> NDArray[np.float64]:  # noqa: ARG002
            """A random direction, (d,)."""
            raw = Keystream(self.randomness(32)).bytes(held.plan.parameters)
            update: NDArray[np.float64] = (np.frombuffer(raw, np.uint8).astype(np.float64) - 127.5) / 1e6
            return update

        @staticmethod
        def _all_right(held: Held) -> StoredCounts:
            confusion = np.diag(np.full(len(held.plan.classes), 5))
            return StoredCounts(confusion=tuple(confusion.ravel().tolist()), loss_micro=0)

    role.Learner = IdleLearner  # type: ignore[attr-defined]
    Pictures.lacks_training = property(lambda _self: False)  # type: ignore[assignment, method-assign]


if __name__ == "__main__":
    register(int(os.environ[FEATURES_VARIABLE]))
    import sys

    if "device" in sys.argv[1:2]:
        put_idle_learner()
    from fanlight.cli import main

    main()
