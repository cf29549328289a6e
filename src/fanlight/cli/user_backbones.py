"""Compiled backbones of the person at the terminal, kept between commands."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from fanlight.errors import ModelError

if TYPE_CHECKING:
    from fanlight.learning.backbones import CompiledBackbone
    from fanlight.learning.model_file import HeadModel


def compiled_backbone(model: HeadModel) -> CompiledBackbone:
    """The backbone that a model was trained on; made at the first time.

    Raises:
        ModelError: this program has another one of that name, or cannot make it. SettingsError: none of that name.
        StorageError: it cannot be kept.
    """
    from fanlight.learning.backbones import backbone, compile_backbone

    if model.backbone_sha256 != backbone(model.backbone_id).compiled_sha256:
        raise ModelError(
            f"The model was trained on another {model.backbone_id} ({model.backbone_sha256[:16]}) than this one.",
            next="Use the Fanlight version that the model comes from.",
        )
    return compile_backbone(model.backbone_id, _cache_folder() / "backbones")


def _cache_folder() -> Path:
    """Where what can be made again is kept for this user (XDG base directories; ``~/Library/Caches`` on macOS)."""
    if named := os.environ.get("XDG_CACHE_HOME"):
        return Path(named) / "fanlight"
    return Path.home() / ("Library/Caches" if sys.platform == "darwin" else ".cache") / "fanlight"
