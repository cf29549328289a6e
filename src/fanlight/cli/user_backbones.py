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
    from fanlight.learning.backbones import BACKBONES, kept_backbone
    from fanlight.services.federation import BACKBONES_FOLDER

    entry = BACKBONES.get(model.backbone_id)
    if entry is not None and entry.compiled_sha256 == model.backbone_sha256:
        return made_here(entry.id)
    folder = (role or Path()) / BACKBONES_FOLDER
    kept = kept_backbone(model.backbone_id, model.backbone_sha256, model.weight.shape[0], folder)
    if kept.path.is_file():
        return kept
    which = "another" if entry is not None else "the backbone"
    raise ModelError(
        f"The model was trained on {which} {model.backbone_id} ({model.backbone_sha256[:16]}), which is not here.",
        next="Use the Fanlight version that the model comes from; or name, by --state, a role that has this backbone.",
    )


def made_here(backbone_id: str) -> CompiledBackbone:
    """One of the registry's, made at the first time; see ``compile_backbone`` for what it raises."""
    from fanlight.learning.backbones import compile_backbone

    return compile_backbone(backbone_id, _cache_folder() / "backbones")


def _cache_folder() -> Path:
    """Where what can be made again is kept for this user (XDG base directories; ``~/Library/Caches`` on macOS)."""
    if named := os.environ.get("XDG_CACHE_HOME"):
        return Path(named) / "fanlight"
    return Path.home() / ("Library/Caches" if sys.platform == "darwin" else ".cache") / "fanlight"
