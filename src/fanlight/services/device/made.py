"""What a device makes of pictures and keeps in its state folder: thumbnails and features.

Both show a good deal of a picture, and both can be made again at any time: they go when the picture goes.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from fanlight.errors import from_os_error
from fanlight.learning.feature_cache import forget_features


def thumbnail_path(state: Path, sha256: str) -> Path:
    """Where the thumbnail of a picture is, or will be."""
    return state / "thumbnails" / sha256[:2] / f"{sha256[2:]}.webp"


def features_folder(state: Path) -> Path:
    """The root of the feature cache."""
    return state / "features"


def forget(state: Path, sha256: str) -> None:
    """Delete what was made of one picture.

    Raises:
        StorageError: the disk refuses.
    """
    path = thumbnail_path(state, sha256)
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise from_os_error(error, str(path)) from error
    forget_features(features_folder(state), sha256)


def forget_all(state: Path) -> None:
    """Delete what was made of all pictures; errors as in ``forget``."""
    for folder in (state / "thumbnails", features_folder(state)):
        try:
            shutil.rmtree(folder)
        except FileNotFoundError:
            continue
        except OSError as error:
            raise from_os_error(error, str(folder)) from error
