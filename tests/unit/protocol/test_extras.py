"""What algorithms have devices send beside their update: the sum says what honest devices said, and no more passes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fanlight.core import ring
from fanlight.core.quantise import clip
from fanlight.core.randomness import Keystream
from fanlight.core.segments import check_layout, slices
from fanlight.errors import MalformedMessage, ModelError, Refused
from fanlight.protocol.contribution import Contribution, check_sum, encode, expected_layout, is_expected, read_totals
from fanlight.protocol.extras import STEPS_MAX, mean_steps, steps
from fanlight.protocol.plan import Kind, Plan, PlannedAlgorithm
from tests.protocol_world import contribution_of, plan_of

BOTH = PlannedAlgorithm(name="both", parameters=(("rate", 10),), control_clip_micro=5_000_000, steps=True)
PLAN = plan_of(algorithm=BOTH)
N_MAX = 1000
LAYOUT = expected_layout(PLAN, N_MAX, 10_000_000, with_counts=True)


def said(number: int, **changes: Any) -> Contribution:
    draw = np.random.default_rng(number)
    plain = contribution_of(PLAN, number)
    more = {"control": draw.normal(size=PLAN.parameters), "steps": 1.5 + number, **changes}
    return Contribution(**{**plain.__dict__, **more})


def total_of(contributions: list[Contribution]) -> Any:
    streams = (Keystream(bytes([number]) * 32) for number in range(len(contributions)))
    vectors = [ring.centre(encode(LAYOUT, one, stream)) for one, stream in zip(contributions, streams, strict=True)]
    return np.sum(vectors, axis=0)


def test_a_plan_with_an_algorithm_travels_and_has_another_hash() -> None:
    assert Plan.decode(PLAN.encode()) == PLAN
    assert PLAN.hash != plan_of().hash
    assert PLAN.of_kind(Kind.MEASURE).algorithm == BOTH


def test_a_plan_without_one_is_the_bytes_that_it_was() -> None:
    absent = {"algorithm", "augmentation", "class_counts", "fine_tune"}
    assert len(plan_of().to_wire()) == len(Plan.model_fields.keys() - absent)


@pytest.mark.parametrize(
    "bad", [{"control_clip_micro": 0}, {"steps": 1}, {"parameters": (("rate", -1),)}, {"name": ""}]
)
def test_what_is_no_algorithm(bad: dict[str, Any]) -> None:
    wire = {**BOTH.to_wire()}
    names = list(PlannedAlgorithm.model_fields)
    for name, value in bad.items():
        wire[names.index(name) + 1] = value
    with pytest.raises(MalformedMessage):
        PlannedAlgorithm.from_wire(wire)


def test_the_layout_says_what_is_sent() -> None:
    check_layout(LAYOUT, N_MAX)
    assert [segment.kind for segment in LAYOUT][-2:] == ["control", "steps"]
    assert is_expected(LAYOUT, PLAN, N_MAX)
    assert not is_expected(LAYOUT[:-1], PLAN, N_MAX)
    assert not is_expected(LAYOUT, plan_of(), N_MAX)
    measuring = expected_layout(PLAN.with_(kind="measure"), N_MAX, 10_000_000, with_counts=True)
    assert {segment.kind for segment in measuring} == {"counts", "loss"}


def test_the_sum_says_the_means() -> None:
    contributions = [said(number) for number in range(4)]
    total = total_of(contributions)
    assert check_sum(LAYOUT, total, 4) is None
    totals = read_totals(LAYOUT, total, 4)
    assert totals.control is not None
    clipped = [clip(one.control, 5.0).vector for one in contributions if one.control is not None]
    np.testing.assert_allclose(totals.control * totals.control_unit, np.mean(clipped, axis=0), atol=2e-5)
    said_of_steps = [one.steps for one in contributions if one.steps is not None]
    expected = np.average(said_of_steps, weights=[one.examples for one in contributions])
    assert totals.local_steps == pytest.approx(expected, abs=1e-3)


@given(st.lists(st.tuples(st.integers(1, 10_000), st.floats(0.001, STEPS_MAX)), min_size=1, max_size=20))
def test_steps_add_up_exactly(devices: list[tuple[int, float]]) -> None:
    total = np.sum([steps(each, examples) for examples, each in devices], axis=0)
    thousandths = sum(round(each * 1000 * examples) for examples, each in devices)
    pictures = sum(examples for examples, _ in devices)
    assert mean_steps(total, pictures) == thousandths / (1000 * pictures)


def test_more_steps_than_can_be_are_cut_off() -> None:
    assert np.array_equal(steps(10.0 * STEPS_MAX, 7), steps(STEPS_MAX, 7))


@pytest.mark.parametrize("bad", [0.0, -1.0, float("nan"), float("inf")])
def test_what_is_no_number_of_steps(bad: float) -> None:
    with pytest.raises(ModelError):
        steps(bad, 7)


def test_a_cheat_is_seen() -> None:
    honest, places = total_of([said(number) for number in range(3)]), slices(LAYOUT)
    many = honest.copy()
    many[places["steps"]][2] = 3 * 32_767
    assert check_sum(LAYOUT, many, 3) == "steps-out-of-range"
    none = honest.copy()
    none[places["steps"]] = 0
    assert check_sum(LAYOUT, none, 3) == "steps-out-of-range"
    long = honest.copy()
    long[places["control"]] = 3 * LAYOUT[-2].hi
    assert check_sum(LAYOUT, long, 3) == "control-norm-too-large"


def test_what_a_device_does_not_have_is_not_sent() -> None:
    for missing in ("control", "steps"):
        with pytest.raises(Refused):
            total_of([said(1, **{missing: None})])
    with pytest.raises(ModelError):
        total_of([said(1, control=np.zeros(3))])
