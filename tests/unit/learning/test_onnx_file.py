from __future__ import annotations

import numpy as np
import onnx
import pytest

from fanlight.errors import ModelError
from fanlight.learning.features import open_session
from fanlight.learning.onnx_file import Graph, Port


def small_graph() -> Graph:
    graph = Graph("g", [Port("x", np.float32, ("n", 2))], [Port("y", np.float32, ("n", 2))])
    graph.node("Mul", ["x", graph.constant("c", np.array([2, 3], np.float32))], "y")
    return graph


ANNOTATED = (
    "08 08"  # ModelProto.ir_version = 8
    "12 08 66616e6c69676874"  # .producer_name = "fanlight"
    "3a 55"  # .graph, 85 bytes
    "   0a 11"  # GraphProto.node, 17 bytes
    "      0a 01 78  0a 01 63"  # NodeProto.input = "x", "c"
    "      12 01 79"  # .output = "y"
    "      1a 01 79"  # .name = "y"
    "      22 03 4d756c"  # .op_type = "Mul"
    "   12 01 67"  # GraphProto.name = "g"
    "   2a 11"  # .initializer, 17 bytes
    "      08 02"  # TensorProto.dims = 2
    "      10 01"  # .data_type = FLOAT
    "      42 01 63"  # .name = "c"
    "      4a 08 00000040 00004040"  # .raw_data = 2.0, 3.0 little-endian
    "   5a 14"  # .input, 20 bytes
    "      0a 01 78"  # ValueInfoProto.name = "x"
    "      12 0f 0a 0d"  # .type.tensor_type, 13 bytes
    "         08 01"  # elem_type = FLOAT
    "         12 09"  # shape, 9 bytes
    "            0a 03 12 01 6e"  # dim_param = "n"
    "            0a 02 08 02"  # dim_value = 2
    "   62 14"  # .output, 20 bytes
    "      0a 01 79  12 0f 0a 0d  08 01  12 09  0a 03 12 01 6e  0a 02 08 02"
    "42 02 10 11"  # ModelProto.opset_import: version = 17
)


def test_bytes_are_those_of_the_format() -> None:
    assert small_graph().encode() == bytes.fromhex(ANNOTATED)


def test_graph_runs() -> None:
    session = open_session(small_graph().encode(), threads=1)
    (y,) = session.run(None, {"x": np.array([[1, 1], [5, -1]], np.float32)})
    np.testing.assert_array_equal(y, [[2, 3], [10, -3]])


def test_the_format_s_own_package_writes_the_same_bytes() -> None:
    graph = Graph("g", [Port("x", np.uint8, ("n", 300))], [Port("y", np.int64, (1, "m"))])
    graph.constant("k", np.arange(12, dtype=np.int64).reshape(3, 4))
    graph.constant("scalar", np.array(6, np.float32))
    graph.node("Foo", ["x", "k"], "y", ints=(1, 2, 300), number=-1, text="SAME_UPPER", zero=0)
    data = graph.encode({"b": "2", "a": "1"})
    model = onnx.load_from_string(data)
    assert model.SerializeToString(deterministic=True) == data
    assert [(entry.key, entry.value) for entry in model.metadata_props] == [("a", "1"), ("b", "2")]
    attributes = {a.name: onnx.helper.get_attribute_value(a) for a in model.graph.node[0].attribute}
    assert attributes == {"ints": [1, 2, 300], "number": -1, "text": b"SAME_UPPER", "zero": 0}
    np.testing.assert_array_equal(onnx.numpy_helper.to_array(model.graph.initializer[0]), np.arange(12).reshape(3, 4))


def test_constants_are_written_row_by_row_whatever_their_memory_order() -> None:
    graph = Graph("g", [], [])
    graph.constant("t", np.asfortranarray(np.arange(6, dtype=np.float32).reshape(2, 3)))
    tensor = onnx.load_from_string(graph.encode()).graph.initializer[0]
    np.testing.assert_array_equal(onnx.numpy_helper.to_array(tensor), [[0, 1, 2], [3, 4, 5]])


def test_types_that_the_encoder_does_not_know_are_refused() -> None:
    with pytest.raises(KeyError):
        Graph("g", [], []).constant("t", np.zeros(1, np.float16))


def test_a_graph_can_include_another() -> None:
    graph = Graph("outer", [Port("a", np.float32, ("n", 2))], [Port("z", np.float32, ("n", 2))])
    graph.node("Neg", ["a"], "x")
    graph.include(small_graph().encode({"key": "value"}))
    graph.node("Add", ["y", "y"], "z")
    session = open_session(graph.encode(), threads=1)
    (z,) = session.run(None, {"a": np.array([[1, 1], [5, -1]], np.float32)})
    np.testing.assert_array_equal(z, [[-4, -6], [-20, 6]])


def test_words_are_a_list_of_texts() -> None:
    graph = Graph("g", [Port("i", np.int64, ("n",))], [Port("word", np.str_, ("n",))])
    graph.node("Gather", [graph.words("words", ["äöü", "", "b c"]), "i"], "word")
    onnx.checker.check_model(onnx.load_from_string(graph.encode()), full_check=True)
    (words,) = open_session(graph.encode(), threads=1).run(None, {"i": np.array([2, 0, 1, 2])})
    assert list(words) == ["b c", "äöü", "", "b c"]


@pytest.mark.parametrize("damage", ["cut", "fixed", "endless", "number", "empty"])
def test_a_damaged_graph_is_not_included(damage: str) -> None:
    good = small_graph().encode()
    bad = {
        "cut": good[:-10],
        "fixed": good + b"\x0d\0\0\0\0",  # a kind of field that our graphs do not have
        "endless": good + b"\xff" * 12,
        "number": good + b"\x38\x01",  # field 7, the graph, as a number
        "empty": b"",
    }[damage]
    with pytest.raises(ModelError):
        small_graph().include(bad)


def test_a_graph_of_another_operator_set_is_not_included() -> None:
    other = onnx.load_from_string(small_graph().encode())
    other.opset_import[0].version = 18
    with pytest.raises(ModelError, match="operator set 17"):
        small_graph().include(other.SerializeToString())
