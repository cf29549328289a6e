"""``fanlight backbone``: which there are, and one made of a person's own weights."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Annotated

import typer

from fanlight.cli.saying import say
from fanlight.errors import from_os_error

app = typer.Typer(help="List backbones, or make one of your own weights.", no_args_is_help=True)


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
        Path, typer.Argument(metavar="WEIGHTS", help="Keras's .h5, safetensors, or a state dictionary of PyTorch.")
    ],
    name: Annotated[str, typer.Option(metavar="NAME", help="What plans and models call it: a-z, 0-9 and hyphens.")],
    licence: Annotated[str, typer.Option(metavar="SPDX", help="Licence of the weights, for model cards.")],
    sha256: Annotated[
        str | None,
        typer.Option(metavar="HEX", help="What the file of weights must be; needed for PyTorch's.", show_default=False),
    ] = None,
    title: Annotated[str | None, typer.Option(metavar="TEXT", help="Name for people.", show_default=False)] = None,
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder to write to; made if missing.")] = Path(),
) -> None:
    """Make a backbone of your own weights, and print its path.

    The weights may be named as Keras, torchvision, timm or transformers name them. 'fanlight federation init
    --backbone FILE' makes a task of it: the main server hands the file to devices, whose owners allow its SHA-256.
    """
    from fanlight.learning.architectures import compile_weights
    from fanlight.learning.atomic_file import write_atomically

    file = compile_weights(architecture, weights, name=name, licence=licence, sha256=sha256, title=title)
    found = hashlib.sha256(file).hexdigest()
    path = out / f"{name}-{found[:16]}.onnx"
    try:
        write_atomically(path, file, durable=False)
    except OSError as error:
        raise from_os_error(error, str(out)) from error
    print(path)
    say(f"Owners of devices allow it on the page Privacy, or by: fanlight device --allow-backbone {name}={found}")
