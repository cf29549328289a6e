"""What a device makes of pictures and keeps in its state folder: thumbnails and features.

Both show a good deal of a picture, and both can be made again at any time: they go when the picture goes.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from fanlight.errors import ModelError
from fanlight.learning.backbones import BACKBONES, CompiledBackbone, Runnable, compile_backbone, kept_backbone
from fanlight.learning.feature_cache import FeatureCache, forget_features
from fanlight.learning.features import FeatureExtractor
from fanlight.learning.model_file import HeadModel
from fanlight.learning.tail import TunedExtractor
from fanlight.storage.failures import os_failures

Fetch = Callable[[CompiledBackbone], None]
"""Puts the file of a compiled backbone where it says that it is kept."""


def no_fetching(backbone: CompiledBackbone) -> None:
    """The ``Fetch`` of those who have nobody to ask.

    Raises:
        ModelError: always.
    """
    raise ModelError(f"the backbone {backbone.id} {backbone.sha256[:16]} is not here, and cannot be made")


def thumbnail_path(state: Path, sha256: str) -> Path:
    """Where the thumbnail of a picture is, or will be."""
    return state / "thumbnails" / sha256[:2] / f"{sha256[2:]}.webp"


def backbones_folder(state: Path) -> Path:
    """Where compiled backbones are kept."""
    return state / "backbones"


def features_folder(state: Path) -> Path:
    """The root of the feature cache."""
    return state / "features"


def compiled_backbone(
    state: Path, backbone_id: str, sha256: str, features: int, fetch: Fetch = no_fetching
) -> CompiledBackbone:
    """A backbone ready to run: kept, made of installed weights, or else fetched.

    Args:
        state: the state folder.
        backbone_id, sha256, features: which one; 64 hexadecimal digits.
        fetch: gets it where it can neither be found nor made here.

    Raises:
        ModelError: the checkpoint is not what it should be. StorageError: disk. Others: as ``fetch``.
    """
    folder = backbones_folder(state)
    kept = kept_backbone(backbone_id, sha256, features, folder)
    entry = BACKBONES.get(backbone_id)
    with suppress(ModelError):
        if entry is not None and entry.compiled_sha256 == sha256:
            return compile_backbone(backbone_id, folder)
        kept.read()
        return kept
    fetch(kept)
    return kept


def feature_cache(state: Path, backbone_sha256: str, picture_size: int, features: int) -> FeatureCache:
    """The kept features of one backbone and picture size."""
    return FeatureCache(features_folder(state), backbone_sha256, picture_size, features)


def feature_extractor(
    state: Path, backbone: Runnable, picture_size: int, *, threads: int, batch: int = 8
) -> FeatureExtractor:
    """Computes features, or takes those that are kept."""
    cache = feature_cache(state, backbone.sha256, picture_size, backbone.features)
    return FeatureExtractor(backbone, picture_size, cache, threads=threads, batch=batch)


def model_features(
    state: Path, model: HeadModel, compiled: CompiledBackbone, *, threads: int
) -> FeatureExtractor | TunedExtractor:
    """Computes the features that a model reads, or takes what is kept; errors as in ``TunedExtractor``."""
    if model.tuned:
        return TunedExtractor(model, compiled, features_folder(state), threads=threads)
    return feature_extractor(state, compiled, model.picture_size, threads=threads)


def forget(state: Path, sha256: str) -> None:
    """Delete what was made of one picture.

    Raises:
        StorageError: the disk refuses.
    """
    path = thumbnail_path(state, sha256)
    with os_failures(path):
        path.unlink(missing_ok=True)
    forget_features(features_folder(state), sha256)


def forget_all(state: Path) -> None:
    """Delete what was made of all pictures; errors as in ``forget``."""
    for folder in (state / "thumbnails", features_folder(state)):
        with os_failures(folder), suppress(FileNotFoundError):
            shutil.rmtree(folder)
