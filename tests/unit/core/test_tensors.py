from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from fanlight.core.tensors import TensorLayout, TensorSpec
from fanlight.errors import ModelError

LAYOUT = TensorLayout((TensorSpec("weight", (2, 3)), TensorSpec("bias", (3,)), TensorSpec("scale", ())))


def tensors(**changed: Any) -> dict[str, Any]:
    plain = {
        "bias": np.array([6, 7, 8], dtype=np.float32),
        "scale": np.array(9, dtype=np.float32),
        "weight": np.arange(6, dtype=np.float32).reshape(2, 3),
    }
    return {name: value for name, value in (plain | changed).items() if value is not None}


def test_tensors_follow_one_another_in_layout_order_row_by_row() -> None:
    vector = LAYOUT.flatten(tensors())
    assert vector.dtype == np.float64
    assert vector.tolist() == [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]
    assert LAYOUT.size == 10


def test_memory_order_does_not_matter() -> None:
    columns_first = np.asfortranarray(np.arange(6, dtype=np.float64).reshape(2, 3))
    assert LAYOUT.flatten(tensors(weight=columns_first)).tolist() == list(range(10))


def test_the_vector_becomes_new_float32_tensors() -> None:
    vector = np.arange(10, dtype=np.float32)
    parts = LAYOUT.unflatten(vector)
    assert list(parts) == ["weight", "bias", "scale"]
    assert {name: part.shape for name, part in parts.items()} == {"weight": (2, 3), "bias": (3,), "scale": ()}
    assert {part.dtype for part in parts.values()} == {np.dtype(np.float32)}
    parts["weight"][...] = -1
    assert vector.tolist() == list(range(10))
    assert parts["bias"].tolist() == [6, 7, 8]


def test_views_share_the_memory_of_the_vector() -> None:
    vector = np.arange(10, dtype=np.float64)
    parts = LAYOUT.views(vector)
    assert {name: part.shape for name, part in parts.items()} == {"weight": (2, 3), "bias": (3,), "scale": ()}
    parts["weight"][:, 1] = -1
    parts["scale"][...] = -2
    assert vector.tolist() == [0, -1, 2, 3, -1, 5, 6, 7, 8, -2]
    with pytest.raises(ModelError, match="shape"):
        LAYOUT.views(vector[1:])


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"bias": None}, "missing \\['bias'\\]"),
        ({"extra": np.zeros(1)}, "unknown \\['extra'\\]"),
        ({"bias": np.zeros((1, 3))}, "'bias' has shape"),
        ({"weight": np.zeros((3, 2))}, "'weight' has shape"),
        ({"bias": np.zeros(3, dtype=np.int64)}, "'bias' holds int64"),
        ({"bias": np.zeros(3, dtype=object)}, "'bias' holds object"),
        ({"bias": np.array([0, np.nan, 0])}, "'bias' holds values"),
        ({"scale": np.array(np.inf)}, "'scale' holds values"),
    ],
)
def test_tensors_that_do_not_fit_are_refused_by_name(changed: dict[str, Any], named: str) -> None:
    with pytest.raises(ModelError, match=named):
        LAYOUT.flatten(tensors(**changed))


@pytest.mark.parametrize(
    "vector",
    [np.zeros(9), np.zeros((10, 1)), np.zeros(10, dtype=np.int64), np.full(10, np.nan), np.full(10, 1e39)],
)
def test_vectors_that_do_not_fit_are_refused(vector: Any) -> None:
    with pytest.raises(ModelError):
        LAYOUT.unflatten(vector)


def test_a_tensor_needs_a_name_and_no_empty_axis() -> None:
    for name, shape in [("", (1,)), ("a", (0,)), ("a", (2, -1))]:
        with pytest.raises(ModelError):
            TensorSpec(name, shape)


def test_a_layout_is_not_empty_and_has_each_name_once() -> None:
    with pytest.raises(ModelError):
        TensorLayout(())
    with pytest.raises(ModelError, match="'a', 'a'"):
        TensorLayout((TensorSpec("a", (1,)), TensorSpec("a", (2,))))


def test_a_gigantic_layout_is_refused_without_allocating_it() -> None:
    assert TensorLayout((TensorSpec("a", (1 << 14, 1 << 14)),)).size == 1 << 28
    with pytest.raises(ModelError, match="limit"):
        TensorLayout((TensorSpec("a", (1 << 14, 1 << 14)), TensorSpec("b", (1,))))
