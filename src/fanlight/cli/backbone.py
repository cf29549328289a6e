"""``fanlight backbone``: which there are, and one made of a person's own weights."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from fanlight.cli.saying import say
from fanlight.errors import DataError, PictureError, from_os_error

if TYPE_CHECKING:
    from fanlight.learning.int8 import Pixels
    from fanlight.learning.own_backbones import Description

_MOST_PICTURES: Final = 128
_BATCH: Final = 8

app = typer.Typer(help="List backbones, or make one of your own weights.", no_args_is_help=True)

Name = Annotated[str, typer.Option(metavar="NAME", help="What plans and models call it: a-z, 0-9 and hyphens.")]
Out = Annotated[Path, typer.Option(metavar="DIR", help="Folder to write to; made if missing.")]


@app.command("list")
def list_backbones() -> None:
    """List the backbones that every Fanlight knows, and the architectures that one can be made of.

    A line each: name, number of features, licence of the weights, SHA-256 of the compiled graph, title.
    """
    from fanlight.learning.architectures import ARCHITECTURES
    from fanlight.learning.backbones import BACKBONES

    for entry in BACKBONES.values():
        print(entry.id, entry.features, entry.licence, entry.compiled_sha256, entry.title, sep="\t")
    for name, architecture in ARCHITECTURES.items():
        print(name, architecture.features, "-", "-", f"{architecture.title}, of your own weights", sep="\t")


@app.command("compile")
def compile_(
    architecture: Annotated[str, typer.Argument(metavar="ARCHITECTURE", help="One that 'list' shows: mobilenet-v2.")],
    weights: Annotated[
        str,
        typer.Argument(
            metavar="WEIGHTS",
            help="A file: Keras's .h5, safetensors, or a state dictionary of PyTorch; or "
            "hf:OWNER/NAME[@REVISION] on the Hugging Face hub.",
        ),
    ],
    name: Name,
    licence: Annotated[str, typer.Option(metavar="SPDX", help="Licence of the weights, for model cards.")],
    sha256: Annotated[
        str | None,
        typer.Option(metavar="HEX", help="What the file of weights must be; needed for PyTorch's.", show_default=False),
    ] = None,
    title: Annotated[str | None, typer.Option(metavar="TEXT", help="Name for people.", show_default=False)] = None,
    out: Out = Path(),
) -> None:
    """Make a backbone of your own weights, and print its path.

    The weights may be named as Keras, torchvision, timm or transformers name them. 'fanlight federation init
    --backbone FILE' makes a task of it: the main server hands the file to devices, whose owners allow its SHA-256.
    """
    from fanlight.learning.architectures import compile_weights
    from fanlight.learning.hub import PREFIX, weights_on_hub

    path = weights_on_hub(weights) if weights.startswith(PREFIX) else Path(weights)
    _keep(compile_weights(architecture, path, name=name, licence=licence, sha256=sha256, title=title), name, out)


@app.command("quantise")
def quantise_(
    backbone: Annotated[
        str, typer.Argument(metavar="BACKBONE", help="A name that 'list' shows, or a backbone's file.")
    ],
    pictures: Annotated[Path, typer.Argument(metavar="PICTURES", help="Folder of pictures such as devices will see.")],
    name: Name,
    picture_size: Annotated[
        int, typer.Option(metavar="PIXELS", min=32, max=1024, help="Side of the square that the task will use.")
    ] = 128,
    out: Out = Path(),
) -> None:
    """Make the same backbone in 8-bit integers, and print its path.

    It is a third as long and about twice as fast, where processors have instructions for it, and its features differ a
    little. Up to 128 of the pictures are looked at, for the range of the numbers in each layer; they need no labels.
    """
    from fanlight.learning.int8 import quantise
    from fanlight.learning.own_backbones import Description, checked, label

    graph, known = _float32(backbone)
    said = checked(Description(name, f"{known.title}, int8", known.licence, known.features))
    _keep(label(quantise(graph, _batches(pictures, picture_size)), said), name, out)


def _float32(backbone: str) -> tuple[bytes, Description]:
    """A backbone by its name or file, and what is known of it."""
    from fanlight.cli.user_backbones import made_here
    from fanlight.learning.backbones import BACKBONES
    from fanlight.learning.own_backbones import Description, read_backbone

    entry = BACKBONES.get(backbone)
    if entry is None:
        return read_backbone(Path(backbone))
    return made_here(entry.id).read(), Description(entry.id, entry.title, entry.licence, entry.features)


def _batches(folder: Path, size: int) -> Iterator[Pixels]:
    """Pictures from all over the folder, some at a time.

    Raises:
        DataError: there is none.
    """
    import numpy as np

    from fanlight.learning.pictures import load

    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    step = -(-len(paths) // _MOST_PICTURES) or 1

    def readable() -> Iterator[Pixels]:
        for path in paths[::step]:
            try:
                yield load(path, size)
            except PictureError as error:
                say(f"left out: {error.message}")

    squares, found = readable(), False
    while batch := list(islice(squares, _BATCH)):
        found = True
        yield np.stack(batch)
    if not found:
        raise DataError(f"{folder} holds no picture", next="Name a folder of pictures such as devices will see.")


def _keep(file: bytes, name: str, out: Path) -> None:
    from fanlight.learning.atomic_file import write_atomically

    found = hashlib.sha256(file).hexdigest()
    path = out / f"{name}-{found[:16]}.onnx"
    try:
        write_atomically(path, file, durable=False)
    except OSError as error:
        raise from_os_error(error, str(out)) from error
    print(path)
    say(f"Owners of devices allow it on the page Privacy, or by: fanlight device --allow-backbone {name}={found}")
