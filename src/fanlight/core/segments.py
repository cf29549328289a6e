"""The layout of the masked vector: ordered segments with exact bounds.

Rules, and why they hold:

1. Every coordinate of a segment is an integer in [lo, hi]. With N_max·max(|lo|, |hi|) < 2^(bits-1), no sum over a
   cohort of at most N_max devices wraps around the ring, so the centred sum is the true one.
2. An update is carried at Q/C steps per unit, where C bounds its L2 norm; a coordinate is then in [-Q, Q]. In the whole
   ring of 32 bits Q = min(2^22, floor((2^31 - 1)/(4·N_max))), which leaves a factor of four as headroom for range
   checks and later for noise. Below Q = 256 rounding would drown the update: the cohort is too large for 32 bits.
3. A *packed* update is u bits wide at the device, Q = 2^(u-1) - 1, and travels in the smallest ring that holds N_max of
   them: 26 bits for u = 16 and 1,000 devices, 20 for u = 10 (see ``packing``). It leaves no headroom, so what range
   checks no longer see, the norm of the sum must show (see ``quantise.norm_of_sum``). The other segments are short, and
   have nothing but their range to be checked by: they stay in 32 bits.
4. *Statistics* (sums of products of features) are solved for, not averaged: what rounding loses, the inverse of a badly
   conditioned matrix makes larger. They are carried at 2^32 steps per unit in the ring of 64 bits, rounded to the
   nearest integer. A layout is in words of 64 bits throughout or not at all, so that a vector has one kind of word.
5. Scales travel as fractions of integers, because messages hold no floats: C is given in millionths.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Final

from fanlight.core.ring import LONG_BITS, PACKED_BITS, WORD_BITS
from fanlight.errors import MalformedMessage, SettingsError

KINDS: Final = frozenset(
    {"weight", "update", "counts", "loss", "supporters", "within_clip", "control", "steps"}
    | {"statistics", "class_sums", "examples", "members"}
)
ROUNDINGS: Final = frozenset({"exact", "stochastic", "nearest"})
RING_BITS: Final = frozenset({*PACKED_BITS, WORD_BITS, LONG_BITS})
MOST_WORDS: Final = 1 << 28
MOST_STEPS: Final = 1 << 22
FEWEST_STEPS: Final = 256
FEWEST_UPDATE_BITS: Final = FEWEST_STEPS.bit_length() + 1
MOST_UPDATE_BITS: Final = MOST_STEPS.bit_length()
MICRO: Final = 1_000_000
_MOST_SCALE: Final = 1 << 63


@dataclass(frozen=True)
class Segment:
    """One run of coordinates that mean the same.

    Attributes:
        kind: what they are; one of ``KINDS``, each at most once in a layout.
        length: how many, at least 1.
        bits: size of the ring they are summed in, and travel in: 2 to 32, or 64.
        scale_numerator, scale_denominator: integer steps per unit, as a positive fraction.
        lo, hi: least and greatest integer that one device may send.
        rounding: "exact" for integers; "stochastic" or "nearest" for real numbers.
    """

    kind: str
    length: int
    bits: int
    scale_numerator: int
    scale_denominator: int
    lo: int
    hi: int
    rounding: str

    @property
    def scale(self) -> Fraction:
        """Integer steps per unit."""
        return Fraction(self.scale_numerator, self.scale_denominator)

    @property
    def words(self) -> int:
        """How many 32-bit words it takes as it is sent."""
        return words_of(self.length, self.bits)


def check_layout(segments: Sequence[Segment], n_max: int) -> None:
    """Refuse a layout whose sums over ``n_max`` devices might not come back exactly.

    Raises:
        MalformedMessage: names the segment and the rule that it breaks.
    """
    if n_max < 1:
        raise MalformedMessage(f"a cohort has at least one device, not {n_max}")
    for segment in segments:
        _check_segment(segment, n_max)
    kinds = [segment.kind for segment in segments]
    if not kinds or len(set(kinds)) != len(kinds):
        raise MalformedMessage(f"a layout has one or more segments, each kind once, not {kinds}")
    if is_long(segments) and any(segment.bits != LONG_BITS for segment in segments):
        raise MalformedMessage(f"a layout has {LONG_BITS} bits a coordinate throughout, or nowhere")
    if max(layout_length(segments), layout_words(segments)) > MOST_WORDS:
        raise MalformedMessage(f"a layout of {layout_length(segments)} coordinates is above the limit of {MOST_WORDS}")


def layout_length(segments: Sequence[Segment]) -> int:
    """Length of the whole vector, in coordinates."""
    return sum(segment.length for segment in segments)


def layout_words(segments: Sequence[Segment]) -> int:
    """Length of the whole vector as it is sent, in 32-bit words; with 32 bits a coordinate, its coordinates."""
    return sum(segment.words for segment in segments)


def is_long(segments: Sequence[Segment]) -> bool:
    """Is a vector of this layout worked on as uint64, not as uint32?"""
    return any(segment.bits == LONG_BITS for segment in segments)


def words_of(length: int, bits: int) -> int:
    """How many 32-bit words hold ``length`` coordinates of ``bits`` bits."""
    return -(-length * bits // WORD_BITS)


def slices(segments: Sequence[Segment]) -> dict[str, slice]:
    """Where in the vector each kind of segment lies."""
    where: dict[str, slice] = {}
    start = 0
    for segment in segments:
        where[segment.kind] = slice(start, start + segment.length)
        start += segment.length
    return where


def quantisation_steps(n_max: int) -> int:
    """Q, the greatest integer that a coordinate of an update may take, for cohorts of at most ``n_max`` devices.

    Raises:
        SettingsError: ``n_max`` is below 1, or so large that Q would be below 256.
    """
    steps = min(MOST_STEPS, (2**31 - 1) // (4 * n_max)) if n_max >= 1 else 0
    if steps < FEWEST_STEPS:
        raise SettingsError(
            f"a cohort of up to {n_max} devices cannot be summed in 32 bits",
            next=f"Set the largest cohort to between 1 and {(2**31 - 1) // (4 * FEWEST_STEPS)}.",
        )
    return steps


def packed_update(n_max: int, update_bits: int) -> tuple[int, int]:
    """Q, and the bits of the ring, for updates of ``update_bits`` bits and cohorts of at most ``n_max`` devices.

    Raises:
        SettingsError: such updates do not fit a ring of less than 32 bits, or would drown in their rounding.
    """
    if n_max < 1 or not FEWEST_UPDATE_BITS <= update_bits <= MOST_UPDATE_BITS:
        raise SettingsError(
            f"an update cannot be packed in {update_bits} bits for {n_max} devices",
            next=f"Set its width to {FEWEST_UPDATE_BITS} to {MOST_UPDATE_BITS} bits, or to 0 for the whole ring.",
        )
    steps = _steps_of(update_bits)
    bits = (n_max * steps).bit_length() + 1
    if bits not in PACKED_BITS:
        most = PACKED_BITS[-1]
        widest = next(u for u in range(update_bits, 0, -1) if (n_max * _steps_of(u)).bit_length() < most)
        advice = f"the update's width to at most {widest} bits, " if widest >= FEWEST_UPDATE_BITS else ""
        raise SettingsError(
            f"updates of {update_bits} bits from up to {n_max} devices need {bits} bits, as many as without packing",
            next=f"Set the largest cohort to at most {((1 << (most - 1)) - 1) // steps} devices, {advice}or the width "
            "to 0 for the whole ring.",
        )
    return steps, bits


def update_scale(q_max: int, clip_micro: int) -> tuple[int, int]:
    """Numerator and denominator, in lowest terms, of the scale Q/C with Q = ``q_max`` and C = ``clip_micro``/10^6.

    Raises:
        SettingsError: one of them is not positive.
    """
    if q_max < 1 or clip_micro < 1:
        raise SettingsError(f"steps and clipping bound must be positive, not {q_max} and {clip_micro} millionths")
    return Fraction(q_max * MICRO, clip_micro).as_integer_ratio()


def _steps_of(update_bits: int) -> int:
    return (1 << (update_bits - 1)) - 1


def _check_segment(segment: Segment, n_max: int) -> None:
    if segment.kind not in KINDS or segment.rounding not in ROUNDINGS:
        raise MalformedMessage(f"no segment is of kind {segment.kind!r} with {segment.rounding!r} rounding")
    if segment.length < 1 or segment.bits not in RING_BITS:
        raise MalformedMessage(f"segment {segment.kind!r} has length {segment.length} in {segment.bits} bits")
    if not (0 < segment.scale_numerator < _MOST_SCALE and 0 < segment.scale_denominator < _MOST_SCALE):
        raise MalformedMessage(f"segment {segment.kind!r} has a scale that is not a positive 63-bit fraction")
    if segment.lo > segment.hi:
        raise MalformedMessage(f"segment {segment.kind!r} has its bounds reversed: {segment.lo} to {segment.hi}")
    if n_max * max(abs(segment.lo), abs(segment.hi)) >= 1 << (segment.bits - 1):
        raise MalformedMessage(
            f"segment {segment.kind!r}: {n_max} devices with values {segment.lo} to {segment.hi} "
            f"could overflow {segment.bits} bits"
        )
