"""What a picture shows, by a trained head on a backbone's features."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from fanlight.errors import ModelError
from fanlight.learning.backbones import Runnable
from fanlight.learning.heads import Floats, softmax
from fanlight.learning.home_model import Certainty, HomeModel
from fanlight.learning.model_file import HeadModel


@dataclass(frozen=True)
class Prediction:
    """The likeliest class, its probability, and all classes' probabilities in the model's order (they sum to 1).

    ``certainty``: may it be something that the home whose head this is has no pictures of? None if nothing was checked.
    """

    label: str
    confidence: float
    scores: Mapping[str, float]
    certainty: Certainty | None = None


class Extractor(Protocol):
    """What turns pictures into features, with which backbone and at which size; see ``features.FeatureExtractor``."""

    backbone: Runnable
    size: int

    def extract(self, paths: Sequence[Path]) -> Floats:
        """(n, features) of n pictures."""
        ...


class Predictor:
    """A head joined to the very backbone and picture size that it was trained on.

    Args:
        model: the head.
        extractor: the backbone.
        home: whose head it is, if it is one that tells strangers.

    Raises:
        ModelError: the extractor's backbone picture size or number of features is not the model's.
    """

    def __init__(self, model: HeadModel, extractor: Extractor, home: HomeModel | None = None) -> None:
        found = extractor.backbone.base_sha256, extractor.backbone.tuned_sha256
        if found != (model.backbone_sha256, model.tuned_sha256):
            raise ModelError(
                f"the model was trained on backbone {model.backbone_id} {model.backbone_sha256[:16]}, "
                f"this is {extractor.backbone.id} {extractor.backbone.base_sha256[:16]}, or learned otherwise",
                next="Install the Fanlight version that the model comes from.",
            )
        if extractor.size != model.picture_size:
            raise ModelError(f"the model reads pictures of {model.picture_size} px, not {extractor.size}")
        if model.weight.shape[0] != extractor.backbone.features:
            raise ModelError(f"the model reads {model.weight.shape[0]} features, not {extractor.backbone.features}")
        self._model = model
        self._classes = model.classes
        self._extractor = extractor
        self._home = home

    def predict(self, path: Path) -> Prediction:
        """What the picture at ``path`` shows.

        Raises:
            PictureError: the picture cannot be used.
        """
        features = self._extractor.extract([path])
        probabilities = softmax(self._model.head.logits(self._model.read(features)))[0].tolist()
        scores = dict(zip(self._classes, probabilities, strict=True))
        label = max(scores, key=scores.__getitem__)
        certainty = self._home.certainties(features)[0] if self._home else None
        return Prediction(label, scores[label], scores, certainty)
