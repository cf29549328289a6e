"""Pictures to standardised feature vectors, each picture once.

Standardisation by the backbone's fixed statistics is part of the compiled graph (see ``efficientnet_lite0``), so what
is cached and returned is standardised, and the backbone's digest says with which statistics.

Memory grows with the batch (148 MB of process at 8 pictures of 128 px, 461 MB at 64) while speed hardly does, hence
small batches; on threads of its own, decoding runs ahead and the cache is written behind while the backbone works.

A training picture may be wanted with variants (``augmentation``): its file is read once for all of them, and each has
its own entry in the cache, so that a picture without variants costs what it always did.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from fanlight.learning import pictures
from fanlight.learning.augmentation import vary
from fanlight.learning.augmentation_settings import Augmentation
from fanlight.learning.backbones import Runnable
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
        backbone: what turns pictures into features.
        size: side length in pixels to which pictures are brought, >= 32.
        cache: where vectors are kept; None keeps none.
        threads: threads that compute, >= 1; as many decode pictures.
        batch: pictures that go through the backbone at once, >= 1.
    """

    def __init__(
        self,
        backbone: Runnable,
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
        return self.extract_sights([Sights(path) for path in paths], on_progress)

    def extract_sights(
        self,
        wanted: Sequence[Sights],
        on_progress: Progress | None = None,
        *,
        augmentation: Augmentation | None = None,
    ) -> Features:
        """Features of pictures and of their variants; the rest as in ``extract``.

        Args:
            wanted: n pictures.
            on_progress: variants are counted, too.
            augmentation: how pictures are varied, if any are.

        Returns:
            (sum of 1 + variants, features): each picture, its variants behind it.
        """
        report = on_progress or _ignore
        starts = np.cumsum([0, *(1 + sights.variants for sights in wanted)]).tolist()
        rows = np.empty((starts[-1], self.backbone.features), np.float32)
        missing = [
            task
            for sights, start in zip(wanted, starts, strict=False)
            if (task := self._fill(rows, start, sights, augmentation)).numbers
        ]
        done = starts[-1] - sum(len(task.numbers) for task in missing)
        report(done, starts[-1])
        with ThreadPoolExecutor(self._threads, "pictures") as pool:
            behind: deque[Future[None]] = deque()
            for batch in self._decode(pool, missing, augmentation):
                features = self.run(np.concatenate([decoded.pixels for decoded in batch]))
                rows[[row for decoded in batch for row in decoded.rows]] = features
                behind.append(pool.submit(self._keep, batch, features, augmentation))
                if len(behind) > _BATCHES_BEHIND:
                    behind.popleft().result()
                done += len(features)
                report(done, starts[-1])
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

    def _fill(self, rows: Features, start: int, sights: Sights, augmentation: Augmentation | None) -> _Task:
        """Take what is kept; what is not is left to do."""
        content = pictures.content_hash(sights.path) if self._cache else ""
        missing = []
        for number in range(1 + sights.variants):
            cache = self._cache_of(number, augmentation)
            vector = cache.get(content) if cache else None
            if vector is None:
                missing.append(number)
            else:
                rows[start + number] = vector
        return _Task(sights.path, start, tuple(missing))

    def _cache_of(self, number: int, augmentation: Augmentation | None) -> FeatureCache | None:
        """Where features of pictures are kept (0), or of their variants."""
        if self._cache is None or number == 0:
            return self._cache
        assert augmentation is not None
        return replace(self._cache, variant=f"{augmentation.id}-{number - 1}")

    def _keep(self, batch: Sequence[_Decoded], features: Features, augmentation: Augmentation | None) -> None:
        made = iter(features)
        for decoded in batch:
            for number, vector in zip(decoded.numbers, made, strict=False):
                if cache := self._cache_of(number, augmentation):
                    cache.put(decoded.content, vector)

    def _decode(
        self, pool: ThreadPoolExecutor, tasks: Sequence[_Task], augmentation: Augmentation | None
    ) -> Iterator[list[_Decoded]]:
        """Batches of what is missing, decoded a bounded way ahead of its use."""
        ahead: deque[list[Future[_Decoded]]] = deque()
        for batch in _batches(tasks, self._batch):
            ahead.append([pool.submit(_decode, task, self.size, augmentation) for task in batch])
            if len(ahead) > _BATCHES_AHEAD:
                yield [future.result() for future in ahead.popleft()]
        while ahead:
            yield [future.result() for future in ahead.popleft()]


@dataclass(frozen=True)
class Sights:
    """A picture file, wanted as it is and in so many variants."""

    path: Path
    variants: int = 0


@dataclass(frozen=True)
class _Task:
    """What is missing of a picture whose rows begin at ``start``: 0 is the picture itself, k its variant k - 1."""

    path: Path
    start: int
    numbers: tuple[int, ...]


@dataclass(frozen=True)
class _Decoded:
    content: str
    numbers: tuple[int, ...]
    rows: list[int]
    pixels: Pixels


def _batches(tasks: Sequence[_Task], most: int) -> Iterator[list[_Task]]:
    """Tasks of at most ``most`` squares together; one of more is cut up."""
    batch: list[_Task] = []
    for task in tasks:
        left = task.numbers
        while left:
            room = most - sum(len(taken.numbers) for taken in batch)
            if room == 0 or (batch and len(left) > room):  # a file is read once, if it can be
                yield batch
                batch = []
                continue
            batch.append(replace(task, numbers=left[:room]))
            left = left[room:]
    if batch:
        yield batch


def _decode(task: _Task, size: int, augmentation: Augmentation | None) -> _Decoded:
    """Reads the file once, so that features are kept under the hash of the very bytes they were made from."""
    data = pictures.read(task.path)
    content = pictures.content_hash(data)
    rows = [task.start + number for number in task.numbers]
    squares = []
    if 0 in task.numbers:
        squares.append(pictures.load(data, size, name=str(task.path))[np.newaxis])
    if varied := [number - 1 for number in task.numbers if number]:
        assert augmentation is not None
        squares.append(vary(data, content, augmentation, size, varied, name=str(task.path)))
    return _Decoded(content, task.numbers, rows, np.concatenate(squares))
