"""Writes small checkpoints in the legacy format, good and bad, without PyTorch."""

from __future__ import annotations

import io
import pickle
import struct
import sys
import zipfile
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from types import ModuleType
from typing import Any

MAGIC = 0x1950A86A20F9469CFC6C
SYSTEM = {"protocol_version": 1001, "little_endian": True, "type_sizes": {"short": 2, "int": 4, "long": 4}}


class FloatStorage:
    """Pickled by name only; the reader puts its own stand-in there."""


def _rebuild_tensor_v2(*_: Any) -> None: ...


FloatStorage.__module__, FloatStorage.__qualname__ = "torch", "FloatStorage"
_rebuild_tensor_v2.__module__ = "torch._utils"


class Tensor:
    """A tensor for the pickle: storage name, storage length, offset, shape, strides."""

    def __init__(
        self, key: Any, count: Any, shape: Any, strides: Any, offset: Any = 0, storage: tuple[Any, ...] | None = None
    ) -> None:
        self.storage = storage or ("storage", FloatStorage, key, "cpu", count, None)
        self.arguments: tuple[Any, ...] = (offset, shape, strides, False, OrderedDict())

    def __reduce__(self) -> Any:
        return _rebuild_tensor_v2, (Persistent(self.storage), *self.arguments)


class Persistent:
    """Stands for a storage; the pickler writes it as a persistent id."""

    def __init__(self, pid: tuple[Any, ...]) -> None:
        self.pid = pid


class _Pickler(pickle._Pickler):
    """The pickler in Python: the one in C insists on importing what it names."""

    def persistent_id(self, obj: Any) -> Any:
        return obj.pid if isinstance(obj, Persistent) else None


def dump(value: Any) -> bytes:
    """A protocol 2 pickle in which the framework's names can be used although it is not installed."""
    stand_ins = {"torch": ModuleType("torch"), "torch._utils": ModuleType("torch._utils")}
    stand_ins["torch"].FloatStorage = FloatStorage  # type: ignore[attr-defined]
    stand_ins["torch._utils"]._rebuild_tensor_v2 = _rebuild_tensor_v2  # type: ignore[attr-defined]
    before = {name: sys.modules.get(name) for name in stand_ins}
    sys.modules.update(stand_ins)
    try:
        stream = io.BytesIO()
        _Pickler(stream, 2).dump(value)
        return stream.getvalue()
    finally:
        for name, module in before.items():
            if module is None:
                del sys.modules[name]
            else:
                sys.modules[name] = module


def checkpoint(
    state: Mapping[Any, Any],
    storages: Mapping[str, Sequence[float]],
    *,
    magic: int = MAGIC,
    system: Any = SYSTEM,
    order: Any = None,
    tail: bytes = b"",
) -> bytes:
    """A whole file: header, state dictionary, list of storages, numbers."""
    pickles = [magic, 1001, system, OrderedDict(state), list(storages) if order is None else order]
    raw = b"".join(struct.pack(f"<q{len(v)}f", len(v), *v) for v in storages.values())
    return b"".join(dump(value) for value in pickles) + raw + tail


def archive(state: Mapping[Any, Any], storages: Mapping[str, Sequence[float]], **others: bytes) -> bytes:
    """A whole file as PyTorch writes it since 1.6: a ZIP archive; ``others`` are further files in it."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as packed:
        packed.writestr("weights/data.pkl", dump(OrderedDict(state)))
        for key, values in storages.items():
            packed.writestr(f"weights/data/{key}", struct.pack(f"<{len(values)}f", *values))
        for name, content in others.items():
            packed.writestr(f"weights/{name}", content)
    return stream.getvalue()
