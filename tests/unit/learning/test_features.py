from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from fanlight.errors import ModelError, PictureError, StorageError
from fanlight.learning import pictures
from fanlight.learning.augmentation import vary
from fanlight.learning.augmentation_settings import Augmentation
from fanlight.learning.backbones import CompiledBackbone, compile_backbone
from fanlight.learning.feature_cache import FeatureCache, forget_features
from fanlight.learning.features import FeatureExtractor, Sights
from tests.unit.learning import backbone_reference

SIZE = 64


@pytest.fixture(scope="module")
def backbone(tmp_path_factory: pytest.TempPathFactory) -> CompiledBackbone:
    return compile_backbone("efficientnet-lite0", tmp_path_factory.mktemp("backbone"))


@pytest.fixture
def cache(tmp_path: Path, backbone: CompiledBackbone) -> FeatureCache:
    return FeatureCache(tmp_path / "cache", backbone.sha256, SIZE, backbone.features)


@pytest.fixture
def photos(tmp_path: Path) -> list[Path]:
    """Five pictures of the extractor's size, all different."""
    ring, board = backbone_reference.draw(SIZE)
    variants = [ring, board, ring[::-1], board[:, ::-1] // 2, 255 - ring]
    paths = [tmp_path / f"{i}.png" for i in range(len(variants))]
    for path, pixels in zip(paths, variants, strict=True):
        Image.fromarray(np.ascontiguousarray(pixels)).save(path)
    return paths


class Counting(FeatureExtractor):
    """Notes the sizes of the batches that go through the backbone."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.batches: list[int] = []

    def run(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        self.batches.append(len(pixels))
        return super().run(pixels)


def test_rows_are_the_pictures_in_their_order(backbone: CompiledBackbone, photos: list[Path]) -> None:
    extractor = Counting(backbone, SIZE, batch=2, threads=2)
    rows = extractor.extract(photos)
    assert rows.shape == (5, 1280)
    assert rows.dtype == np.float32
    assert extractor.batches == [2, 2, 1]
    for path, row in zip(photos, rows, strict=True):
        np.testing.assert_allclose(extractor.run(np.asarray(Image.open(path))[None])[0], row, atol=1e-3)
    assert np.abs(rows[0] - rows[1]).max() > 0.1


def test_what_is_in_the_cache_is_not_computed_again(
    backbone: CompiledBackbone, cache: FeatureCache, photos: list[Path]
) -> None:
    first = Counting(backbone, SIZE, cache).extract(photos[:3])
    extractor = Counting(backbone, SIZE, cache)
    again = extractor.extract([photos[4], *photos[:3]])
    assert extractor.batches == [1]
    np.testing.assert_array_equal(again[1:], first)


def test_a_full_cache_needs_no_backbone_at_all(
    backbone: CompiledBackbone, cache: FeatureCache, photos: list[Path]
) -> None:
    rows = FeatureExtractor(backbone, SIZE, cache).extract(photos)
    gone = CompiledBackbone(backbone.id, Path("/nowhere"), backbone.size, backbone.sha256, backbone.features)
    np.testing.assert_array_equal(FeatureExtractor(gone, SIZE, cache).extract(photos), rows)
    with pytest.raises(ModelError, match="nowhere"):
        FeatureExtractor(gone, SIZE).extract(photos)


def test_damaged_entries_are_computed_again(
    backbone: CompiledBackbone, cache: FeatureCache, photos: list[Path]
) -> None:
    rows = FeatureExtractor(backbone, SIZE, cache).extract(photos)
    for path in cache.folder.rglob("*"):
        if path.is_file():
            path.write_bytes(b"\0" * path.stat().st_size)
    extractor = Counting(backbone, SIZE, cache)
    np.testing.assert_array_equal(extractor.extract(photos), rows)
    assert sum(extractor.batches) == len(photos)


def test_a_changed_picture_gets_new_features(
    backbone: CompiledBackbone, cache: FeatureCache, photos: list[Path]
) -> None:
    extractor = FeatureExtractor(backbone, SIZE, cache)
    before = extractor.extract(photos[:1])
    photos[0].write_bytes(photos[1].read_bytes())
    after = extractor.extract(photos[:2])
    assert np.abs(after[0] - before[0]).max() > 0.1
    np.testing.assert_allclose(after[0], after[1], atol=1e-3)


def test_progress_rises_from_what_was_cached_to_all(
    backbone: CompiledBackbone, cache: FeatureCache, photos: list[Path]
) -> None:
    FeatureExtractor(backbone, SIZE, cache).extract(photos[:1])
    seen: list[tuple[int, int]] = []
    FeatureExtractor(backbone, SIZE, cache, batch=2).extract(photos, lambda done, total: seen.append((done, total)))
    assert seen == [(1, 5), (3, 5), (5, 5)]


def test_no_pictures_are_no_rows(backbone: CompiledBackbone) -> None:
    seen: list[tuple[int, int]] = []
    rows = FeatureExtractor(backbone, SIZE).extract([], lambda done, total: seen.append((done, total)))
    assert rows.shape == (0, 1280)
    assert seen == [(0, 0)]


@pytest.mark.parametrize("cached", [True, False])
def test_a_bad_picture_is_named_and_the_good_ones_before_it_stay_cached(
    cached: bool, backbone: CompiledBackbone, cache: FeatureCache, photos: list[Path], tmp_path: Path
) -> None:
    bad = tmp_path / "bad.jpg"
    bad.write_bytes(b"no picture")
    with pytest.raises(PictureError, match=r"bad\.jpg"):
        FeatureExtractor(backbone, SIZE, cache if cached else None, batch=1).extract([*photos[:2], bad, *photos[2:]])
    kept = sum(path.is_file() for path in cache.folder.rglob("*"))
    assert kept == (2 if cached else 0)


@pytest.mark.parametrize("count", [1, 5])
def test_a_cache_that_cannot_be_written_is_a_storage_error(
    count: int, backbone: CompiledBackbone, photos: list[Path], tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("in the way")
    cache = FeatureCache(tmp_path / "file", backbone.sha256, SIZE, backbone.features)
    with pytest.raises(StorageError):
        FeatureExtractor(backbone, SIZE, cache, batch=1).extract(photos[:count])


def test_features_are_kept_under_the_hash_of_the_bytes_they_came_from(
    backbone: CompiledBackbone, cache: FeatureCache, photos: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A picture that is replaced between hashing and decoding must not leave wrong features under the old hash."""
    hash_now = pictures.content_hash

    def hash_then_replace(source: Path | bytes, **named: Any) -> str:
        content: str = hash_now(source, **named)
        if isinstance(source, Path):
            source.write_bytes(photos[1].read_bytes())
        return content

    old = hash_now(photos[0])
    monkeypatch.setattr(pictures, "content_hash", hash_then_replace)
    FeatureExtractor(backbone, SIZE, cache).extract(photos[:1])
    assert cache.get(old) is None
    assert cache.get(hash_now(photos[1])) is not None


def test_a_damaged_backbone_is_not_run(backbone: CompiledBackbone, photos: list[Path], tmp_path: Path) -> None:
    path = tmp_path / "backbone.onnx"
    path.write_bytes(backbone.read()[:-1] + b"\xff")
    other = CompiledBackbone(backbone.id, path, backbone.size, backbone.sha256, backbone.features)
    with pytest.raises(ModelError, match="damaged"):
        FeatureExtractor(other, SIZE).extract(photos)


@pytest.mark.parametrize(("size", "threads", "batch"), [(31, 1, 8), (64, 0, 8), (64, 1, 0)])
def test_settings_out_of_range(size: int, threads: int, batch: int, backbone: CompiledBackbone) -> None:
    with pytest.raises(ValueError, match="out of range"):
        FeatureExtractor(backbone, size, threads=threads, batch=batch)


def test_features_need_no_torch() -> None:
    program = "import sys, fanlight.learning.inference; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


HOW = Augmentation(3, flip=True, zoom_percent=20)


def test_variants_stand_behind_their_picture_and_are_computed_once(
    backbone: CompiledBackbone, cache: FeatureCache, photos: list[Path]
) -> None:
    wanted = [Sights(photos[0], 3), Sights(photos[1]), Sights(photos[2], 1)]
    seen: list[tuple[int, int]] = []
    extractor = Counting(backbone, SIZE, cache, batch=4)
    extractor.extract(photos[:1])
    rows = extractor.extract_sights(wanted, lambda done, total: seen.append((done, total)), augmentation=HOW)
    assert rows.shape == (4 + 1 + 2, 1280)
    assert seen == [(1, 7), (5, 7), (7, 7)], "variants are counted, and the picture that was known"
    np.testing.assert_allclose(rows[[0, 4, 5]], FeatureExtractor(backbone, SIZE).extract(photos[:3]), atol=1e-3)
    data = photos[0].read_bytes()
    varied = vary(data, pictures.content_hash(data), HOW, SIZE, range(3))
    np.testing.assert_allclose(rows[1:4], extractor.run(varied), atol=1e-3)
    extractor.batches.clear()
    np.testing.assert_array_equal(extractor.extract_sights(wanted, augmentation=HOW), rows)
    more = extractor.extract_sights([Sights(photos[0], 4)], augmentation=Augmentation(4, flip=True, zoom_percent=20))
    np.testing.assert_array_equal(more[:4], rows[:4])
    assert extractor.batches == [1], "the fourth variant alone"
    other = Augmentation(3, flip=True, zoom_percent=21)
    assert np.abs(extractor.extract_sights([Sights(photos[0], 3)], augmentation=other)[1:] - rows[1:4]).max() > 0.01


def test_more_variants_than_a_batch_takes_go_through_in_pieces(backbone: CompiledBackbone, photos: list[Path]) -> None:
    extractor = Counting(backbone, SIZE, batch=2)
    rows = extractor.extract_sights([Sights(photos[0], 4), Sights(photos[1])], augmentation=HOW)
    assert extractor.batches == [2, 2, 2]
    whole = Counting(backbone, SIZE).extract_sights([Sights(photos[0], 4), Sights(photos[1])], augmentation=HOW)
    np.testing.assert_allclose(rows, whole, atol=1e-3)


def test_with_its_picture_all_that_was_kept_of_variants_goes(
    backbone: CompiledBackbone, cache: FeatureCache, photos: list[Path]
) -> None:
    FeatureExtractor(backbone, SIZE, cache).extract_sights([Sights(photos[0], 3)], augmentation=HOW)
    assert sum(path.is_file() for path in cache.folder.rglob("*")) == 4
    forget_features(cache.folder, pictures.content_hash(photos[0]))
    assert not any(path.is_file() for path in cache.folder.rglob("*"))
