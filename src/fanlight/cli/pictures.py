"""``fanlight pictures``: a data set as folders, one for each device."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def pictures(
    dataset: Annotated[
        str,
        typer.Argument(
            metavar="NAME|DIR", help="faces, digits, shapes, fashion, stamps, or a folder with one folder a class."
        ),
    ],
    folder: Annotated[Path, typer.Argument(metavar="TARGET", help="Folder to write to; made if missing.")],
    devices: Annotated[int, typer.Option(metavar="N", min=1, max=1000, help="Devices to split it among.")] = 2,
    seed: Annotated[int, typer.Option(metavar="N", min=0, help="Fixes the split (and what is drawn).")] = 0,
) -> None:
    """Write a data set's pictures for devices that are started by hand, and print each device's folder.

    The demo does this by itself.  Asking again for the same changes nothing.
    """
    from fanlight.learning.datasets import prepare

    for path in prepare(dataset, devices, seed, folder).device_folders:
        print(path)
