"""``fanlight federation``: make a federation, let devices in, put devices out."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated
from urllib.parse import urlsplit

import typer

from fanlight.cli.durations import seconds
from fanlight.cli.fine_tune_option import FineTune, check_fine_tuning, with_fine_tuning
from fanlight.cli.saying import say
from fanlight.cli.task_options import (
    HEAD_HELP,
    Algorithm,
    Augment,
    ClassWeights,
    Head,
    Pictures,
    algorithm_fields,
    augmentation_fields,
    class_list,
    class_weights_fields,
    make_task,
    pictures_of,
    policy_fields,
    task_backbone,
    with_any_backbone,
)
from fanlight.errors import Unreachable, UsageError

if TYPE_CHECKING:
    from fanlight.services.federation import RevocationFile

REVOCATIONS_PATH = "/protocol/v1/revocations"
_DEFAULT_PICTURE_SIZE = 128
_TIMEOUT_S = 10.0
_MAIN_PORT, _DEVICE_PORT, _AGGREGATOR_PORT = 8000, 8001, 8003
_THIS_MACHINE = frozenset({"localhost", "127.0.0.1", "::1"})
_DEVICES_FLOOR = 5
_SIMULATED = "simulated"
MOST_TOKENS = 40_000

app = typer.Typer(
    help="Make a federation, let devices in, put devices out (needs the root's key).",
    no_args_is_help=True,
    rich_markup_mode=None,
)

Folder = Annotated[Path, typer.Argument(metavar="DIR", help="The federation's folder.", show_default=False)]


@app.command()
def init(
    folder: Folder,
    *,
    classes: Annotated[
        str | None, typer.Option(metavar="A,B,…", help="What pictures can show, two classes or more.")
    ] = None,
    dataset: Annotated[
        str | None,
        typer.Option(
            metavar="NAME|DIR", help="Take classes and picture size from a data set, or a folder of pictures."
        ),
    ] = None,
    head: Annotated[Head, typer.Option(help=HEAD_HELP)] = Head.SOFTMAX,
    demo: Annotated[
        bool, typer.Option("--demo", help="Two devices are enough: each can work out the other's update.")
    ] = False,
    main_url: Annotated[
        str, typer.Option(metavar="URL", help="Where devices find the main server.")
    ] = "http://localhost:8000",
    aggregator_url: Annotated[
        str, typer.Option(metavar="URL", help="Where devices find the aggregator.")
    ] = "http://localhost:8003",
    by_itself: Annotated[
        bool | None,
        typer.Option(
            "--by-itself/--by-hand",
            help="Round follows round, or every step waits for a person.  [default: by hand]",
            show_default=False,
        ),
    ] = None,
    rounds: Annotated[
        int | None,
        typer.Option(metavar="N", min=1, max=100_000, help="By itself, stop after N rounds and measure the result."),
    ] = None,
    k_min: Annotated[
        int | None,
        typer.Option(
            metavar="K",
            min=2,
            max=100_000,
            help="Fewest devices in a sum.  [default: 5; 10 with --head analytic; 2 with --demo]",
            show_default=False,
        ),
    ] = None,
    policy: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=VALUE", help="Any other rule of rounds, such as patience_rounds=5; see docs/settings.md."
        ),
    ] = None,
    algorithm: Algorithm = None,
    augment: Augment = None,
    class_weights: ClassWeights = None,
    fine_tune: FineTune = None,
    picture_size: Annotated[
        int | None,
        typer.Option(
            metavar="PIXELS",
            min=32,
            max=1024,
            help="Side of the square that pictures are brought to.  [default: 128]",
            show_default=False,
        ),
    ] = None,
    backbone: Annotated[
        str | None,
        typer.Option(
            metavar="NAME|FILE",
            help="Where features come from: efficientnet-lite0-levels by name, or a file of your own, as"
            " 'fanlight backbone compile' made it.  [default: efficientnet-lite0]",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Write root/, main/ and aggregator/ with keys, certificates and the task.

    Keep root/ offline: whoever has it can let devices in.  main/ and aggregator/ go to two different parties.
    """
    from fanlight.services.federation import init_federation, keep_backbone

    if (classes is None) == (dataset is None):
        raise UsageError("Give either --classes or --dataset.", next="For example: --classes cat,dog")
    if rounds is not None and by_itself is False:
        raise UsageError("--rounds means that rounds run by themselves; --by-hand says they do not.")
    check_fine_tuning(fine_tune, head.value)
    chosen = pictures_of(dataset) if dataset else Pictures(class_list(classes or ""), _DEFAULT_PICTURE_SIZE)
    task = make_task(
        chosen._replace(picture_size=picture_size or chosen.picture_size),
        head=head,
        demo=demo,
        by_itself=bool(by_itself) or rounds is not None,
        rounds=rounds or 0,
        k_min=k_min,
        policy=policy_fields(policy or ()),
        algorithm=algorithm_fields(algorithm),
        augmentation=augmentation_fields(augment, flip=chosen.flip),
        class_weights=class_weights_fields(class_weights),
    )
    task, file = with_any_backbone(task, backbone) if backbone else (task, None)
    if fine_tune is not None:
        left = not any(rule.startswith("most_pictures=") for rule in policy or ())
        own = Path(backbone) if backbone and file is not None else None
        task = with_fine_tuning(task, fine_tune, task_backbone(task, own), most_pictures=left)
    task.check_at_home()
    init_federation(folder, main_url=main_url, aggregator_url=aggregator_url, task_json=task.to_json())
    if file is not None:
        keep_backbone(folder, *file)
    print(f"{folder} is a federation for {', '.join(task.classes)}.")
    floor = _DEVICES_FLOOR * (2 if head is Head.ANALYTIC else 1)
    if not demo and task.policy.k_min < floor:
        say(
            f"Warning: devices refuse sums of fewer devices than their floor, which is {floor} unless the "
            f"owner lowers it; --k-min {task.policy.k_min} does not change that."
        )
    main_port, aggregator_port = _port_option(main_url, _MAIN_PORT), _port_option(aggregator_url, _AGGREGATOR_PORT)
    say(f"Next: fanlight server --state {folder / 'main'}{main_port};")
    say(f"      fanlight aggregator --state {folder / 'aggregator'}{aggregator_port};")
    say(f"      fanlight federation token {folder}, once for each device.  Keep {folder / 'root'} offline.")


@app.command()
def token(
    folder: Folder,
    name: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Your name for the device.  [default: device-1, -2, …]", show_default=False),
    ] = None,
    expires: Annotated[
        str, typer.Option(metavar="TIME", help="How long the device may take to join: 12h, 30d, 4w.")
    ] = "30d",
    out: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Where to write it.  [default: DIR/tokens/NAME.json]", show_default=False),
    ] = None,
    count: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            min=1,
            max=MOST_TOKENS,
            help="Tokens for many devices instead: NAME-1.json to NAME-N.json in a folder, DIR/tokens/NAME or --out.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Write a token file, which lets one device join, and print its path; with --count many, and their folder's.

    A file holds a secret: bring it to the device by a way that only its owner can read.
    """
    from fanlight.services.federation import free_token_name, issue_token_file, issue_token_files

    expires_at = int(time.time()) + seconds(expires)
    if count is not None:
        place = issue_token_files(folder, name or _SIMULATED, count, expires_at, out=out)
        print(place)
        demo = " --accept-demo" if _is_demo(folder) else ""
        url = json.loads((folder / "root" / "federation.json").read_bytes())["main_url"]
        say(f"To simulate devices with them: fanlight simulate --connect {url} --tokens {place}{demo}")
        return
    path = issue_token_file(folder, name or free_token_name(folder), expires_at, out=out)
    print(path)
    demo = " --accept-demo" if _is_demo(folder) else ""
    port = _device_port_option(folder, path)
    say(f"On the device: fanlight device --token {path} --data PICTURES --state STATE{port}{demo}")


@app.command()
def revoke(
    folder: Folder,
    device: Annotated[
        str,
        typer.Argument(
            metavar="DEVICE|TOKEN", help="The device's id, as the main server's page shows it, or a token's name."
        ),
    ],
) -> None:
    """Put a device out, or make a token useless, at both servers.

    The signed revocation is kept: run the command again until both servers have it.
    """
    from fanlight.services.federation import revoke as sign_revocation

    revocation = sign_revocation(folder, device.strip(), int(time.time()))
    servers = {"main server": revocation.main_url, "aggregator": revocation.aggregator_url}
    failures = {name: _send(url, revocation) for name, url in servers.items()}
    for name, failure in failures.items():
        print(f"{name} ({servers[name]}): {failure or 'has it'}")
    if any(failures.values()):
        raise Unreachable(
            f"Not both servers have the revocation of {device}; it is kept in {revocation.path}.",
            next="Run the same command again when they answer.",
        )


def _send(url: str, revocation: RevocationFile) -> str | None:
    import httpx

    try:
        answer = httpx.post(
            url + REVOCATIONS_PATH,
            content=revocation.body,
            headers={"Content-Type": "application/cbor"},
            timeout=_TIMEOUT_S,
        )
    except httpx.HTTPError as error:
        return f"does not answer ({error})"
    return None if answer.is_success else f"refuses it ({answer.status_code}: {answer.text[:200]})"


def _is_demo(folder: Path) -> bool:
    """Does the task, if it is still here, say that two devices are enough?"""
    from fanlight.services.federation import TASK_FILE
    from fanlight.services.main_server.task import Task

    task = folder / "main" / TASK_FILE
    return task.exists() and Task.load(task).policy.demo


def _port_option(url: str, default: int) -> str:
    """What to add to a server's command so that it listens where its address says; nothing if it does anyhow."""
    port = urlsplit(url.strip()).port or default
    return f" --port {port}" if port != default else ""


def _device_port_option(folder: Path, token: Path) -> str:
    """The same for a device: where the servers are on this machine, so are the devices, each with a port of its own."""
    addresses = json.loads(token.read_bytes())
    urls = [urlsplit(addresses[name]) for name in ("main_url", "aggregator_url")]
    here = {url.port for url in urls if url.hostname in _THIS_MACHINE}
    if not here:
        return ""
    taken = here | {_MAIN_PORT, _AGGREGATOR_PORT}  # of a federation with the usual ports, which may run here too
    number = max(1, len(list((folder / "tokens").glob("*.json"))))
    free = [port for port in range(_DEVICE_PORT, _DEVICE_PORT + number + len(taken)) if port not in taken]
    port = free[number - 1]
    return f" --port {port}" if port != _DEVICE_PORT else ""
