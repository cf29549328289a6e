"""What a published model must be, worked out from the plain vectors that the devices would never show anybody."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fanlight.core.segments import slices
from fanlight.learning.heads import head_layout
from fanlight.learning.held_back import HeldBack
from fanlight.learning.model_file import decode
from fanlight.protocol.contribution import Totals, read_totals
from fanlight.protocol.manifest import Proposal
from fanlight.protocol.plan import Kind
from fanlight.services.main_server.collected_sums import Collected
from fanlight.services.main_server.solving import solve
from fanlight.services.main_server.task import Task


@dataclass
class CheckedSums:
    """Checks each version once, in their order: one that is solved hangs on the sums that were collected before.

    Args:
        task: of the federation.
    """

    task: Task
    _collected: Collected | None = None

    def check(self, terms: Proposal, vectors: Sequence[NDArray[np.int64]], before: bytes, after: bytes) -> None:
        """Is ``after`` what these vectors make of ``before``? Both are model files."""
        total: NDArray[np.int64] = np.sum(vectors, axis=0)
        totals = read_totals(terms.layout, total, len(vectors))
        assert totals.supporters is not None
        if terms.kind == Kind.TRAIN.value:
            self._check_trained(terms, total, totals.supporters, before, after)
        else:
            self._check_solved(terms, totals, totals.supporters, after)

    def check_kept(self, kept: Collected | None) -> None:
        """What main keeps for later changes is exactly what was summed."""
        assert (kept is None) == (self._collected is None)
        if kept is not None and self._collected is not None:
            assert (kept.sums - self._collected.sums).is_empty
            assert (kept.devices, kept.round) == (self._collected.devices, self._collected.round)

    def _check_trained(
        self, terms: Proposal, total: NDArray[np.int64], supporters: NDArray[np.int64], before: bytes, after: bytes
    ) -> None:
        """FedAvg: before + W_max · x / (s · Σn); classes that are held back stay as they are."""
        places = slices(terms.layout)
        update = next(segment for segment in terms.layout if segment.kind == "update")
        weight = next(segment for segment in terms.layout if segment.kind == "weight")
        scale = update.scale_numerator / update.scale_denominator
        step = weight.hi * total[places["update"]] / (scale * int(total[places["weight"]][0]))
        rows = self._held_back(supporters).published(step.reshape(-1, len(supporters)))  # of each feature; of the bias
        expected = _parameters(before) + rows.ravel()
        rounding = 2**-22 * np.abs(expected).max()  # a file holds float32
        np.testing.assert_allclose(_parameters(after), expected, rtol=0, atol=rounding)

    def _check_solved(self, terms: Proposal, totals: Totals, supporters: NDArray[np.int64], after: bytes) -> None:
        assert totals.sums is not None
        if terms.kind == Kind.STATISTICS.value:
            self._collected = Collected(totals.sums, supporters, totals.count, terms.round, terms.round)
        else:
            assert self._collected is not None, "changes to sums that were never collected"
            self._collected = self._collected.changed(totals, terms.round)
        plan = self.task.plan.of_kind(Kind(terms.kind))
        head, _ = solve(plan, self._collected.sums, self._held_back(self._collected.supporters))
        model = decode(after)
        np.testing.assert_array_equal(model.weight, head.weight)
        np.testing.assert_array_equal(model.bias, head.bias)

    def _held_back(self, supporters: NDArray[np.int64]) -> HeldBack:
        return HeldBack.of(supporters, self.task.policy.supporters)


def _parameters(content: bytes) -> NDArray[np.float64]:
    model = decode(content)
    return head_layout(*model.weight.shape).flatten({"head.weight": model.weight, "head.bias": model.bias})
