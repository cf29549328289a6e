"""A round of statistics and one of changes from a file: file, reference and Fanlight say the same."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from fanlight.core import ring
from fanlight.core.masks import add_mask, unmask_sum
from fanlight.core.packing import pack, unpack
from fanlight.core.randomness import Keystream
from fanlight.core.segments import Segment, layout_length
from fanlight.learning import analytic
from fanlight.protocol.contribution import Contribution, centre, encode, expected_layout, read_totals
from fanlight.protocol.plan import Plan
from fanlight.protocol.sealing import MASK_AGGREGATOR, MASK_MAIN, mask_key
from fanlight.protocol.statistics import Sums, why_impossible
from tests.protocol_world import plan_of
from tests.vectors import reference, reference_statistics
from tests.vectors.files import Case, load

CASES = load("v1/statistics_of_three")
DEVICES = {"statistics": ("1", "2", "3"), "changes": ("1", "2", "4")}
SEEDS = {MASK_MAIN: "main_seed", MASK_AGGREGATOR: "aggregator_seed"}
KINDS = pytest.mark.parametrize("kind", DEVICES)
REPORTS = pytest.mark.parametrize(("kind", "number"), [(kind, number) for kind in DEVICES for number in DEVICES[kind]])
F, K = (CASES["layout of statistics"].given[name] for name in ("features", "classes"))


def plan(kind: str) -> Plan:
    return plan_of(head="analytic", kind=kind, features=F, classes=("robin", "wren"))


def layout_of(kind: str) -> tuple[Segment, ...]:
    return expected_layout(plan(kind), CASES[f"layout of {kind}"].given["n_max"], 1, with_counts=False)


def case(kind: str, number: str) -> Case:
    return CASES[f"{kind}: device {number}"]


def parts(given: dict[str, Any]) -> list[tuple[NDArray[np.float32], NDArray[np.int64]]]:
    """Training and validation pictures."""
    return [
        (np.array(given[part], np.float32).reshape(-1, F), np.array(given[f"{part}_labels"], np.int64))
        for part in ("train", "valid")
    ]


def sums_of(given: dict[str, Any]) -> Sums:
    found = [analytic.collect(x, y, K) for x, y in parts(given)]
    return Sums.rounded(*((part.gram, part.sums, part.examples) for part in found))


def as_sums(numbers: list[int]) -> Sums:
    """The first three segments of a vector."""
    triangles, table = F * (F + 1), 2 * F * K
    vector = np.array(numbers, np.int64)
    return Sums(vector[:triangles], vector[triangles : triangles + table], vector[triangles + table :][: 2 * K])


def supporters_of(given: dict[str, Any]) -> NDArray[np.int64]:
    return np.isin(np.arange(K), given["train_labels"]).astype(np.int64)


def said(kind: str, number: str) -> Contribution:
    """What the device says, worked out as devices do."""
    given = case(kind, number).given
    sums = sums_of(given) if "train" in given else None
    supporters = supporters_of(given) if sums is not None else np.zeros(K, np.int64)
    members = int(kind == "changes") * (sums is not None)
    if "before" in given:
        before = as_sums(given["before"])
        sums = (before.without() if sums is None else sums) - before
        supporters -= np.array(given["before"][-K:], np.int64)
        members -= 1
    return Contribution(5, None, None, None, supporters, sums=sums, members=members)


def keys_of(kind: str, number: str) -> dict[str, bytes]:
    given = case(kind, number).given
    return {label: mask_key(given[seed], label, given["mh"], given["device"]) for label, seed in SEEDS.items()}


@KINDS
def test_layout(kind: str) -> None:
    given, expected = CASES[f"layout of {kind}"].given, CASES[f"layout of {kind}"].expected
    assert [[*dataclasses.astuple(segment)] for segment in layout_of(kind)] == expected["layout"]
    assert layout_length(layout_of(kind)) == expected["length"]
    assert reference_statistics.layout(F, K, given["n_max"], kind) == expected["layout"]


@REPORTS
def test_a_device_makes_the_vector_of_the_file(kind: str, number: str) -> None:
    expected, layout = case(kind, number).expected, layout_of(kind)
    vector = encode(layout, said(kind, number), Keystream(bytes(32)))
    assert vector.dtype == np.uint64
    assert vector.astype("<u8").tobytes() == expected["words"]
    assert ring.centre(vector).tolist() == expected["q"]
    for key in keys_of(kind, number).values():
        add_mask(vector, key)
    assert ring.to_bytes(pack(vector, layout)).tobytes() == expected["y"]


@REPORTS
def test_the_reference_makes_the_same(kind: str, number: str) -> None:
    given, expected = case(kind, number).given, case(kind, number).expected
    pictures = [(x.tolist(), y.tolist()) for x, y in parts(given)] if "train" in given else None
    now = reference_statistics.sums(pictures, F, K) if pictures else [0] * (F * (F + 1) + 2 * F * K + 3 * K)
    assert expected.get("now", now) == now
    before = given.get("before", [0] * len(now))
    q = [a - b for a, b in zip(now, before, strict=True)]
    if kind == "changes":
        q.append((pictures is not None) - ("before" in given))
    assert q == expected["q"]
    keys = [reference.mask_key(given[seed], label, given["mh"], given["device"]) for label, seed in SEEDS.items()]
    assert reference_statistics.packed(reference_statistics.masked(q, keys)) == expected["y"]


@KINDS
def test_the_servers_find_the_sum_of_the_file(kind: str) -> None:
    expected, layout = CASES[f"{kind}: sum"].expected, layout_of(kind)
    total = ring.zeros(layout_length(layout), 64)
    for number in DEVICES[kind]:
        words = np.frombuffer(case(kind, number).expected["y"], "<u4").astype(np.uint32)
        ring.add_into(total, unpack(words, layout))
    unmask_sum(total, [keys_of(kind, number)[MASK_AGGREGATOR] for number in DEVICES[kind]])
    assert ring.to_bytes(pack(total, layout)).tobytes() == expected["released"]
    unmask_sum(total, [keys_of(kind, number)[MASK_MAIN] for number in DEVICES[kind]])
    assert centre(layout, total).tolist() == expected["total"]
    vectors = [case(kind, number).expected["q"] for number in DEVICES[kind]]
    assert reference_statistics.total(vectors, CASES[f"layout of {kind}"].expected["layout"]) == expected["total"]


def test_changed_sums_are_those_of_who_is_left() -> None:
    given, expected = CASES["changes: sums after it"].given, CASES["changes: sums after it"].expected
    assert given["before"] == CASES["statistics: sum"].expected["total"]
    assert given["change"] == CASES["changes: sum"].expected["total"]
    change = read_totals(layout_of("changes"), np.array(given["change"], np.int64), 3)
    assert change.sums is not None
    assert change.members is not None
    after = as_sums(given["before"]) + change.sums
    assert (after - as_sums(expected["after"])).is_empty
    assert 3 + change.members == expected["devices"]
    assert why_impossible(after, expected["devices"]) is None
    pictures = (case("changes", "2").given, case("statistics", "3").given, case("changes", "4").given)
    from_the_beginning = sums_of(pictures[0]) + sums_of(pictures[1]) + sums_of(pictures[2])
    assert (after - from_the_beginning).is_empty


@KINDS
def test_the_solution(kind: str) -> None:
    given, expected = CASES[f"{kind}: solution"].given, CASES[f"{kind}: solution"].expected
    assert given["strengths"] == list(analytic.LAMBDAS)
    assert given["constant"] == [analytic.CONSTANT]
    train, held_out = (analytic.Statistics(*part) for part in as_sums(given["total"]).parts)
    ridge = analytic.fit(train, held_out)
    strength, error, rows = reference_statistics.solution(given["total"], F, K)
    assert [ridge.strength] == expected["strength"] == [float(strength)]
    assert ridge.held_out_error == pytest.approx(expected["held_out_error"][0], rel=1e-9)
    assert expected["held_out_error"] == [float(error)]
    np.testing.assert_allclose(ridge.weight.ravel(), expected["weight"], rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(ridge.bias, expected["bias"], rtol=1e-9, atol=1e-12)
    assert [float(number) for row in rows[:-1] for number in row] == expected["weight"]
    assert [float(number * reference_statistics.CONSTANT) for number in rows[-1]] == expected["bias"]
