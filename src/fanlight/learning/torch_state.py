"""Reads state dictionaries that PyTorch has saved, without PyTorch: tensors, and nothing else.

Theory of operation. A state dictionary is pickled; every tensor in it is a call of a rebuild function on a *named*
storage. Where the storages lie depends on the file's age:

- legacy (before PyTorch 1.6): three small pickles (magic number, version, type sizes), the dictionary, a pickled list
  of storage names, and then the storages themselves: a 64-bit count and raw little-endian numbers each;
- since then: a ZIP archive, not compressed, with the dictionary as ``NAME/data.pkl`` and each storage's raw numbers as
  ``NAME/data/STORAGE``.

A pickle is a program. Two locks keep it from being anyone else's program, and their order matters:

1. The caller has established by its SHA-256 that the file is the one that somebody trusts. An allow-list alone does not
   help: nine bytes of pickle can ask for sixteen gigabytes without naming any function.
2. The unpickler then resolves four names only, to inert stand-ins of ours; nothing of the file's choosing is imported.

Behind them, sizes, offsets and strides are still checked before memory is viewed, because convolution weights in these
files need *not* be contiguous and must be read through their strides.

This is the only place in Fanlight that unpickles anything.
"""

from __future__ import annotations

import io
import pickle
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import prod
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fanlight.errors import ModelError

Array = NDArray[Any]

_MAGIC = 0x1950A86A20F9469CFC6C
_VERSION = 1001
_MAX_DIMENSIONS = 8
_ZIP_BEGINNING = b"PK\x03\x04"
_DTYPES: Mapping[str, np.dtype[Any]] = MappingProxyType({"float32": np.dtype("<f4"), "int64": np.dtype("<i8")})


def parse(data: bytes) -> dict[str, Array]:
    """Tensors of a state dictionary whose authenticity **the caller has already established**.

    Returns:
        Name to tensor: C-contiguous copies, float32 or int64, in the file's order.

    Raises:
        ModelError: not this format, a name outside the allow-list, or a tensor outside its storage.
    """
    try:
        return _from_archive(data) if data.startswith(_ZIP_BEGINNING) else _from_pickles(data)
    except ModelError:
        raise
    except Exception as error:  # a damaged pickle or archive can fail in almost any way
        raise ModelError(f"the checkpoint is damaged: {error}") from error


def _from_pickles(data: bytes) -> dict[str, Array]:
    stream = io.BytesIO(data)
    header = [_Unpickler(stream).load() for _ in range(3)]
    state = _Unpickler(stream).load()
    order = _Unpickler(stream).load()
    _check_header(header)
    return _materialise(state, _read_storages(stream, order, _declared(state)))


def _from_archive(data: bytes) -> dict[str, Array]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        if any(entry.compress_type != zipfile.ZIP_STORED for entry in archive.infolist()):
            raise ModelError("the checkpoint's archive is compressed, which PyTorch never does")
        names = [name for name in archive.namelist() if name.endswith("/data.pkl") and name.count("/") == 1]
        if len(names) != 1:
            raise ModelError("the archive holds no state dictionary, or several")
        root = names[0].removesuffix("data.pkl")
        if f"{root}byteorder" in archive.namelist() and archive.read(f"{root}byteorder") != b"little":
            raise ModelError("the checkpoint's numbers are not little-endian")
        state = _Unpickler(io.BytesIO(archive.read(names[0]))).load()
        storages: dict[str, Array] = {}
        for key, storage in _declared(state).items():
            raw, dtype = archive.read(f"{root}data/{key}"), _DTYPES[storage.dtype]
            if len(raw) != storage.count * dtype.itemsize:
                raise ModelError(f"the checkpoint's storage {key} is not as long as it says")
            storages[key] = np.frombuffer(raw, dtype)
        return _materialise(state, storages)


@dataclass(frozen=True)
class _Storage:
    """A run of ``count`` numbers of type ``dtype`` that the file carries under the name ``key``."""

    key: str
    dtype: str
    count: int


@dataclass(frozen=True)
class _View:
    """A tensor as the pickle describes it: a strided look into a storage; offset and strides in elements."""

    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


def _rebuild(storage: object, offset: object, shape: object, strides: object, *_: object) -> _View:
    """Stands in for the framework's rebuild function; checks types, so that ``_strided`` need only check ranges."""
    if not isinstance(storage, _Storage) or not _is_count(offset):
        raise ModelError("the checkpoint describes a tensor without storage or offset")
    if not _are_counts(shape) or not _are_counts(strides) or len(shape) != len(strides):  # type: ignore[arg-type]
        raise ModelError("the checkpoint describes a tensor whose shape and strides do not go together")
    return _View(storage, offset, shape, strides)  # type: ignore[arg-type]


def _is_count(value: object) -> bool:
    return type(value) is int and 0 <= value < 2**40


def _are_counts(values: object) -> bool:
    return type(values) is tuple and len(values) <= _MAX_DIMENSIONS and all(_is_count(value) for value in values)


_ALLOWED: Mapping[tuple[str, str], Callable[..., Any] | str] = MappingProxyType(
    {
        ("collections", "OrderedDict"): OrderedDict,
        ("torch._utils", "_rebuild_tensor_v2"): _rebuild,
        ("torch", "FloatStorage"): "float32",
        ("torch", "LongStorage"): "int64",
    }
)


class _Unpickler(pickle.Unpickler):
    """Resolves the names in ``_ALLOWED`` and nothing else."""

    def find_class(self, module: str, name: str, /) -> Any:
        try:
            return _ALLOWED[module, name]
        except KeyError:
            raise ModelError(f"the checkpoint asks for {module}.{name}, which is not allowed") from None

    def persistent_load(self, pid: Any, /) -> _Storage:
        kind, dtype, key, _device, count, *view = pid
        if kind != "storage" or dtype not in _DTYPES or type(key) is not str or not _is_count(count) or any(view):
            raise ModelError("the checkpoint describes a storage that is not a plain run of numbers")
        return _Storage(key, dtype, count)


def _check_header(header: list[Any]) -> None:
    magic, version, system = header
    if magic != _MAGIC or version != _VERSION or not isinstance(system, dict) or not system.get("little_endian"):
        raise ModelError("the file is not a legacy checkpoint of the known version")


def _declared(state: Any) -> dict[str, _Storage]:
    """Storages that the state dictionary refers to; two tensors may share one, but must agree on what it is."""
    if not isinstance(state, OrderedDict) or not all(isinstance(view, _View) for view in state.values()):
        raise ModelError("the checkpoint is not a dictionary of tensors")
    storages: dict[str, _Storage] = {}
    for view in state.values():
        if storages.setdefault(view.storage.key, view.storage) != view.storage:
            raise ModelError(f"the checkpoint describes storage {view.storage.key} in two ways")
    return storages


def _read_storages(stream: io.BytesIO, order: Any, declared: Mapping[str, _Storage]) -> dict[str, Array]:
    """The numbers of each storage, as views of the file's bytes; the file must end with the last."""
    if not isinstance(order, list) or sorted(order) != sorted(declared):
        raise ModelError("the checkpoint lists other storages than its tensors use")
    data = stream.getbuffer()
    position = stream.tell()
    storages: dict[str, Array] = {}
    for key in order:
        storage = declared[key]
        dtype = _DTYPES[storage.dtype]
        end = position + 8 + storage.count * dtype.itemsize
        if end > len(data) or int.from_bytes(data[position : position + 8], "little") != storage.count:
            raise ModelError(f"the checkpoint's storage {key} is not as long as it says")
        storages[key] = np.frombuffer(data, dtype, storage.count, position + 8)
        position = end
    if position != len(data):
        raise ModelError("the checkpoint goes on after its last storage")
    return storages


def _materialise(state: Mapping[Any, _View], storages: Mapping[str, Array]) -> dict[str, Array]:
    tensors: dict[str, Array] = {}
    for name, view in state.items():
        if not isinstance(name, str):
            raise ModelError("the checkpoint names a tensor by something that is not text")
        tensors[name] = _strided(view, storages[view.storage.key])
    return tensors


def _strided(view: _View, storage: Array) -> Array:
    """A contiguous copy of the view; refuses views that leave the storage or repeat it into something larger."""
    count = prod(iter(view.shape))
    last = view.offset + sum((n - 1) * step for n, step in zip(view.shape, view.strides, strict=True))
    if count > storage.size or (count and last >= storage.size):
        raise ModelError("the checkpoint describes a tensor that leaves its storage")
    if not count:
        return np.empty(view.shape, storage.dtype)
    steps = tuple(step * storage.itemsize for step in view.strides)
    strided = np.lib.stride_tricks.as_strided(storage[view.offset :], view.shape, steps, writeable=False)
    return np.array(strided, order="C")
