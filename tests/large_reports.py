"""Models as large as a test wants them: the backbone's entry in the registry gets more features, and no graph."""

from __future__ import annotations

import dataclasses
from types import MappingProxyType

import pytest

from fanlight.learning import backbones

MANY_CLASSES = tuple(f"class {number:03}" for number in range(200))


def give_features(monkeypatch: pytest.MonkeyPatch, features: int) -> None:
    """Let the default backbone have so many ``features``: with 200 classes, each is 800 bytes of a report."""
    entry = backbones.BACKBONES[backbones.DEFAULT_BACKBONE]
    larger = {**backbones.BACKBONES, entry.id: dataclasses.replace(entry, features=features)}
    monkeypatch.setattr(backbones, "BACKBONES", MappingProxyType(larger))
