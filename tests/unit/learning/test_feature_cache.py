from __future__ import annotations

import resource
import signal
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fanlight.errors import StorageError
from fanlight.learning.feature_cache import FeatureCache

ONE, OTHER = "1" * 64, "1" * 63 + "2"
VECTOR = np.array([1.5, -2.25, 0, 1e-8], np.float32)


@pytest.fixture
def cache(tmp_path: Path) -> FeatureCache:
    return FeatureCache(tmp_path / "cache", "b" * 64, 128, 4)


def entry(cache: FeatureCache) -> Path:
    (path,) = [path for path in cache.folder.rglob("*") if path.is_file()]
    return path


def test_what_was_put_is_got_bit_for_bit(cache: FeatureCache) -> None:
    assert cache.get(ONE) is None
    cache.put(ONE, VECTOR)
    found = cache.get(ONE)
    assert found is not None
    assert found.tobytes() == VECTOR.tobytes()
    assert cache.get(OTHER) is None


def test_the_last_put_counts(cache: FeatureCache) -> None:
    cache.put(ONE, VECTOR)
    cache.put(ONE, VECTOR * 2)
    np.testing.assert_array_equal(cache.get(ONE), VECTOR * 2)


def test_other_backbones_and_sizes_have_other_entries(cache: FeatureCache) -> None:
    cache.put(ONE, VECTOR)
    assert replace(cache, size=96).get(ONE) is None
    assert replace(cache, backbone_sha256="c" * 64).get(ONE) is None
    assert replace(cache, backbone_sha256="b" * 63 + "c").get(ONE) is None
    assert replace(cache, features=5).get(ONE) is None


def test_an_entry_under_another_name_is_no_entry(cache: FeatureCache) -> None:
    cache.put(ONE, VECTOR)
    path = entry(cache)
    path.rename(path.with_name(OTHER[2:]))
    assert cache.get(OTHER) is None


@given(position=st.integers(0, 47), bit=st.integers(0, 7))
def test_every_flipped_bit_is_noticed(position: int, bit: int, tmp_path_factory: pytest.TempPathFactory) -> None:
    cache = FeatureCache(tmp_path_factory.mktemp("cache"), "b" * 64, 128, 4)
    cache.put(ONE, VECTOR)
    path = entry(cache)
    data = bytearray(path.read_bytes())
    assert len(data) == 48
    data[position] ^= 1 << bit
    path.write_bytes(data)
    assert cache.get(ONE) is None


@pytest.mark.parametrize("length", [0, 31, 32, 47, 49, 10**6])
def test_entries_of_another_length_are_absent_and_can_be_written_again(length: int, cache: FeatureCache) -> None:
    cache.put(ONE, VECTOR)
    path = entry(cache)
    path.write_bytes((path.read_bytes() * (length // 48 + 1))[:length])
    assert cache.get(ONE) is None
    cache.put(ONE, VECTOR)
    np.testing.assert_array_equal(cache.get(ONE), VECTOR)


def test_files_and_folders_are_the_owner_s_alone(cache: FeatureCache) -> None:
    cache.put(ONE, VECTOR)
    for path in [cache.folder, *cache.folder.rglob("*")]:
        assert path.stat().st_mode & 0o077 == 0, path


@pytest.mark.parametrize("content", ["", "../" + "1" * 61, "1" * 63 + "\n", "A" * 64, "1" * 65])
def test_only_content_hashes_name_entries(content: str, cache: FeatureCache) -> None:
    with pytest.raises(ValueError, match="not a content hash"):
        cache.get(content)
    with pytest.raises(ValueError, match="not a content hash"):
        cache.put(content, VECTOR)


def test_a_disk_that_refuses_is_a_storage_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StorageError, match="File exists"):
        FeatureCache(tmp_path / "file", "b" * 64, 128, 4).put(ONE, VECTOR)


def test_a_full_disk_is_called_so_with_what_to_do(cache: FeatureCache) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10, hard))
    try:
        with pytest.raises(StorageError) as caught:
            cache.put(ONE, VECTOR)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, before)
    assert caught.value.slug == "disk-full"
    assert "Free some space" in caught.value.next
