"""The vector: what a device puts into a round, and what main reads out of the sum.

A round's layout follows from the plan, n_max, the clip, how wide updates are, how many pictures of a device count, and
whether the model's counts are still wanted; a device accepts only the layout that it would have made itself
(``expected_layout``), so a manifest cannot ask for more.

    weight       n <= W_max training pictures, exact
    update       (n / W_max) · clipped update, scale Q/C, stochastic rounding; may be packed
    statistics   upper triangle of ΣΦᵀΦ of the training pictures, then of the validation pictures; see below
    class_sums   ΣΦᵀY, f×K, of both likewise
    examples     pictures of each class, of both likewise, exact
    counts       confusion matrices of the model received and of the local one, K×K each, rows = true class, exact
    loss         summed loss of both on the test pictures, in hundredths of a nat (coarser above 2,147 devices, so
                 that the sum fits the ring), exact after clamping
    supporters   per class 0 or 1: has this device training pictures of it
    within_clip  0 or 1: was the update within C

    members      by how much the number of devices changes whose sums are counted

In a round of statistics ``statistics``, ``class_sums`` and ``examples`` take the place of weight, update and
within_clip (see ``statistics``). What an algorithm has devices send beside an update (``extras``) comes last.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any, Final, TypeVar

import numpy as np
from numpy.typing import NDArray

from fanlight.core import quantise, ring
from fanlight.core.randomness import Keystream
from fanlight.core.segments import (
    Segment,
    is_long,
    layout_length,
    packed_update,
    quantisation_steps,
    slices,
    update_scale,
)
from fanlight.errors import ModelError, Refused, SettingsError
from fanlight.protocol import extras, statistics
from fanlight.protocol.extras import Integers
from fanlight.protocol.plan import Kind, Plan
from fanlight.protocol.statistics import Sums

T = TypeVar("T")

Words = NDArray[np.uint32] | NDArray[np.uint64]
"""A vector, in one of the two kinds of words that it is worked on in."""

W_MAX: Final = 10_000
"""Most training pictures of one device that can count."""
COUNT_MAX: Final = 10_000
"""B: most test pictures of one device that count."""
LOSS_SCALE: Final = 100
"""Most steps per nat."""
LOSS_MAX: Final = 10_000
"""Most summed loss (nats) of one device that counts."""


@dataclass(frozen=True)
class Measured:
    """Counts on held-out pictures: confusion matrix (K, K) int64, rows = true class, and summed loss in nats."""

    confusion: NDArray[np.int64]
    loss_sum: float


@dataclass(frozen=True)
class Contribution:
    """What one device has to say, in the clear; never leaves it like this.

    Attributes:
        examples: training pictures.
        update: local minus received parameters, (d,) float64; None in a measuring round.
        received, local: counts of the model received and of the local model; None where the layout has no counts.
        supporters: (K,) bool, classes with training pictures; in a round of changes, the difference, -1 to 1.
        control: (d,) change of the control variate, and steps: that led to the update, if the algorithm wants them.
        sums: what the head is solved from, in a round of statistics or changes.
        members: in a round of changes, 1 if this device was not counted before, -1 if it is not to be any more.
    """

    examples: int
    update: NDArray[np.float64] | None
    received: Measured | None
    local: Measured | None
    supporters: NDArray[np.bool_] | NDArray[np.int64]
    control: NDArray[np.float64] | None = None
    steps: float | None = None
    sums: Sums | None = None
    members: int = 0

    @property
    def changes_nothing(self) -> bool:
        """Is there nothing to say in a round of changes? Zeros would only pretend to be company."""
        return self.sums is None or (self.sums.is_empty and not self.members and not np.any(self.supporters))


@dataclass(frozen=True)
class Totals:
    """What main reads out of a sum over ``count`` devices; None where the layout has no such segment.

    Attributes:
        weight: Σn.
        steps: the sum of all weighted updates, (d,) int32 or int64. unit: what one step of it is of the mean.
        received, local: summed counts. supporters: (K,) devices per class. within_clip: devices within the clip.
        control, control_unit: the same of all changes of control variates, unweighted.
        local_steps: mean of what devices say of their training's steps, weighted as the update.
        sums: what the head is solved from. members: how many more devices they are of, in a round of changes.
        shards: the same of each shard whose sum can be used, if there is more than one.
    """

    count: int
    weight: int | None = None
    steps: Integers | None = None
    unit: float = 0.0
    received: Measured | None = None
    local: Measured | None = None
    supporters: NDArray[np.int64] | None = None
    within_clip: int | None = None
    control: Integers | None = None
    control_unit: float = 0.0
    local_steps: float | None = None
    sums: Sums | None = None
    members: int | None = None
    shards: tuple[Totals, ...] = ()

    @property
    def mean(self) -> NDArray[np.float64] | None:
        """The weighted mean update, a new (d,) array; None without ``steps``."""
        return None if self.steps is None else np.multiply(self.steps, self.unit, dtype=np.float64)


def expected_layout(
    plan: Plan, n_max: int, clip_micro: int, *, with_counts: bool, update_bits: int = 0, most_pictures: int = W_MAX
) -> tuple[Segment, ...]:
    """The only layout a device accepts for these parameters.

    Args:
        plan: what is computed; its kind decides which segments there are.
        n_max: most devices in the sum.
        clip_micro: clip C in millionths.
        with_counts: are the model's counts wanted (always so in a measuring round).
        update_bits: width of a packed update; 0 = not packed, in the whole ring.
        most_pictures: W_max, most training pictures of one device that count.

    Raises:
        SettingsError: so many devices cannot be summed, or not with updates of this width; says what can be.
    """
    k = len(plan.classes)
    loss_scale = max(1, min(LOSS_SCALE, (2**31 - 1) // (n_max * LOSS_MAX)))
    counts = (
        Segment("counts", 2 * k * k, 32, 1, 1, 0, COUNT_MAX, "exact"),
        Segment("loss", 2, 32, loss_scale, 1, 0, loss_scale * LOSS_MAX, "exact"),
    )
    if plan.kind == Kind.MEASURE:
        return counts
    if Kind(plan.kind).sums:
        return statistics.layout(plan, n_max, most_pictures, counts if with_counts else ())
    steps, bits = packed_update(n_max, update_bits) if update_bits else (quantisation_steps(n_max), ring.WORD_BITS)
    return (
        Segment("weight", 1, 32, 1, 1, 0, most_pictures, "exact"),
        Segment("update", plan.parameters, bits, *update_scale(steps, clip_micro), -steps, steps, "stochastic"),
        *(counts if with_counts else ()),
        Segment("supporters", k, 32, 1, 1, 0, 1, "exact"),
        Segment("within_clip", 1, 32, 1, 1, 0, 1, "exact"),
        *extras.segments(plan, n_max),
    )


def clip_of(layout: Sequence[Segment]) -> int:
    """The clip C, in millionths, that the update segment's scale implies; 0 if there is none.

    Raises:
        Refused: the scale is not Q/C with C a whole number of millionths.
    """
    for segment in layout:
        if segment.kind == "update":
            if segment.scale_numerator <= 0:
                raise Refused("The manifest's update scale is not positive.", slug="bad-layout")
            clip = Fraction(segment.hi * segment.scale_denominator * 1_000_000, segment.scale_numerator)
            if clip.denominator != 1 or clip <= 0:
                raise Refused("The manifest's clip is not a whole number of millionths.", slug="bad-layout")
            return clip.numerator
    return 0


def is_expected(layout: Sequence[Segment], plan: Plan, n_max: int) -> bool:
    """Is it a layout that ``expected_layout`` gives, with whatever clip, width and cap?

    Raises:
        Refused: see ``clip_of``.
    """
    parts = {segment.kind: segment for segment in layout}
    clip, update_bits, most_pictures = clip_of(layout), 0, W_MAX
    if "update" in parts and parts["update"].bits in ring.PACKED_BITS:
        update_bits = parts["update"].hi.bit_length() + 1
    for kind in parts.keys() & {"weight", "examples"}:
        most_pictures = min(max(parts[kind].hi, 1), W_MAX)
    try:
        expected = expected_layout(
            plan,
            n_max,
            clip,
            with_counts="counts" in parts,
            update_bits=update_bits,
            most_pictures=most_pictures,
        )
    except SettingsError:
        return False
    return tuple(layout) == expected


def encode(layout: Sequence[Segment], contribution: Contribution, stream: Keystream) -> NDArray[Any]:
    """Clip, weight and quantise a contribution into ring elements.

    Args:
        layout: the round's layout.
        contribution: what this device has to say.
        stream: device-private generator for the rounding.

    Returns:
        (d,) uint32, or uint64 in the ring of 64 bits: q in two's complement, before masking and packing.

    Raises:
        Refused: the layout asks for a part that is not there.
        ModelError: a part has another length than its segment, or holds values that are not finite.
    """
    vector = np.empty(layout_length(layout), np.uint64 if is_long(layout) else np.uint32)
    places = slices(layout)
    clipped = None
    if contribution.update is not None and "update" in places:
        clipped = quantise.clip(contribution.update, clip_of(layout) / 1e6)
    most_pictures = _most_pictures(layout)
    for segment in layout:
        place = vector[places[segment.kind]]
        if segment.kind == "update":
            weight = min(contribution.examples, most_pictures) / most_pictures
            _quantise(segment, _present(clipped).vector, weight, stream, place)
        elif segment.kind == "control":
            change = quantise.clip(_present(contribution.control), extras.control_clip(segment))
            _quantise(segment, change.vector, 1.0, stream, place)
        else:
            part = _exact(segment, contribution, clipped, most_pictures)
            _check_length(segment, part.shape)
            place[:] = ring.to_ring(part, segment.bits)
    return vector


def _quantise(
    segment: Segment, values: NDArray[np.float64], weight: float, stream: Keystream, place: NDArray[Any]
) -> None:
    """A part as long as the model is written where it belongs, with no copy of it in between."""
    _check_length(segment, values.shape)
    out = place.view(np.int32)
    quantise.quantise(values, segment.scale, segment.lo, segment.hi, stream, weight=weight, out=out)


def _check_length(segment: Segment, shape: tuple[int, ...]) -> None:
    # NumPy would spread a single number over a whole segment without a word.
    if shape != (segment.length,):
        raise ModelError(f"the part {segment.kind!r} has {math.prod(shape)} numbers, the round {segment.length}")


def _exact(
    segment: Segment, contribution: Contribution, clipped: quantise.Clipped | None, most_pictures: int
) -> NDArray[np.int64]:
    match segment.kind:
        case "weight":
            return np.array([min(contribution.examples, most_pictures)], np.int64)
        case "statistics" | "class_sums" | "examples":
            return statistics.part_of(segment, _present(contribution.sums))
        case "counts" | "loss":
            return _measured(segment, _present(contribution.received), _present(contribution.local))
        case "supporters":
            return contribution.supporters.astype(np.int64)
        case "members" | "within_clip":
            number = contribution.members if segment.kind == "members" else int(_present(clipped).within)
            return np.array([number], np.int64)
        case "steps":
            return extras.steps(_present(contribution.steps), min(contribution.examples, most_pictures))
    raise Refused(f"The manifest has an unknown segment {segment.kind!r}.", slug="bad-layout")


def _measured(segment: Segment, received: Measured, local: Measured) -> NDArray[np.int64]:
    if segment.kind == "counts":
        return np.concatenate([np.minimum(part.confusion.ravel(), segment.hi) for part in (received, local)])
    sums = np.array([received.loss_sum, local.loss_sum])
    if np.isnan(sums).any():
        raise ModelError("the measured loss is not a number", next="Lower the learning rate and train again.")
    steps: NDArray[np.int64] = np.clip(np.rint(sums * float(segment.scale)), 0, segment.hi).astype(np.int64)
    return steps


def _present(value: T | None) -> T:
    if value is None:
        raise Refused("The manifest asks for a part that this round does not have.", slug="bad-layout")
    return value


def centre(layout: Sequence[Segment], vector: Words) -> Integers:
    """The integers that an unmasked sum stands for, each segment's in its ring: (d,) uint32 to (d,) int32, or 64 bits.

    Where they lie: a sum may be so long that there is no room for another copy of it.
    """
    places = slices(layout)
    for segment in layout:
        ring.centre_in_place(vector[places[segment.kind]], segment.bits)
    return vector.view(np.int64) if is_long(layout) else vector.view(np.int32)


def check_sum(layout: Sequence[Segment], total: Integers, count: int) -> str | None:
    """Main's checks of an unmasked, centred sum: every coordinate within [|S|·lo, |S|·hi], and the update's norm.

    The norm is at most Q·Σn/W_max and a little more for rounding (see ``quantise.norm_of_sum``). It goes by the weight
    that the sum itself says: |S|·Q would let one device that lies about its weight, so that little of it is left, move
    the mean by 10,000 times the clip. For a packed update it is the check that matters, too: its ring is hardly wider
    than the range of honest sums.

    Statistics are held against what sums of squares cannot but be (see ``statistics.why_impossible``); of changes, that
    is asked of the sums that they change.

    Returns:
        None if the sum may be used, else why not (a slug), which is for main alone: see ``closing.SUM_NOT_USABLE``.
    """
    places = slices(layout)
    weight, pictures = float(count), 0
    for segment in layout:
        part = total[places[segment.kind]]
        if part.min() < count * segment.lo or part.max() > count * segment.hi:
            return f"{segment.kind}-out-of-range"
        if segment.kind == "weight":
            pictures = int(part[0])
            weight = pictures / segment.hi
            if weight == 0:
                return "no-pictures"
        most = quantise.norm_of_sum(segment.hi, segment.length, count, weight)
        if segment.kind == "update" and quantise.norm(part) > most:
            return "update-norm-too-large"
        if flaw := extras.flaw(segment, part, count, pictures):
            return flaw
    sums = statistics.read(layout, total)
    if sums is not None and _segment(layout, "examples").lo == 0:
        return statistics.why_impossible(sums, count)
    return None


def read_totals(layout: Sequence[Segment], total: Integers, count: int) -> Totals:
    """Read the sum's segments; call only after ``check_sum``.

    Args:
        layout: the round's layout.
        total: (d,) int32 or int64, unmasked and centred.
        count: |S|.
    """
    places = slices(layout)
    parts = {segment.kind: total[places[segment.kind]] for segment in layout}
    totals = Totals(count)
    if "counts" in parts:
        k = math.isqrt(parts["counts"].size // 2)
        received, local = parts["counts"].reshape(2, k, k)
        losses = parts["loss"] / float(_segment(layout, "loss").scale)
        totals = replace(
            totals,
            received=Measured(received.astype(np.int64), float(losses[0])),
            local=Measured(local.astype(np.int64), float(losses[1])),
        )
    if "update" in parts:
        segment = _segment(layout, "update")
        weight = int(parts["weight"][0])
        unit = _most_pictures(layout) * segment.scale_denominator / segment.scale_numerator
        totals = replace(
            totals,
            weight=weight,
            steps=parts["update"],
            unit=unit / weight,
            supporters=parts["supporters"].astype(np.int64),
            within_clip=int(parts["within_clip"][0]),
            control=parts.get("control"),
            control_unit=float(1 / _segment(layout, "control").scale) / count if "control" in parts else 0.0,
            local_steps=extras.mean_steps(parts["steps"], weight) if "steps" in parts else None,
        )
    if "examples" in parts:
        members = int(parts["members"][0]) if "members" in parts else None
        sums, supporters = statistics.read(layout, total), parts["supporters"].astype(np.int64)
        totals = replace(totals, sums=sums, supporters=supporters, members=members)
    return totals


def _most_pictures(layout: Sequence[Segment]) -> int:
    return next((segment.hi for segment in layout if segment.kind == "weight"), W_MAX)


def _segment(layout: Sequence[Segment], kind: str) -> Segment:
    return next(segment for segment in layout if segment.kind == kind)
