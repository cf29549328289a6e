"""Ask the current global model about pictures without a label; nothing of that leaves the device."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from fanlight.errors import PictureError
from fanlight.learning.backbones import CompiledBackbone
from fanlight.learning.inference import Prediction, Predictor
from fanlight.learning.model_file import HeadModel
from fanlight.services.device import made

Predict = Callable[[Path], Prediction | None]
"""What a picture shows; None if it cannot be used."""


def predictor(model: HeadModel, backbone: CompiledBackbone, state: Path, threads: int) -> Predict:
    """A model ready to be asked; its features go to the same cache as training's.

    Args:
        model: the head. backbone: what it was trained on.
        state: the device's state folder.
        threads: that compute.

    Raises:
        ModelError: model and backbone do not fit.
    """
    asked = Predictor(model, made.model_features(state, model, backbone, threads=threads))

    def predict(path: Path) -> Prediction | None:
        try:
            return asked.predict(path)
        except PictureError:  # gone or damaged since it was measured: the next reading says so
            return None

    return predict


def pieces(paths: Sequence[str], size: int = 16) -> list[Sequence[str]]:
    """Some at a time, so that what is found is kept even if the process ends."""
    return [paths[start : start + size] for start in range(0, len(paths), size)]
