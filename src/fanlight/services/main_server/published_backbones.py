"""The compiled backbone that main publishes, so that a device need not have the package with its weights."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

from fanlight.errors import ModelError, NotFound
from fanlight.learning.backbones import BACKBONES, CompiledBackbone, compile_backbone, kept_backbone
from fanlight.protocol.plan import Plan
from fanlight.services.main_server.task import Task


class PublishedBackbones:
    """The files in ``backbones/``: the task's own one, put there with it, or the registry's, made when it is needed.

    Args:
        folder: where they are.
        task: what is learned now.
    """

    def __init__(self, folder: Path, task: Callable[[], Task]) -> None:
        self._folder = folder
        self._task = task
        self._reading = threading.Lock()
        self._served: tuple[str, bytes] | None = None  # all devices want the same

    def compiled(self, backbone_id: str, sha256: str, features: int) -> CompiledBackbone:
        """A backbone that some version of the model was trained on; reading it may say that it is gone.

        Raises:
            ModelError: its weights are missing. StorageError: the disk refuses.
        """
        entry = BACKBONES.get(backbone_id)
        if entry is not None and entry.compiled_sha256 == sha256:
            return compile_backbone(backbone_id, self._folder)
        return kept_backbone(backbone_id, sha256, features, self._folder)

    def of_plan(self, plan: Plan) -> CompiledBackbone:
        """The backbone that a plan names; errors as in ``compiled``."""
        return self.compiled(plan.backbone, plan.backbone_hash.hex(), plan.features)

    def file(self, sha256: str) -> bytes:
        """The task's backbone, if it has this hash.

        Raises:
            NotFound: it has another one, or its file is not here.
        """
        with self._reading:
            if self._served is None or self._served[0] != sha256:
                self._served = sha256, self._read(sha256)
            return self._served[1]

    def _read(self, sha256: str) -> bytes:
        plan = self._task().plan
        if plan.backbone_hash.hex() != sha256:
            raise NotFound(f"There is no backbone with the hash {sha256}.")
        try:
            return self.of_plan(plan).read()
        except ModelError as error:
            raise NotFound(f"The backbone's file is not here: {error.message}.", next=error.next) from error
