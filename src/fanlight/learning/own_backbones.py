"""Backbones that the registry does not pin: a person compiles one, and its file says of itself what it is.

The file is an ONNX graph like every compiled backbone, with a label more: name, title, licence and number of features.
It is known by its SHA-256. Main publishes it by that, and a device runs it only if its owner has allowed the hash.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from fanlight.errors import ModelError
from fanlight.learning.backbones import BACKBONES, MAX_BACKBONE_BYTES, is_backbone_name
from fanlight.learning.model_file import MAX_FEATURES
from fanlight.learning.onnx_file import labelled, labels

_LABEL: Final = "fanlight.backbone"
_MOST_LETTERS: Final = 200


@dataclass(frozen=True)
class Description:
    """What a backbone's file says of itself.

    Attributes:
        id: the name that plans and models use: lower-case letters, digits and hyphens; none of the registry's.
        title: name for people.
        licence: SPDX identifier of the weights' licence, or words.
        features: length of the feature vector.
    """

    id: str
    title: str
    licence: str
    features: int


def label(graph: bytes, description: Description) -> bytes:
    """A compiled graph that says what it is."""
    return labelled(graph, {_LABEL: json.dumps(asdict(checked(description)), sort_keys=True, ensure_ascii=True)})


def describe(file: bytes) -> Description:
    """What a backbone's file says of itself.

    Raises:
        ModelError: it is none.
    """
    if len(file) > MAX_BACKBONE_BYTES:
        raise ModelError(f"the backbone is larger than {MAX_BACKBONE_BYTES // 2**20} MiB")
    try:
        said = Description(**json.loads(labels(file)[_LABEL]))
    except (KeyError, TypeError, ValueError, RecursionError, ModelError) as error:
        raise ModelError(
            "the file is no backbone of Fanlight's", next="Make one with: fanlight backbone compile"
        ) from error
    return checked(said)


def read_backbone(path: Path) -> tuple[bytes, Description]:
    """A backbone's file, and what it says of itself.

    Raises:
        ModelError: it cannot be read, or is none.
    """
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BACKBONE_BYTES + 1)
    except OSError as error:
        raise ModelError(f"the backbone {path} cannot be read: {error.strerror}", next="Check the path.") from error
    return data, describe(data)


def checked(description: Description) -> Description:
    """The same, if every word of it can be used.

    Raises:
        ModelError: one cannot.
    """
    known = type(description.id) is str and description.id in BACKBONES
    if type(description.id) is not str or not is_backbone_name(description.id) or known:
        why = "is the registry's" if known else "has other letters than a to z, digits and hyphens"
        raise ModelError(f"the backbone's name {description.id!r} {why}", next="Give it another name.")
    for word in (description.title, description.licence):
        if type(word) is not str or not 1 <= len(word) <= _MOST_LETTERS or not word.isprintable():
            raise ModelError("the backbone's title or licence is empty, too long or not printable")
    if type(description.features) is not int or not 1 <= description.features <= MAX_FEATURES:
        raise ModelError(f"the backbone's features are not a number from 1 to {MAX_FEATURES}")
    return description
