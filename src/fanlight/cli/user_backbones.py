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


def compiled_backbone(model: HeadModel, role: Path | None = None) -> CompiledBackbone:
    """The backbone that a model was trained on; made at the first time.

    Args:
        model: whose.
        role: the state folder that the model comes from, which has a backbone that is not the registry's.

    Raises:
        ModelError: this program cannot make it, and it is not there. StorageError: it cannot be kept.
    """
    from fanlight.learning.backbones import BACKBONES, compile_backbone, kept_backbone
    from fanlight.services.federation import BACKBONES_FOLDER

    entry = BACKBONES.get(model.backbone_id)
    if entry is not None and entry.compiled_sha256 == model.backbone_sha256:
        return compile_backbone(model.backbone_id, _cache_folder() / "backbones")
    folder = (role or Path()) / BACKBONES_FOLDER
    kept = kept_backbone(model.backbone_id, model.backbone_sha256, model.weight.shape[0], folder)
    if kept.path.is_file():
        return kept
    which = "another" if entry is not None else "the backbone"
    raise ModelError(
        f"The model was trained on {which} {model.backbone_id} ({model.backbone_sha256[:16]}), which is not here.",
        next="Use the Fanlight version that the model comes from; or name, by --state, a role that has this backbone.",
    )


def _cache_folder() -> Path:
    """Where what can be made again is kept for this user (XDG base directories; ``~/Library/Caches`` on macOS)."""
    if named := os.environ.get("XDG_CACHE_HOME"):
        return Path(named) / "fanlight"
    return Path.home() / ("Library/Caches" if sys.platform == "darwin" else ".cache") / "fanlight"
