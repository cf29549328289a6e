"""Backbones that come from the main server: those that this device's owner allows, by their hash."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from fanlight.errors import Refused
from fanlight.learning.backbones import MAX_BACKBONE_BYTES, CompiledBackbone
from fanlight.protocol.device_round import Floors
from fanlight.services.device import made
from fanlight.services.device.client import MainClient
from fanlight.storage.blobs import BlobFolder


def fetching(state: Path, main: MainClient, floors: Callable[[], Floors]) -> made.Fetch:
    """How a device gets a backbone that it can neither find nor make.

    A graph is a program of sorts, so none is taken that is not on the owner's list, and of one that is, the very bytes.

    Args:
        state: the state folder.
        main: who has it.
        floors: what the owner allows, as it is then.
    """

    def fetch(backbone: CompiledBackbone) -> None:
        """Get the file.

        Raises:
            Refused: it is not allowed here. RemoteError: see ``download``. StorageError: the disk refuses.
        """
        sha256 = bytes.fromhex(backbone.sha256)
        if floors().backbones.get(backbone.id) != sha256:
            raise Refused(
                f"The backbone {backbone.id} (or its weights) is not allowed here.",
                slug="backbone-refused",
                next="If you trust whoever made it, allow its fingerprint on the page Privacy.",
            )
        files = BlobFolder(made.backbones_folder(state))
        name = backbone.path.name
        files.give_up_all(keep=name)
        with files.unfinished(name, 0, MAX_BACKBONE_BYTES) as begun:
            main.backbone(sha256, begun)
            begun.commit()

    return fetch
