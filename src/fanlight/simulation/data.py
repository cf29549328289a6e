"""What a study learns from: all pictures in memory, as features for a head or as pixels for a module."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from fanlight.errors import DataError, from_os_error
from fanlight.learning import pictures
from fanlight.learning.atomic_file import write_atomically
from fanlight.learning.backbones import DEFAULT_BACKBONE, backbone, compile_backbone
from fanlight.learning.datasets import own_folder
from fanlight.learning.datasets.chance import Chance
from fanlight.learning.datasets.locate import places
from fanlight.learning.datasets.prepare import NAMES, OWN_FOLDER_PICTURE_SIZE, SOURCES, without_duplicates
from fanlight.learning.datasets.source import Labelled, Picture
from fanlight.simulation.looks import AS_IT_IS, Look
from fanlight.simulation.partitions import NO_COLUMNS, Columns

_PIXELS_ALIKE = "pictures of one data set have one shape, or are brought to one by picture_size"


@dataclass(frozen=True)
class Data:
    """Labelled examples.

    Attributes:
        x: (n, f) float32 features, or for a module whatever it takes, (n, …) float32.
        y: (n,) labels, 0 to K - 1.
        classes: K names.
        name: what it is called in results.
        columns: (n,) values by name that are known of the examples, for partitions by a key.
        redrawn: rows of x for some examples, by number, each as it looks to a device; None = there are no pictures.
    """

    x: NDArray[np.float32]
    y: NDArray[np.int64]
    classes: tuple[str, ...]
    name: str = "own data"
    columns: Columns = field(default_factory=lambda: NO_COLUMNS)
    redrawn: Callable[[Sequence[int], Sequence[Look]], NDArray[np.float32]] | None = None

    @classmethod
    def of(cls, x: NDArray[Any], y: NDArray[Any], classes: Sequence[str] | None = None, name: str = "own data") -> Data:
        """From arrays, checked.

        Raises:
            DataError: shapes, labels or numbers that cannot be used.
        """
        features, labels = np.ascontiguousarray(x, np.float32), np.asarray(y)
        if features.ndim < 2 or labels.shape != features.shape[:1] or not np.issubdtype(labels.dtype, np.integer):
            raise DataError(
                f"examples {features.shape} and labels {labels.shape} of {labels.dtype} do not fit together"
            )
        if not labels.size or not np.isfinite(features).all():
            raise DataError("there are no examples, or a number in them is not finite")
        names = tuple(classes) if classes is not None else tuple(str(label) for label in range(int(labels.max()) + 1))
        if not 0 <= int(labels.min()) <= int(labels.max()) < len(names) or len(names) < 2:
            raise DataError(f"labels are 0 to {len(names) - 1}, of two classes or more")
        return cls(features, labels.astype(np.int64), names, name)

    def seen(self, indices: Sequence[int], looks: Sequence[Look]) -> NDArray[np.float32]:
        """Rows of x as they are when examples look otherwise, one look each.

        Raises:
            DataError: these examples are not pictures.
        """
        if self.redrawn is not None:
            return self.redrawn(indices, looks)
        if self.x.ndim != 4 or self.x.shape[1] not in (1, 3):
            raise DataError(
                f"{self.name}: examples {self.x.shape} are not pictures that cameras or marks could change",
                next="Give pixels, (n, 1 or 3, h, w), or the name of a data set of pictures.",
            )
        return np.stack([look.of_pixels(self.x[index]) for index, look in zip(indices, looks, strict=True)])


def load(
    name: str,
    state: Path,
    *,
    as_pixels: bool,
    picture_size: int = 0,
    data_dir: Path | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> Data:
    """A data set of ``demo``'s, or a folder of pictures.

    Args:
        name: of the data set, or the folder.
        state: where features are kept from one run to the next.
        as_pixels: pixels, (n, channels, h, w) in 0 to 1; else features of the backbone, (n, f).
        picture_size: side in pixels; 0 = the data set's own.
        data_dir: where to look for data files first.
        on_progress: told how many pictures of how many have features.

    Raises:
        DataError: no such data set, or it cannot be used. StorageError: ``state`` cannot be written.
    """
    labelled, classes, size, columns = _labelled(name, data_dir)
    if as_pixels:
        pixels = Data.of(_pixels(labelled.pictures, picture_size), labelled.labels, classes, name)
        return replace(pixels, columns=columns)
    found = of_pictures(labelled.pictures, labelled.labels, classes, state, picture_size or size, on_progress)
    return replace(found, columns=columns, name=name)


def of_pictures(
    found: Sequence[Picture],
    y: NDArray[Any],
    classes: Sequence[str],
    state: Path,
    picture_size: int = OWN_FOLDER_PICTURE_SIZE,
    on_progress: Callable[[int, int], None] | None = None,
) -> Data:
    """The backbone's features of pictures.

    Args:
        found: n arrays, (h, w) grey or (h, w, 3) RGB uint8 of any size, or picture files.
        y, classes: see ``Data``.
        state, picture_size, on_progress: see ``load``.

    Raises:
        DataError, PictureError: labels or pictures that cannot be used. StorageError: ``state`` cannot be written.
    """

    def redrawn(indices: Sequence[int], looks: Sequence[Look]) -> NDArray[np.float32]:
        return _features([found[index] for index in indices], looks, picture_size, state, on_progress)

    x = _features(found, [AS_IT_IS] * len(found), picture_size, state, on_progress)
    return replace(Data.of(x, y, classes), redrawn=redrawn)


def _labelled(name: str, data_dir: Path | None) -> tuple[Labelled, tuple[str, ...], int, Columns]:
    source = SOURCES.get(name)
    if source is not None:
        drawn = source.load(places(data_dir), 1, Chance(f"{name}/simulation", 0))
        return without_duplicates(drawn), source.classes, source.picture_size, NO_COLUMNS
    folder = Path(name)
    if not folder.is_dir():
        raise DataError(
            f"there is no data set and no folder called {name}",
            slug="unknown-dataset",
            next=f"Choose one of {', '.join(NAMES)}, or give the path of a folder with pictures.",
        )
    parts = own_folder.device_folders(folder) or (folder,)
    classes = own_folder.classes_of_devices(parts)
    loaded = [own_folder.load_one(part, classes)[0] for part in parts]
    together = Labelled(
        [picture for each in loaded for picture in each.pictures], np.concatenate([each.labels for each in loaded])
    )
    folders = [part.name for part, each in zip(parts, loaded, strict=True) for _ in each.pictures]
    return together, classes, OWN_FOLDER_PICTURE_SIZE, {"folder": folders}


def _bytes_of(picture: Picture) -> bytes:
    """A picture's file: its own, or the one that ``demo`` would write."""
    if isinstance(picture, Path):
        return pictures.read(picture)
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "PNG", compress_level=0)
    return file.getvalue()


def _content(picture: Picture) -> bytes:
    """What tells a picture from others."""
    if isinstance(picture, Path):
        return pictures.read(picture)
    return f"{picture.shape}".encode() + picture.tobytes()


def _features(
    found: Sequence[Picture],
    looks: Sequence[Look],
    size: int,
    state: Path,
    on_progress: Callable[[int, int], None] | None,
) -> NDArray[np.float32]:
    """Features of pictures as they look; worked out once, and kept."""
    key = hashlib.sha256(f"{backbone(DEFAULT_BACKBONE).compiled_sha256}/{size}".encode())
    for picture, look in zip(found, looks, strict=True):
        key.update(_content(picture) if look == AS_IT_IS else _content(picture) + repr(look).encode())
    kept = state / "simulation" / "features" / f"{key.hexdigest()[:32]}.npy"
    x = _kept(kept, len(found))
    if x is None:
        x = _worked_out(found, looks, size, state, on_progress)
        _keep(kept, x)
    return x


def _worked_out(
    found: Sequence[Picture],
    looks: Sequence[Look],
    size: int,
    state: Path,
    on_progress: Callable[[int, int], None] | None,
) -> NDArray[np.float32]:
    from fanlight.learning.features import FeatureExtractor

    extractor = FeatureExtractor(compile_backbone(DEFAULT_BACKBONE, state / "backbones"), size, threads=2)
    batch, rows = 8, []
    for start in range(0, len(found), batch):
        some = zip(found[start : start + batch], looks[start : start + batch], strict=True)
        loaded = [look.applied(pictures.load(_bytes_of(each), size)) for each, look in some]
        rows.append(extractor.run(np.stack(loaded)))
        if on_progress is not None:
            on_progress(start + len(loaded), len(found))
    return np.concatenate(rows)


def _kept(path: Path, count: int) -> NDArray[np.float32] | None:
    try:
        found: NDArray[np.float32] = np.load(path, allow_pickle=False)
    except (OSError, ValueError):
        return None
    return found if found.dtype == np.float32 and found.ndim == 2 and len(found) == count else None


def _keep(path: Path, x: NDArray[np.float32]) -> None:
    file = io.BytesIO()
    np.save(file, x, allow_pickle=False)
    try:
        write_atomically(path, file.getvalue(), durable=False)
    except OSError as error:
        raise from_os_error(error, str(path.parent)) from error


def _pixels(found: Sequence[Picture], size: int) -> NDArray[np.float32]:
    """Grey pictures stay grey if they need no other size."""
    if not size and all(isinstance(each, np.ndarray) for each in found):
        arrays = [each for each in found if isinstance(each, np.ndarray)]
        if len({each.shape for each in arrays}) != 1:
            raise DataError(_PIXELS_ALIKE, next="Set picture_size.")
        stacked = np.stack(arrays)
        channelled = stacked[:, None] if stacked.ndim == 3 else stacked.transpose(0, 3, 1, 2)
    else:
        if not size:
            raise DataError(_PIXELS_ALIKE, next="Set picture_size.")
        channelled = np.stack([pictures.load(_bytes_of(each), size) for each in found]).transpose(0, 3, 1, 2)
    return np.ascontiguousarray(channelled, np.float32) / np.float32(255)
