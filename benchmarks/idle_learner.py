"""A device's learner that does nothing: what rounds cost by themselves is measured with it."""

from __future__ import annotations

import functools
import hashlib

import numpy as np
from numpy.typing import NDArray

from fanlight.core.randomness import Keystream
from fanlight.protocol.contribution import W_MAX
from fanlight.protocol.device_round import Preparation
from fanlight.services.device.learned import Held, Learned, Prepared, StoredCounts
from fanlight.services.device.learner import Learner
from fanlight.services.http.jobs import Progress

_FRESH = 4096


class IdleLearner(Learner):
    """Knows the model's size, and nothing else; it looks at no picture."""

    @property
    def has_looked(self) -> bool:
        """There is nothing to look at."""
        return True

    def check(self) -> None:
        """It can always "train"."""

    def look(self) -> None:
        """There is nothing to look at."""

    def train(self, held: Held, progress: Progress, most: int = W_MAX) -> Prepared:  # noqa: ARG002 it has no pictures
        """A preparation with nothing behind it."""
        prepared, file = self.idle(held)
        kept = self.store.trained(prepared, file)
        progress(1.0, "done")
        return kept

    def idle(self, held: Held) -> tuple[Prepared, bytes]:
        """The preparation, which is kept nowhere yet, and the file of a local model that is none."""
        counts = _all_right(held)
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
        return prepared, file

    def measure(self, held: Held, progress: Progress) -> Learned:
        """Every picture right."""
        counts = _all_right(held)
        self.store.measured(held, counts)
        progress(1.0, "done")
        return Learned(received=counts)

    def update(self, held: Held, prepared: Prepared) -> NDArray[np.float64]:
        """A random direction, (d,), another one for each training; it repeats itself, for it is to cost nothing.

        So only its beginning is another one each time; the memory for it is that of the last one.
        """
        raw = Keystream(prepared.head).bytes(min(held.plan.parameters, _FRESH))
        fresh = (np.frombuffer(raw, np.uint8).astype(np.float64) - 127.5) / 1e6
        if (kept := self._updates.get(held.plan.parameters)) is None:
            kept = self._updates[held.plan.parameters] = np.resize(fresh, held.plan.parameters)
        kept[: fresh.size] = fresh
        return kept

    @functools.cached_property
    def _updates(self) -> dict[int, NDArray[np.float64]]:
        return {}


def _all_right(held: Held) -> StoredCounts:
    confusion = np.diag(np.full(len(held.plan.classes), 5))
    return StoredCounts(confusion=tuple(confusion.ravel().tolist()), loss_micro=0)
