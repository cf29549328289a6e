"""``fanlight pictures``: a data set as folders, one for each device."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fanlight.cli.saying import say

if TYPE_CHECKING:
    from fanlight.learning.datasets import DataSet

_MOST_NAMED = 20


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

    prepared = prepare(dataset, devices, seed, folder)
    say_problems(prepared)
    for path in prepared.device_folders:
        print(path)


def say_problems(prepared: DataSet) -> None:
    """Name on standard error what was left out of a person's folder, and the classes that no picture is left of."""
    for problem in prepared.problems[:_MOST_NAMED]:
        say(str(problem))
    if len(prepared.problems) > _MOST_NAMED:
        say(f"and {len(prepared.problems) - _MOST_NAMED} more")
    for name in prepared.without_pictures:
        say(f"Warning: no picture of the class {name} can be used; the others are used.")
