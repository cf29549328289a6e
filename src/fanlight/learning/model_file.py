"""The published model: a head and what it needs to be used, as one safetensors file.

Tensors ``head.weight`` (features, K) and ``head.bias`` (K,), and, where the backbone learns too, its tensors that do,
``backbone.…`` (see ``tuned_backbone``); if devices need it for the algorithm that goes on from here, also
``control.weight``, ``control.bias`` and ``control.backbone.…`` of the same shapes. All are F32. All metadata are one
JSON text under the single key ``fanlight``: the format keeps no order among several keys, and the same model must give
the same bytes, because its hash is what manifests bind.

A file comes from a server or from a stranger's disk: lengths, names, types and shapes are read from the header and
checked before an array is made, and every number is finite.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

import numpy as np

from fanlight.core.tensors import TensorLayout, TensorSpec
from fanlight.errors import ModelError
from fanlight.learning.algorithms.lineage import Lineage
from fanlight.learning.heads import Floats, HeadKind, SoftmaxHead, as_read, checked_head, head_layout
from fanlight.learning.tuned_backbone import PREFIX

MAX_MODEL_BYTES = 64 * 2**20
MAX_HEADER_BYTES = 256 * 2**10
MAX_CLASSES = 1000
MAX_FEATURES = 2**16
MAX_NAME_LENGTH = 200
MAX_TUNED = 1000
"""Most tensors of the backbone that learn."""

_ALIGNMENT = 8
"""Bytes of which a header has a multiple."""
_METADATA_KEYS = {"format", "task", "version", "classes", "backbone", "picture_size", "head"}
_LINEAGE = "lineage"
"""The metadata's only key that may be missing."""
_HEAD = {"head.weight", "head.bias"}
_CONTROL = "control."
_SHA256 = re.compile(r"[0-9a-f]{64}")
_TUNED = re.compile(re.escape(PREFIX) + r"[A-Za-z0-9_./-]{1,200}")
_NOTHING: Mapping[str, Floats] = MappingProxyType({})


@dataclass(frozen=True)
class Control:
    """Control variates of a model: for each of its tensors one of the same shape."""

    head: SoftmaxHead
    tuned: Mapping[str, Floats] = field(default_factory=lambda: _NOTHING)

    @property
    def tensors(self) -> dict[str, Floats]:
        """All of them, by the names of the model's tensors."""
        return {**self.tuned, "head.weight": self.head.weight, "head.bias": self.head.bias}


@dataclass(frozen=True)
class HeadModel:
    """A head, what has become of its backbone, and its provenance.

    Attributes:
        task: the task's name, 1 to 200 characters.
        version: 0 for the model that knows nothing, then 1 more with every released round.
        classes: K distinct names, 2 to 1,000.
        backbone_id: name of the network whose features the head reads.
        backbone_sha256: hash of that network's file, 64 hexadecimal digits.
        picture_size: side in pixels of the square that the network is given, 8 to 2,048.
        weight: (features, K) float32, finite.
        bias: (K,) float32, finite.
        control: the mean of the devices' control variates, if the algorithm has any.
        kind: how the head reads features (see ``heads``).
        tuned: the tensors of the backbone that learn, by name, float32, finite; empty where it is frozen.
        lineage: the rounds that it comes of, if devices remember something of them; what they remember of others does
            not count where training goes on from here.
    """

    task: str
    version: int
    classes: tuple[str, ...]
    backbone_id: str
    backbone_sha256: str
    picture_size: int
    weight: Floats
    bias: Floats
    control: Control | None = None
    kind: HeadKind = HeadKind.SOFTMAX
    tuned: Mapping[str, Floats] = field(default_factory=lambda: _NOTHING)
    lineage: Lineage | None = None

    @property
    def head(self) -> SoftmaxHead:
        """The head, for features as ``read`` gives them."""
        return SoftmaxHead(self.weight, self.bias)

    def read(self, x: Floats) -> Floats:
        """(n, f) features of the backbone as the head reads them."""
        return as_read(self.kind, x)

    @property
    def tensors(self) -> dict[str, Floats]:
        """All that learns, by name, in the order of ``layout``."""
        return {**self.tuned, "head.weight": self.weight, "head.bias": self.bias}

    @property
    def layout(self) -> TensorLayout:
        """How the model lies in an update: what learns of the backbone, then the head."""
        tuned = tuple(TensorSpec(name, tensor.shape) for name, tensor in self.tuned.items())
        return TensorLayout((*tuned, *head_layout(*self.weight.shape).specs))

    def with_tensors(self, tensors: Mapping[str, Floats]) -> HeadModel:
        """The same model with other values of ``tensors``, and without what is the algorithm's."""
        tuned = MappingProxyType({name: tensors[name] for name in self.tuned})
        head = SoftmaxHead(tensors["head.weight"], tensors["head.bias"])
        return replace(self, weight=head.weight, bias=head.bias, tuned=tuned, control=None, lineage=None)

    @property
    def tuned_sha256(self) -> str:
        """What the backbone's tensors are known by, hexadecimal; empty where it is frozen."""
        digest = hashlib.sha256()
        for name, tensor in self.tuned.items():
            digest.update(f"{name} {tensor.shape} ".encode())
            digest.update(np.ascontiguousarray(tensor, "<f4").tobytes())
        return digest.hexdigest() if self.tuned else ""


def encode(model: HeadModel) -> bytes:
    """The model's file; the same model gives the same bytes.

    Raises:
        ModelError: a field is out of range, or weights do not fit the classes.
    """
    return b"".join(parts(model))


def parts(model: HeadModel) -> tuple[bytes | memoryview, ...]:
    """What the file is made of, without a copy of the tensors, which may be the longest of all vectors.

    Raises:
        ModelError: as in ``encode``.
    """
    checked = _checked(model, own=False)
    metadata: dict[str, Any] = {
        "format": 1,
        "task": checked.task,
        "version": checked.version,
        "classes": list(checked.classes),
        "backbone": {"id": checked.backbone_id, "sha256": checked.backbone_sha256},
        "picture_size": checked.picture_size,
        "head": checked.kind.value,
    }
    if checked.lineage is not None:
        metadata[_LINEAGE] = checked.lineage.as_json()
    text = json.dumps(metadata, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    tensors = {"head.bias": checked.bias, "head.weight": checked.weight}
    control = checked.control
    if control is not None:
        tensors |= {"control.bias": control.head.bias, "control.weight": control.head.weight}
    tensors |= checked.tuned
    if control is not None:
        tensors |= {f"{_CONTROL}{name}": tensor for name, tensor in control.tuned.items()}
    return _parts(tensors, text)


def _parts(tensors: Mapping[str, Floats], text: str) -> tuple[bytes | memoryview, ...]:
    """What ``safetensors`` writes."""
    header: dict[str, Any] = {"__metadata__": {"fanlight": text}}
    end = 0
    for name, tensor in tensors.items():
        start, end = end, end + tensor.nbytes
        header[name] = {"dtype": "F32", "shape": list(tensor.shape), "data_offsets": [start, end]}
    words = json.dumps(header, separators=(",", ":")).encode()
    words += b" " * (-len(words) % _ALIGNMENT)
    data = (tensor.astype("<f4", copy=False).reshape(-1).view(np.uint8).data for tensor in tensors.values())
    return (len(words).to_bytes(8, "little"), words, *data)


def decode(data: bytes | memoryview, *, own: bool = True) -> HeadModel:
    """Read a model's file; unless it is to ``own`` its arrays, they lie in ``data`` and cannot be changed.

    Raises:
        ModelError: not such a file, of another format version, too large, or with numbers that are not finite.
    """
    if len(data) > MAX_MODEL_BYTES:
        raise ModelError(f"the model file is larger than {MAX_MODEL_BYTES // 2**20} MiB")
    header, body = _header(data)
    names = [name for name in header if name != "__metadata__"]
    tuned = [name for name in names if _TUNED.fullmatch(name)]
    learn = _HEAD | set(tuned)
    control = {f"{_CONTROL}{name.removeprefix('head.')}" for name in learn}
    if "__metadata__" not in header or set(names) not in (learn, learn | control) or len(tuned) > MAX_TUNED:
        raise ModelError("the model file does not hold head.weight, head.bias and nothing else")
    metadata = _metadata(header["__metadata__"])
    spans = {name: _span(name, header[name]) for name in names}
    if not _fills(sorted(span for _, span in spans.values()), len(body)):
        raise ModelError("the model file's tensors do not fill it exactly")
    arrays = {name: _array(body, span, shape) for name, (shape, span) in spans.items()}
    try:
        return _checked(
            HeadModel(
                task=metadata["task"],
                version=metadata["version"],
                classes=tuple(metadata["classes"]),
                backbone_id=metadata["backbone"]["id"],
                backbone_sha256=metadata["backbone"]["sha256"],
                picture_size=metadata["picture_size"],
                weight=arrays["head.weight"],
                bias=arrays["head.bias"],
                control=_control(arrays, tuned) if len(names) > len(learn) else None,
                kind=HeadKind(metadata["head"]),
                tuned={name: arrays[name] for name in tuned},
                lineage=Lineage.of_json(metadata[_LINEAGE]) if _LINEAGE in metadata else None,
            ),
            own=own,
        )
    except (KeyError, TypeError) as error:
        raise ModelError("the model file's metadata are not as they should be") from error


def _control(arrays: Mapping[str, Floats], tuned: Iterable[str]) -> Control:
    head = SoftmaxHead(arrays[f"{_CONTROL}weight"], arrays[f"{_CONTROL}bias"])
    return Control(head, {name: arrays[f"{_CONTROL}{name}"] for name in tuned})


def model_hash(data: bytes) -> str:
    """SHA-256 of a model's file, 64 hexadecimal digits."""
    return hashlib.sha256(data).hexdigest()


def _header(data: bytes | memoryview) -> tuple[dict[str, Any], memoryview]:
    length = int.from_bytes(data[:8], "little")
    if len(data) < 8 or length > MAX_HEADER_BYTES or len(data) < 8 + length:
        raise ModelError("not a safetensors file: its header is missing, cut off or too long")
    return _object(bytes(data[8 : 8 + length]), "header"), memoryview(data)[8 + length :]


def _object(text: bytes | str, what: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ModelError(f"the model file's {what} is not JSON") from error
    if not isinstance(value, dict):
        raise ModelError(f"the model file's {what} is not a JSON object")
    return value


def _metadata(entry: Any) -> dict[str, Any]:
    if not isinstance(entry, dict) or set(entry) != {"fanlight"} or not isinstance(entry["fanlight"], str):
        raise ModelError("the file holds no Fanlight model", next="Download a model from the main server's page.")
    metadata = _object(entry["fanlight"], "metadata")
    if metadata.get("format") != 1:
        raise ModelError(f"model format {metadata.get('format')!r} is unknown", next="Install a newer Fanlight.")
    if (
        set(metadata) - {_LINEAGE} != _METADATA_KEYS
        or metadata["head"] not in tuple(HeadKind)
        or not isinstance(metadata["classes"], list)
    ):
        raise ModelError("the model file's metadata are not as they should be")
    if not isinstance(metadata["backbone"], dict) or set(metadata["backbone"]) != {"id", "sha256"}:
        raise ModelError("the model file does not name its backbone")
    return metadata


def _span(name: str, entry: Any) -> tuple[tuple[int, ...], tuple[int, int]]:
    """A tensor's shape and its first and last byte, if they agree with one another and lie within the limits."""
    if not isinstance(entry, dict) or entry.get("dtype") != "F32":
        raise ModelError(f"{name} is not a float32 tensor")
    shape, offsets = entry.get("shape"), entry.get("data_offsets")
    if not (isinstance(shape, list) and isinstance(offsets, list) and len(offsets) == 2):
        raise ModelError(f"{name} has no shape or no place")
    if not all(type(number) is int and 0 <= number <= MAX_MODEL_BYTES for number in (*shape, *offsets)):
        raise ModelError(f"{name} has a shape or a place out of range")
    if not _fits_limits(name.removeprefix(_CONTROL), shape):
        raise ModelError(f"{name} has the shape {shape}")
    if offsets[1] - offsets[0] != 4 * int(np.prod(shape, dtype=np.int64)):
        raise ModelError(f"{name}'s length does not fit its shape")
    return tuple(shape), (offsets[0], offsets[1])


def _fits_limits(name: str, shape: list[int]) -> bool:
    if name.startswith(PREFIX):
        return 1 <= len(shape) <= 4 and min(shape) >= 1
    limits = (MAX_CLASSES,) if name.endswith("bias") else (MAX_FEATURES, MAX_CLASSES)
    return len(shape) == len(limits) and all(number <= limit for number, limit in zip(shape, limits, strict=True))


def _fills(spans: list[tuple[int, int]], length: int) -> bool:
    """Do the spans, in order, lie end to end over the whole body?"""
    starts, ends = [start for start, _ in spans], [end for _, end in spans]
    return starts == [0, *ends[:-1]] and ends[-1] == length


def _array(body: memoryview, span: tuple[int, int], shape: tuple[int, ...]) -> Floats:
    return np.frombuffer(body[span[0] : span[1]], dtype="<f4").reshape(shape)


def _checked(model: HeadModel, *, own: bool) -> HeadModel:
    """The model, with arrays of its own if it is to ``own`` them, if every field is in range."""
    _check_name("task", model.task)
    _check_name("backbone", model.backbone_id)
    for name in model.classes:
        _check_name("class", name)
    if not 2 <= len(set(model.classes)) == len(model.classes) <= MAX_CLASSES:
        raise ModelError(f"a model needs 2 to {MAX_CLASSES} classes with different names")
    if not _SHA256.fullmatch(model.backbone_sha256):
        raise ModelError("the backbone's hash is not 64 hexadecimal digits")
    _check_integer("version", model.version, 0, 2**53)
    _check_integer("picture size", model.picture_size, 8, 2048)
    head = checked_head(model.weight, model.bias, own=own)
    if head.classes != len(model.classes) or head.features > MAX_FEATURES:
        raise ModelError(f"weights {model.weight.shape} do not fit {len(model.classes)} classes")
    tuned, control = _checked_tuned(model.tuned, own=own), model.control
    if control is not None:
        control = _checked_control(control, head, tuned, own=own)
    return replace(model, weight=head.weight, bias=head.bias, control=control, tuned=tuned)


def _checked_control(control: Control, head: SoftmaxHead, tuned: Mapping[str, Floats], *, own: bool) -> Control:
    of_head = checked_head(control.head.weight, control.head.bias, own=own)
    of_tuned = _checked_tuned(control.tuned, own=own)
    shapes = [{name: tensor.shape for name, tensor in tensors.items()} for tensors in (tuned, of_tuned)]
    if of_head.weight.shape != head.weight.shape or shapes[0] != shapes[1]:
        raise ModelError(f"control variates {of_head.weight.shape} do not fit weights {head.weight.shape}")
    return Control(of_head, of_tuned)


def _checked_tuned(tensors: Mapping[str, Floats], *, own: bool) -> Mapping[str, Floats]:
    copy = True if own else None
    found = {name: np.array(tensor, np.float32, order="C", copy=copy) for name, tensor in tensors.items()}
    for name, tensor in found.items():
        if not (_TUNED.fullmatch(name) and 1 <= tensor.ndim <= 4 and tensor.size):
            raise ModelError(f"{name} of shape {tensor.shape} is no tensor of a backbone")
        if not (np.isfinite(tensor.min()) and np.isfinite(tensor.max())):
            raise ModelError(f"{name} holds numbers that are not finite", next="Start from an earlier model version.")
    return MappingProxyType(found)


def _check_name(what: str, name: Any) -> None:
    if not (isinstance(name, str) and 1 <= len(name) <= MAX_NAME_LENGTH and name.isprintable()):
        raise ModelError(f"the model's {what} name is empty, too long or not printable")


def _check_integer(what: str, value: Any, low: int, high: int) -> None:
    if type(value) is not int or not low <= value <= high:
        raise ModelError(f"the model's {what} is not a whole number within {low} to {high}")
