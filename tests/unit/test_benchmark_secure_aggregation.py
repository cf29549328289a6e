"""The benchmark of secure aggregation at a tiny size: what it times does happen, and plain sums are plain."""

from __future__ import annotations

import multiprocessing
from multiprocessing.queues import SimpleQueue

import numpy as np
import pytest

from benchmarks.masked_rounds import MOST_FEATURES, Size
from benchmarks.plain import mask_nothing
from benchmarks.secure_aggregation import PASSES, Scale, measure
from fanlight.core.masks import add_mask, subtract_mask

TINY = Scale(devices=4, parameters=2_000, rounds=1, rival_rounds=2, long_parameters=300_000, reports=(3,), repeat=1)


@pytest.mark.parametrize("parameters", [1_000_000, 3_500_000, 2_000])
def test_a_head_has_just_so_many_parameters(parameters: int) -> None:
    size = Size(2, parameters)
    assert (size.features + 1) * size.classes == parameters
    assert size.features < MOST_FEATURES


def test_a_report_on_the_device_is_timed() -> None:
    report = measure(TINY, ["device"])
    assert all(figure.value > 0 for figure in report.figures)
    assert [figure.limit for figure in report.figures if figure.limit is not None] == [PASSES]


def test_plain_vectors_are_not_masked() -> None:
    found: SimpleQueue[list[list[int]]] = multiprocessing.get_context("spawn").SimpleQueue()
    process = multiprocessing.get_context("spawn").Process(target=_mask_in_a_process_of_its_own, args=(found,))
    process.start()
    process.join()
    before, plain_added, plain_taken_off = found.get()
    assert before != [7, 7, 7]
    assert plain_added == plain_taken_off == [7, 7, 7]


def _mask_in_a_process_of_its_own(found: SimpleQueue[list[list[int]]]) -> None:
    vectors = []
    for change, is_plain in ((add_mask, False), (add_mask, True), (subtract_mask, True)):
        if is_plain:
            mask_nothing()
        vector = np.full(3, 7, np.uint32)
        change(vector, bytes(32))
        vectors.append(vector.tolist())
    found.put(vectors)


@pytest.mark.long
def test_rounds_of_real_processes_are_timed() -> None:
    found = {figure.name: figure for figure in measure(TINY, ["plain", "wire", "servers"]).figures}
    assert 0.2 < found["cost over plain sums"].value < 5
    for title in ("sent", "sent, updates of 16 bits", "sent, updates of 10 bits"):
        assert found[title].value > 2
    for role in ("main", "aggregator"):
        assert 0 < found[f"3 reports of 300,000: {role}, above that"].value < 1_000
    assert all(found[f"3 reports of 300,000: sum and release, {cores} cores"].value > 0 for cores in (1, 2))
