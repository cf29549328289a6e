"""``fanlight export``: a model as files for other programs."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fanlight.errors import ModelError, NotPossibleNow, UsageError, from_os_error

if TYPE_CHECKING:
    from fanlight.cli.owner_client import OwnerClient


def export(
    model: Annotated[
        Path | None, typer.Option(metavar="FILE", help="A model file, as the main server offers it for download.")
    ] = None,
    state: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Take that of this device, main server, federation or demo, running or not.  "
            "[default: ./fanlight-state]",
        ),
    ] = None,
    url: Annotated[str | None, typer.Option(metavar="URL", help="Ask the main server at this address.")] = None,
    token_file: Annotated[
        Path | None, typer.Option(metavar="FILE", help="With --url: the file api-token of its state folder.")
    ] = None,
    version: Annotated[
        int | None, typer.Option(metavar="N", min=0, help="A main server's version N.  [default: the current one]")
    ] = None,
    shared: Annotated[
        bool, typer.Option("--shared", help="Of a device: the model of all devices, also where it has one of its own.")
    ] = False,
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder to write to; made if missing.")] = Path(),
) -> None:
    """Write a model for other programs, and print the path of each file.

    .onnx holds all from the picture to the name of its class and runs without Fanlight; .safetensors is the head alone;
    the card, as .json and .md, says where the model comes from, how good it is, and what is promised of it. Only a
    main server knows all of that, running or stopped: from a file or a device, the card is shorter.

    Of a device whose algorithm gives it a model of its own (Ditto, FedPer, FedRep, local batch normalisation) it is
    that one, once there is one from a round; the files are then called fanlight-own-model-N, and the card and the
    metadata of .onnx say so. Own names stay on the device.
    """
    from fanlight.services.main_server.model_card import as_markdown

    main = _main_server(model, state, url, token_file)
    content, onnx, card = _files(model, state, main, version, shared=shared)
    name = f"fanlight-{'own-' if card.get('own_model') else ''}model-{card['version']}"
    files = {
        "onnx": onnx,
        "safetensors": content,
        "json": json.dumps(card, ensure_ascii=False, indent=2).encode() + b"\n",
        "md": as_markdown(card).encode(),
    }
    for suffix, data in files.items():
        print(_write(out / f"{name}.{suffix}", data))


def _files(
    model: Path | None, state: Path | None, main: OwnerClient | None, version: int | None, *, shared: bool
) -> tuple[bytes, bytes, dict[str, Any]]:
    """The model as safetensors and as ONNX, and its card, the whole one if its main server is there."""
    from fanlight.cli.find_model import find_model_file, find_own, role_folder, stored_card
    from fanlight.cli.user_backbones import compiled_backbone
    from fanlight.learning.export import to_onnx
    from fanlight.learning.model_file import decode, encode
    from fanlight.learning.own_backbones import describe
    from fanlight.services.main_server.model_card import OWN_LIMIT, card_of_file, card_of_own

    if main is not None:
        number = main.get("/api/v1/rounds")["model"]["version"] if version is None else version
        path = f"/api/v1/models/{number}"
        return main.download(f"{path}/file"), main.download(f"{path}/onnx"), main.get(f"{path}/card.json")
    content = find_model_file(model, state, version)
    head, folder = decode(content), None if model else role_folder(state)
    own = find_own(folder, content) if folder and not shared else None
    if own is not None:
        head, content = own.model, encode(own.model)
    backbone, described = compiled_backbone(head, folder), None
    with suppress(ModelError):  # one of the registry's says nothing of itself, nor does one of an earlier release
        described = describe(backbone.read())
    if own is not None:
        says = {"own_model": json.dumps(own.as_json()), "note": f"{own.words}. {OWN_LIMIT}"}
        return content, to_onnx(head, backbone, says), card_of_own(head, content, own.as_json(), described)
    card = stored_card(folder, head.version) if folder else None
    return content, to_onnx(head, backbone), card or card_of_file(head, content, described)


def _main_server(
    model: Path | None, state: Path | None, url: str | None, token_file: Path | None
) -> OwnerClient | None:
    """The running main server that is to be asked, if any."""
    from fanlight.cli.owner_client import OwnerClient

    if (url is None) != (token_file is None):
        raise UsageError("--url and --token-file go together.")
    if url is None or token_file is None:
        return None if model is not None else _running_main(state)
    if model is not None or state is not None:
        raise UsageError("Give one of --model, --state and --url.")
    return OwnerClient("The main server", url.rstrip("/"), token_file)


def _running_main(state: Path | None) -> OwnerClient | None:
    from fanlight.cli.find_model import role_folder
    from fanlight.cli.running_roles import find_roles

    with suppress(NotPossibleNow):
        for role in find_roles(role_folder(state)):
            if role.is_healthy() and role.get("/api/v1/status").get("role") == "main":
                return role
    return None


def _write(path: Path, data: bytes) -> Path:
    from fanlight.learning.atomic_file import write_atomically

    try:
        write_atomically(path, data, durable=False)
    except OSError as error:
        raise from_os_error(error, str(path.parent)) from error
    return path
