"""Reads the weights that a person brings: Keras's .h5, safetensors, or a state dictionary of PyTorch.

What a file is, its first bytes say, not its name. A state dictionary is a pickle, hence a program: it is read only
if the person names the SHA-256 that its publisher gives for it, and then by ``torch_state``, which runs nothing. The
other formats hold numbers alone; a SHA-256 that is named for them is checked as well.
"""

from __future__ import annotations

import hashlib
import io
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load as load_safetensors

from fanlight.errors import ModelError
from fanlight.learning import torch_state

Array = NDArray[Any]

MAX_WEIGHTS_BYTES: Final = 2**29
"""Longest file that is read; also the most numbers' bytes that one may unpack to."""
_HDF5: Final = b"\x89HDF\r\n\x1a\n"
_PICKLES: Final = (b"PK\x03\x04", b"\x80")
_OPTIMISER: Final = "optimizer_weights"


def read_weights(path: Path, sha256: str | None = None) -> dict[str, Array]:
    """The tensors of a file, by name; floating-point ones as float32.

    Args:
        path: the file.
        sha256: what the file must be, 64 hexadecimal digits; needed for state dictionaries.

    Raises:
        ModelError: it cannot be read, is another file or of another kind, or is damaged.
    """
    data = _read(path)
    found = hashlib.sha256(data).hexdigest()
    if sha256 is not None and found != sha256.lower():
        raise ModelError(
            f"{path} is another file: its SHA-256 is {found}", next="Download it again from its publisher."
        )
    tensors = _tensors(data, path, found if sha256 is None else None)
    return {name: _single(values) for name, values in tensors.items()}


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            data = file.read(MAX_WEIGHTS_BYTES + 1)
    except OSError as error:
        raise ModelError(f"the weights {path} cannot be read: {error.strerror}", next="Check the path.") from error
    if len(data) > MAX_WEIGHTS_BYTES:
        raise ModelError(f"{path} is larger than {MAX_WEIGHTS_BYTES // 2**20} MiB")
    return data


def _tensors(data: bytes, path: Path, unproven: str | None) -> dict[str, Array]:
    if data.startswith(_HDF5):
        return _from_keras(data, path)
    if data.startswith(_PICKLES):
        if unproven is not None:
            raise ModelError(
                f"{path} is a file of PyTorch's, which can hold programs: say which one you mean by its SHA-256",
                next=f"If its publisher says that it is {unproven}, give that; else prefer a safetensors file.",
            )
        return torch_state.parse(data)
    try:
        return load_safetensors(data)
    except (SafetensorError, KeyError, ValueError, TypeError, AttributeError) as error:  # also for types NumPy lacks
        raise ModelError(f"{path} is no .h5, safetensors or PyTorch file that can be read: {error}") from error


def _from_keras(data: bytes, path: Path) -> dict[str, Array]:
    """Tensors as ``LAYER/VARIABLE``: whatever stands before, all versions of Keras end so. The optimiser's are left.

    Only what lies in the file itself is read, for HDF5 can also point to other files.
    """
    try:
        import h5py
    except ImportError as error:
        raise ModelError(
            "reading .h5 files needs the package h5py", next="pip install 'fanlight[keras]', or use a safetensors file."
        ) from error
    tensors: dict[str, Array] = {}
    room = MAX_WEIGHTS_BYTES

    def take(name: str, item: Any) -> None:
        nonlocal room
        if not isinstance(item, h5py.Dataset) or name.startswith(_OPTIMISER) or item.dtype.kind not in "fiu":
            return
        room -= item.nbytes
        if room < 0 or item.external or item.is_virtual:
            raise ModelError(f"{path}: {name} is too large, or lies outside the file")
        key = "/".join(name.removesuffix(":0").split("/")[-2:])
        if key in tensors:
            raise ModelError(f"{path} holds {key} twice")
        tensors[key] = np.asarray(item[()])

    try:
        with h5py.File(io.BytesIO(data), "r") as file:
            file.visititems(take)
    except (OSError, RuntimeError, ValueError, KeyError, TypeError) as error:
        raise ModelError(f"{path} is damaged: {error}") from error
    return tensors


def _single(values: Array) -> Array:
    return np.ascontiguousarray(values, np.float32) if values.dtype.kind == "f" else values
