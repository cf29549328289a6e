"""Every partition puts every picture on exactly one device, and a seed says which."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fanlight.errors import DataError
from fanlight.learning.datasets.chance import Chance
from fanlight.simulation.partitions import partition

SPECS = st.one_of(
    st.just("iid"),
    st.sampled_from(["rotation:30", "brightness:0.5+iid+blur:1"]),
    st.builds("dirichlet:{}".format, st.sampled_from([0.001, 0.05, 0.5, 1, 100, 1e6])),
    st.builds("classes:{}".format, st.integers(1, 6)),
    st.builds("quantity:dirichlet={}".format, st.sampled_from([0.001, 0.5, 10])),
    st.builds("quantity:power={}".format, st.sampled_from([0, 1, 2.5, 10])),
    st.just("key:camera"),
)


@given(
    SPECS,
    st.lists(st.integers(0, 5), min_size=1, max_size=200),
    st.integers(1, 40),
    st.integers(0, 2**32),
)
def test_every_picture_is_on_one_device(spec: str, labels: list[int], devices: int, seed: int) -> None:
    known = np.array(labels)
    columns = {"camera": [f"camera {index % 7}" for index in range(known.size)]}

    def dealt() -> list[list[int]]:
        return [each.tolist() for each in partition(spec, known, devices, Chance("test", seed), columns)]

    flaw: DataError | None
    try:
        parts = dealt()
    except DataError as error:
        flaw = error
    else:
        flaw = None
    if flaw is not None:
        assert "devices" in flaw.message or "shards" in flaw.message
        assert flaw.next
        return
    assert len(parts) == devices
    assert all(part and part == sorted(part) for part in parts)
    assert sorted(index for part in parts for index in part) == list(range(known.size))
    assert dealt() == parts


@given(st.integers(1, 10), st.integers(1, 60), st.integers(0, 1000))
@pytest.mark.parametrize("counts", [[100] * 10, [500, 20, 20, 20, 20, 20, 20, 20, 20, 360]])
def test_classes_gives_each_device_exactly_so_many(counts: list[int], classes: int, devices: int, seed: int) -> None:
    labels = np.repeat(np.arange(10), counts)
    try:
        parts = partition(f"classes:{classes}", labels, devices, Chance("test", seed))
    except DataError:
        too_few_places = classes * devices < 10
        too_few_pictures = np.minimum(counts, devices).sum() < classes * devices
        assert too_few_places or too_few_pictures
        return
    assert {np.unique(labels[part]).size for part in parts} == {classes}
