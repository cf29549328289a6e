"""Pictures to standardised feature vectors, each picture once.

Standardisation by the backbone's fixed statistics is part of the compiled graph (see ``efficientnet_lite0``), so what
is cached and returned is standardised, and the backbone's digest says with which statistics.

Memory grows with the batch (148 MB of process at 8 pictures of 128 px, 461 MB at 64) while speed hardly does, hence
small batches; on threads of its own, decoding runs ahead and the cache is written behind while the backbone works.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from fanlight.learning import pictures
from fanlight.learning.backbones import CompiledBackbone
from fanlight.learning.feature_cache import FeatureCache, Features
from fanlight.learning.inverted_bottlenecks import FEATURES_OUTPUT, INPUT

Pixels = NDArray[np.uint8]
Progress = Callable[[int, int], None]

_BATCHES_AHEAD = 2
_BATCHES_BEHIND = 2


def _ignore(done: int, total: int) -> None:
    """The ``on_progress`` of those who do not watch."""


def open_session(graph: bytes, threads: int) -> ort.InferenceSession:
    """A session on the CPU whose idle threads sleep: spinning halves the throughput where cores are shared."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return ort.InferenceSession(graph, options, providers=["CPUExecutionProvider"])


class FeatureExtractor:
    """Turns pictures into features with one backbone at one size. Safe to share between threads once warm.

    Args:
        backbone: the compiled backbone.
        size: side length in pixels to which pictures are brought, >= 32.
        cache: where vectors are kept; None keeps none.
        threads: threads that compute, >= 1; as many decode pictures.
        batch: pictures that go through the backbone at once, >= 1.
    """

    def __init__(
        self,
        backbone: CompiledBackbone,
        size: int,
        cache: FeatureCache | None = None,
        *,
        threads: int = 1,
        batch: int = 8,
    ) -> None:
        if size < 32 or threads < 1 or batch < 1:
            raise ValueError(f"out of range: size {size}, threads {threads}, batch {batch}")
        self.backbone = backbone
        self.size = size
        self._cache = cache
        self._threads = threads
        self._batch = batch

    def extract(self, paths: Sequence[Path], on_progress: Progress | None = None) -> Features:
        """Features of the pictures, in their order.

        Args:
            paths: n picture files.
            on_progress: called with (pictures done, n), at least once, with rising numbers.

        Returns:
            (n, features) float32, standardised.

        Raises:
            PictureError: a picture cannot be used; those before it are in the cache already.
            ModelError: the compiled backbone is damaged.
            StorageError: the cache cannot be written.
        """
        report = on_progress or _ignore
        rows = np.empty((len(paths), self.backbone.features), np.float32)
        missing = [i for i, path in enumerate(paths) if not self._fill(rows, i, path)]
        done = len(paths) - len(missing)
        report(done, len(paths))
        with ThreadPoolExecutor(self._threads, "pictures") as pool:
            behind: deque[Future[None]] = deque()
            for batch in self._decode(pool, paths, missing):
                features = self.run(np.stack([picture.pixels for picture in batch]))
                rows[[picture.index for picture in batch]] = features
                behind.append(pool.submit(self._keep, batch, features))
                if len(behind) > _BATCHES_BEHIND:
                    behind.popleft().result()
                done += len(batch)
                report(done, len(paths))
            for kept in behind:
                kept.result()
        return rows

    def run(self, pixels: Pixels) -> Features:
        """Features of decoded pictures, past the cache: (n, H, W, 3) uint8 RGB to (n, features) float32."""
        output: Features = self._session.run([FEATURES_OUTPUT], {INPUT: pixels})[0]
        return output

    @cached_property
    def _session(self) -> ort.InferenceSession:
        """Opened late: with every picture in the cache, no memory is spent on the backbone."""
        return open_session(self.backbone.read(), self._threads)

    def _fill(self, rows: Features, i: int, path: Path) -> bool:
        vector = self._cache.get(pictures.content_hash(path)) if self._cache else None
        if vector is None:
            return False
        rows[i] = vector
        return True

    def _keep(self, batch: Sequence[_Decoded], features: Features) -> None:
        if self._cache:
            for picture, vector in zip(batch, features, strict=True):
                self._cache.put(picture.content, vector)

    def _decode(
        self, pool: ThreadPoolExecutor, paths: Sequence[Path], missing: Sequence[int]
    ) -> Iterator[list[_Decoded]]:
        """Batches of the missing pictures, decoded a bounded way ahead of their use."""
        ahead: deque[list[Future[_Decoded]]] = deque()
        for start in range(0, len(missing), self._batch):
            batch = missing[start : start + self._batch]
            ahead.append([pool.submit(_decode, i, paths[i], self.size) for i in batch])
            if len(ahead) > _BATCHES_AHEAD:
                yield [future.result() for future in ahead.popleft()]
        while ahead:
            yield [future.result() for future in ahead.popleft()]


@dataclass(frozen=True)
class _Decoded:
    index: int
    content: str
    pixels: Pixels


def _decode(index: int, path: Path, size: int) -> _Decoded:
    """Reads the file once, so that features are kept under the hash of the very bytes they were made from."""
    data = pictures.read(path)
    return _Decoded(index, pictures.content_hash(data), pictures.load(data, size, name=str(path)))
