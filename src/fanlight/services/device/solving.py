"""What a device works out where the head is solved from sums: the sums of its pictures, and a head from them alone."""

from __future__ import annotations

from collections.abc import Sequence

from fanlight.learning import analytic, prototypes
from fanlight.learning.heads import HeadKind, SoftmaxHead
from fanlight.protocol.plan import Plan
from fanlight.protocol.statistics import Sums
from fanlight.services.device.pictures import Examples


def learn(plan: Plan, train: Examples, valid: Examples) -> tuple[SoftmaxHead, Sums]:
    """The local head, and the sums as they are sent: of both parts apart, or together where nothing is chosen by them.

    Raises:
        DataError: features or labels cannot be used.
    """
    classes = len(plan.classes)
    parts = [analytic.collect_varied(part.x, part.variants, part.y, classes) for part in (train, valid)]
    if plan.head == HeadKind.ANALYTIC:
        ridge = _ridge(parts, train, valid, balanced=plan.class_weights)
        return ridge.head, Sums.rounded(*((part.gram, part.sums, part.examples) for part in parts))
    together = parts[0] + parts[1]
    head = prototypes.head_of(together.sums, together.examples)
    return head, Sums.rounded((together.gram[:0], together.sums, together.examples))


def _ridge(parts: Sequence[analytic.Statistics], train: Examples, valid: Examples, *, balanced: bool) -> analytic.Ridge:
    """From the sums; from the pictures themselves, which is faster for a few, where they have no variants."""
    if train.variants:
        return analytic.fit(*parts, balanced=balanced)
    return analytic.fit_pictures((train.x, train.y), (valid.x, valid.y), len(parts[0].examples), balanced=balanced)
