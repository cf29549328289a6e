"""What a backbone that has learned says of pictures whose activations at the cut are kept.

The front stays the same from version to version, so a picture goes through it once, and what is kept of pictures is
known by the front's hash; what comes of the tail belongs to one version and is worked out anew.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
import onnxruntime as ort

from fanlight.learning.backbones import Runnable
from fanlight.learning.feature_cache import FeatureCache, Features
from fanlight.learning.features import FeatureExtractor, open_session
from fanlight.learning.inverted_bottlenecks import FEATURES_OUTPUT
from fanlight.learning.model_file import HeadModel
from fanlight.learning.tuned_backbone import ACTIVATIONS, Cut, Tensors, backbone_of, cut_of

_BATCH = 32


class Tail:
    """The part of a backbone behind the cut, with the tensors of one model.

    Args:
        cut: the backbone.
        tensors: that learn, see ``Cut.check``.
        size: pictures' side in pixels.
        threads: that compute.

    Raises:
        ModelError: the tensors are not those of the cut.
    """

    def __init__(self, cut: Cut, tensors: Tensors, size: int, *, threads: int = 1) -> None:
        cut.check(tensors)
        self._shape = cut.shape(size)
        self._features = cut.features
        self._graph = cut.tail_graph(tensors)
        self._threads = threads

    def run(self, rows: Features) -> Features:
        """Activations, (n, C·h·w) float32, to (n, features) float32."""
        found = np.empty((len(rows), self._features), np.float32)
        for first in range(0, len(rows), _BATCH):
            batch = rows[first : first + _BATCH].reshape(-1, *self._shape)
            found[first : first + _BATCH] = self._session.run([FEATURES_OUTPUT], {ACTIVATIONS: batch})[0]
        return found

    @cached_property
    def _session(self) -> ort.InferenceSession:
        return open_session(self._graph, self._threads)


class TunedExtractor:
    """Features of a model whose backbone has learned; activations at the cut are kept in a cache.

    Args:
        model: whose tensors. compiled: the backbone that they are of.
        folder: root of the cache.
        threads, batch: see ``features.FeatureExtractor``.

    Raises:
        ModelError: the backbone is damaged, or is another one.
    """

    def __init__(self, model: HeadModel, compiled: Runnable, folder: Path, *, threads: int = 1, batch: int = 8) -> None:
        cut, self.size = cut_of(compiled, model.tuned), model.picture_size
        self.backbone = backbone_of(model, compiled)
        front = cut.front(self.size)
        self._cache = FeatureCache(folder, front.sha256, self.size, front.features)
        self._front = FeatureExtractor(front, self.size, self._cache, threads=threads, batch=batch)
        self._tail = Tail(cut, model.tuned, self.size, threads=threads)

    def extract(self, paths: Sequence[Path]) -> Features:
        """(n, features) of n pictures; errors as in ``FeatureExtractor.extract``."""
        return self._tail.run(self._front.extract(paths))

    def get(self, content: str) -> Features | None:
        """The features of a picture by its content hash; None if its activations are not kept."""
        row = self._cache.get(content)
        found: Features | None = None if row is None else self._tail.run(row[None])[0]
        return found
