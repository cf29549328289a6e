"""The chapters of the album: each has a federation of its own, and takes what can be seen there."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from scripts.screenshots.album import Album
from scripts.screenshots.busy import busy
from scripts.screenshots.by_hand import by_hand
from scripts.screenshots.lived_in import lived_in
from scripts.screenshots.nothing_yet import no_devices, no_pictures, nothing_learned
from scripts.screenshots.trouble import trouble

CHAPTERS: Final[Mapping[str, Callable[[Album, Path], None]]] = {
    "lived-in": lived_in,
    "by-hand": by_hand,
    "busy": busy,
    "trouble": trouble,
    "no-devices": no_devices,
    "no-pictures": no_pictures,
    "nothing-learned": nothing_learned,
}
