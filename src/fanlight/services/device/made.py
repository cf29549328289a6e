"""What a device makes of pictures and keeps in its state folder: thumbnails and features.

Both show a good deal of a picture, and both can be made again at any time: they go when the picture goes.
"""

from __future__ import annotations

import shutil
from contextlib import suppress
from pathlib import Path

from fanlight.learning.backbones import CompiledBackbone, compile_backbone
from fanlight.learning.feature_cache import FeatureCache, forget_features
from fanlight.learning.features import FeatureExtractor
from fanlight.storage.failures import os_failures


def thumbnail_path(state: Path, sha256: str) -> Path:
    """Where the thumbnail of a picture is, or will be."""
    return state / "thumbnails" / sha256[:2] / f"{sha256[2:]}.webp"


def features_folder(state: Path) -> Path:
    """The root of the feature cache."""
    return state / "features"


def compiled_backbone(state: Path, backbone_id: str) -> CompiledBackbone:
    """A backbone ready to run, made at the first time.

    Raises:
        ModelError: no such backbone, or a checkpoint that is not what it should be. StorageError: disk.
    """
    return compile_backbone(backbone_id, state / "backbones")


def feature_cache(state: Path, backbone_sha256: str, picture_size: int, features: int) -> FeatureCache:
    """The kept features of one backbone and picture size."""
    return FeatureCache(features_folder(state), backbone_sha256, picture_size, features)


def feature_extractor(
    state: Path, backbone_id: str, picture_size: int, *, threads: int, batch: int = 8
) -> FeatureExtractor:
    """Computes features, or takes those that are kept; errors as in ``compiled_backbone``."""
    compiled = compiled_backbone(state, backbone_id)
    cache = feature_cache(state, compiled.sha256, picture_size, compiled.features)
    return FeatureExtractor(compiled, picture_size, cache, threads=threads, batch=batch)


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
