"""A compiled backbone in 8-bit integers.

It has a third of the bytes, and takes half of the time where a processor multiplies bytes in one instruction (VNNI, dot
product). It is another backbone with another hash, since its features differ a little.

Theory. Each activation x of a layer becomes the byte round(x / s) + z, with one scale s and zero point z that cover all
that the layer gave for some pictures (Jacob et al., arXiv 1712.05877, section 2.1). Weights become signed bytes with a
scale for each output channel (Krishnamoorthi, arXiv 1806.08342): one for a whole layer ruins the features, for folding
batch normalisation has made channels of very different size. Convolutions, the ReLU6 behind them and the sums of blocks
are turned; without ReLU6 the scales would have to cover what it cuts off. Pooling and standardisation stay in float32.

The file marks where numbers are rounded, by the standard's own operators, and leaves the arithmetic to the runtime. So
any program runs it, and an exported model can include it.

Needs the package ``onnx``: once, where a backbone is made.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from fanlight.errors import ModelError
from fanlight.learning.inverted_bottlenecks import INPUT
from fanlight.learning.onnx_file import labelled

if TYPE_CHECKING:
    from onnx import ModelProto

Pixels = NDArray[np.uint8]

_TURNED: Final = ("Conv", "Clip", "Add")
_NEEDS_NO_PREPARATION: Final = {"onnx.quant.pre_process": "onnxruntime.quant"}
"""Or ONNX Runtime would advise it, in words meant for programmers. Our graphs are folded already, so it would find
nothing to do: the mark only silences it, and changes no byte of what comes out."""


def quantise(graph: bytes, batches: Iterable[Pixels]) -> bytes:
    """The same backbone in 8-bit integers, without labels.

    Args:
        graph: a compiled backbone in float32.
        batches: pictures such as it will see, (n, size, size, 3) each, some dozens in all; only the range of the
            numbers that they give in each layer goes into the file.

    Raises:
        ModelError: the package ``onnx`` is missing, the graph is damaged, or in 8-bit integers already.
        ValueError: no pictures.
    """
    try:
        import onnx
        from onnxruntime.quantization import QuantFormat, QuantType, quantize_static
    except ImportError as error:
        raise ModelError(
            "making an int8 backbone needs the package onnx", next="pip install 'fanlight[int8]'"
        ) from error
    try:
        model = onnx.load_from_string(graph)
    except Exception as error:  # protobuf's own class, which moves between its versions
        raise ModelError(f"the graph is damaged: {error}") from error
    if any(node.op_type == "QuantizeLinear" for node in model.graph.node):
        raise ModelError("the backbone is in 8-bit integers already", next="Give the one that it was made from.")
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder) / "float32.onnx", Path(folder) / "int8.onnx"
        source.write_bytes(labelled(graph, _NEEDS_NO_PREPARATION))
        quantize_static(
            source,
            target,
            _reader(batches),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=_TURNED,
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
        )
        return _plain(onnx.load(target))


def _reader(batches: Iterable[Pixels]) -> Any:
    """Pictures as ONNX Runtime's calibration asks for them: one batch a call, then None."""
    from onnxruntime.quantization import CalibrationDataReader

    feeds: Iterator[dict[str, Pixels]] = ({INPUT: batch} for batch in batches)

    class Reader(CalibrationDataReader):  # type: ignore[misc]  # ONNX Runtime has no types
        def get_next(self) -> dict[str, Pixels] | None:
            return next(feeds, None)

    return Reader()


def _plain(model: ModelProto) -> bytes:
    """The model as our own graphs are: of the standard's operators alone, with no words of its maker."""
    del model.metadata_props[:]
    [operators] = model.opset_import
    operators.ClearField("domain")  # an empty name says the same as none, in two bytes more
    return bytes(model.SerializeToString(deterministic=True))
