"""Networks that are compiled from weights that a person brings."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from fanlight.errors import SettingsError
from fanlight.learning import mobilenet_v2
from fanlight.learning.inverted_bottlenecks import Weights
from fanlight.learning.own_backbones import Description, checked, label
from fanlight.learning.weight_files import read_weights


@dataclass(frozen=True)
class Architecture:
    """A network that is compiled from a person's weights; ``build`` takes tensors as ``weight_files`` reads them."""

    title: str
    features: int
    build: Callable[[Weights], bytes]


ARCHITECTURES: Mapping[str, Architecture] = MappingProxyType(
    {"mobilenet-v2": Architecture("MobileNetV2", mobilenet_v2.FEATURES, mobilenet_v2.build)}
)


def compile_weights(
    architecture: str, weights: Path, *, name: str, licence: str, sha256: str | None = None, title: str | None = None
) -> bytes:
    """A backbone's file from a person's weights; equal weights and words give equal bytes.

    Args:
        architecture: a key of ``ARCHITECTURES``.
        weights: the file of weights. sha256: what it must be; see ``read_weights``.
        name, licence, title: of the backbone; the title is the architecture's by default.

    Raises:
        SettingsError: there is no such architecture. ModelError: the weights are not its, or a word cannot be used.
    """
    known = ARCHITECTURES.get(architecture)
    if known is None:
        raise SettingsError(
            f"there is no architecture named {architecture!r}", next=f"choose one of: {', '.join(ARCHITECTURES)}"
        )
    description = checked(Description(name, title or known.title, licence, known.features))
    return label(known.build(read_weights(weights, sha256)), description)
