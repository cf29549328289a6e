"""What must hold for every layout: nothing is lost between tensors and vector, and no admitted sum wraps around."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from fanlight.core.metrics import Metrics
from fanlight.core.ring import add_into, centre, to_ring
from fanlight.core.segments import Segment, check_layout, layout_length, quantisation_steps, slices, update_scale
from fanlight.core.tensors import TensorLayout, TensorSpec
from fanlight.errors import MalformedMessage

SHAPES = st.lists(st.lists(st.integers(1, 4), max_size=3).map(tuple), min_size=1, max_size=5)


@given(shapes=SHAPES, seed=st.integers(0, 2**32 - 1))
def test_tensors_come_back_from_the_vector(shapes: list[tuple[int, ...]], seed: int) -> None:
    layout = TensorLayout(tuple(TensorSpec(f"t{index}", shape) for index, shape in enumerate(shapes)))
    generator = np.random.default_rng(seed)
    tensors = {spec.name: generator.normal(size=spec.shape).astype(np.float32) for spec in layout.specs}
    vector = layout.flatten(tensors)
    back = layout.unflatten(vector)
    assert vector.shape == (layout.size,)
    assert all(np.array_equal(back[name], tensors[name]) for name in layout.names)


@given(
    lo=st.integers(-(2**31), 2**31), span=st.integers(0, 2**31), n_max=st.integers(1, 40), reports=st.integers(1, 40)
)
def test_an_admitted_layout_never_wraps_around(lo: int, span: int, n_max: int, reports: int) -> None:
    segment = Segment("counts", 2, 32, 1, 1, lo, lo + span, "exact")
    try:
        check_layout([segment], n_max)
    except MalformedMessage:
        assert n_max * max(abs(lo), abs(lo + span)) >= 2**31
        return
    total = np.zeros(2, dtype=np.uint32)
    for _ in range(min(reports, n_max)):
        add_into(total, to_ring(np.array([segment.lo, segment.hi], dtype=np.int64), 32))
    assert centre(total).tolist() == [min(reports, n_max) * segment.lo, min(reports, n_max) * segment.hi]


@given(lengths=st.lists(st.integers(1, 1000), min_size=1, max_size=6))
def test_slices_tile_the_vector(lengths: list[int]) -> None:
    kinds = ["weight", "update", "counts", "loss", "supporters", "within_clip"]
    segments = [Segment(kind, length, 32, 1, 1, 0, 1, "exact") for kind, length in zip(kinds, lengths, strict=False)]
    covered = [index for part in slices(segments).values() for index in range(part.start, part.stop)]
    assert covered == list(range(layout_length(segments)))


@given(n_max=st.integers(1, 2_097_151), clip_micro=st.integers(1, 10**10))
def test_steps_leave_a_factor_of_four_and_the_scale_is_exact(n_max: int, clip_micro: int) -> None:
    steps = quantisation_steps(n_max)
    assert 256 <= steps <= 2**22
    assert 4 * n_max * steps < 2**31
    scale = Fraction(*update_scale(steps, clip_micro))
    assert scale * Fraction(clip_micro, 10**6) == steps
    check_layout([Segment("update", 1, 32, *scale.as_integer_ratio(), -steps, steps, "stochastic")], n_max)


@given(
    counts=st.integers(1, 5).flatmap(
        lambda k: st.lists(st.lists(st.integers(0, 50), min_size=k, max_size=k), min_size=k, max_size=k)
    )
)
def test_figures_are_those_of_the_single_pictures(counts: list[list[int]]) -> None:
    pictures = [(true, seen) for true, row in enumerate(counts) for seen, count in enumerate(row) for _ in range(count)]
    metrics = Metrics.from_confusion(np.array(counts))
    hits = [true for true, seen in pictures if true == seen]
    assert (metrics.total, metrics.correct) == (len(pictures), len(hits))
    for k in range(len(counts)):
        of_class, taken_for = [t for t, _ in pictures if t == k], [s for _, s in pictures if s == k]
        assert metrics.recall[k] == (hits.count(k) / len(of_class) if of_class else None)
        assert metrics.precision[k] == (hits.count(k) / len(taken_for) if taken_for else None)
    known = [value for value in metrics.recall if value is not None]
    if known:
        assert metrics.balanced_accuracy is not None
        assert min(known) - 1e-12 <= metrics.balanced_accuracy <= max(known) + 1e-12
