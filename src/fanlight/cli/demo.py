"""``fanlight demo``: a whole federation on this machine."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated

import typer

from fanlight.cli.fine_tune_option import FineTune, check_can_run, check_fine_tuning
from fanlight.cli.saying import say
from fanlight.cli.task_options import (
    HEAD_HELP,
    Algorithm,
    Augment,
    Choices,
    ClassWeights,
    Head,
    augmentation_fields,
    check_augmentation,
    checked_backbone,
    class_weights_fields,
)
from fanlight.errors import FanlightError, NotPossibleNow, UsageError

if TYPE_CHECKING:
    from fanlight.cli.demo_folder import Description
    from fanlight.learning.datasets import DataSet

DEMO_DEVICES = 100
_STOPPING_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Stopped(Exception):
    """A signal asked the demo to end."""


def demo(
    *,
    dataset: Annotated[
        str,
        typer.Option(metavar="NAME|DIR", help="faces, digits, shapes, fashion, stamps, or a folder of pictures."),
    ] = "faces",
    devices: Annotated[int, typer.Option(metavar="N", help=f"How many devices, 2 to {DEMO_DEVICES}.")] = 2,
    rounds: Annotated[
        int | None,
        typer.Option(metavar="N", help="Run N rounds by themselves; without it, every step is by hand."),
    ] = None,
    head: Annotated[Head, typer.Option(help=HEAD_HELP)] = Head.SOFTMAX,
    backbone: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Where features come from, such as efficientnet-lite0-levels; see docs/backbones.md."
            "  [default: efficientnet-lite0]",
            show_default=False,
        ),
    ] = None,
    algorithm: Algorithm = None,
    augment: Augment = None,
    class_weights: ClassWeights = None,
    fine_tune: FineTune = None,
    seed: Annotated[int, typer.Option(metavar="N", help="Fixes how pictures are drawn and split; nothing else.")] = 0,
    port_base: Annotated[
        int,
        typer.Option(metavar="PORT", help="Main server; devices 1 and 2 follow, then the aggregator, then the others."),
    ] = 8000,
    state: Annotated[Path, typer.Option(metavar="DIR", help="Where keys, pictures, models and logs are kept.")] = Path(
        "fanlight-state"
    ),
    leave: Annotated[
        bool, typer.Option("--exit", help="End when the rounds are over; always starts from nothing.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="With --exit: print the result as one JSON line.")] = False,
) -> None:
    """Start a main server, a secure aggregator and devices with real pictures, all on this machine.

    Without --rounds the seven steps of a round are yours: log in by the links that are shown.  Ctrl-C ends everything.

    A device whose process ends is started again; if it ends again within 30 seconds, the demo goes on without it. If a
    server ends, or fewer than two devices are left, everything ends with exit code 1; --json prints its line even then.
    """
    _check_usage(devices, rounds, seed, port_base, leave=leave, as_json=as_json)
    from fanlight.cli.demo_folder import Description
    from fanlight.cli.demo_policy import checked_algorithm

    choice = checked_algorithm(algorithm, devices)
    check_augmentation(augment)
    weights = class_weights_fields(class_weights)
    check_fine_tuning(fine_tune, head.value)
    if fine_tune is not None:
        check_can_run()
    asked = Description(dataset, (), devices, seed, port_base, head.value, checked_backbone(backbone), fine_tune)
    description, prepared = _prepare(asked, state, afresh=leave)
    choices = Choices(choice, augmentation_fields(augment, flip=prepared.flip), weights)
    from fanlight.cli.demo_run import run

    with _stopped_by_signals():
        try:
            good = run(description, prepared, rounds, state, choices, leave=leave, as_json=as_json)
        except Stopped:
            say("Stopped.")
            good = not leave
    if not good:
        raise typer.Exit(1)


def _check_usage(devices: int, rounds: int | None, seed: int, port_base: int, *, leave: bool, as_json: bool) -> None:
    if devices < 2:
        raise UsageError(
            f"{devices} device{'s' * (devices != 1)}: one alone never makes a round.",
            next="Ask for --devices 2 or more.",
        )
    if devices > DEMO_DEVICES:
        raise UsageError(f"{devices} devices are more than one machine should run.", next=f"At most {DEMO_DEVICES}.")
    if rounds is not None and rounds < 1:
        raise UsageError("--rounds must be 1 or more.", next="Leave it out to do every step by hand.")
    if seed < 0:
        raise UsageError("--seed must be 0 or more.")
    if as_json and not leave:
        raise UsageError("--json prints its line when the demo ends.", next="Add --exit.")
    if leave and rounds is None:
        raise UsageError("--exit ends the demo after its rounds.", next="Say how many: --rounds N.")
    if not 1 <= port_base <= 65535 - devices - 1:
        raise UsageError(f"--port-base {port_base} leaves no room for {devices + 2} ports.", next="For example: 8000.")


def _prepare(asked: Description, state: Path, *, afresh: bool) -> tuple[Description, DataSet]:
    """Everything that can go wrong before the first process starts."""
    from fanlight.cli.demo_folder import check_state
    from fanlight.cli.pictures import say_problems
    from fanlight.learning.datasets import NAMES, prepare
    from fanlight.storage.folders import make_private_folder

    dataset = asked.dataset
    if dataset not in NAMES and not Path(dataset).is_dir():
        raise UsageError(
            f"There is no data set and no folder called {dataset}.",
            next=f"Choose one of {', '.join(NAMES)}, or give the path of a folder with pictures.",
            slug="unknown-dataset",
        )
    name = dataset if dataset in NAMES else str(Path(dataset).resolve())
    description = replace(asked, dataset=name)
    _check_ports(description)
    if not afresh:
        check_state(state, description)
    say(f"Preparing pictures: {dataset}.")
    make_private_folder(state)
    prepared = prepare(dataset, description.devices, description.seed, state / "pictures")
    say_problems(prepared)
    return replace(description, classes=prepared.classes), prepared


def _check_ports(description: Description) -> None:
    from fanlight.cli.serve import claim

    for port in description.ports:
        try:
            for listening in claim("localhost", port):
                listening.close()
        except FanlightError as error:
            raise NotPossibleNow(
                error.message,
                next="Stop the program that listens there, or choose another --port-base.",
                slug=error.slug,
            ) from error


@contextmanager
def _stopped_by_signals() -> Iterator[None]:
    """Signals raise ``Stopped``, once; later ones do not disturb the ending of the processes."""

    def stop(_number: int, _frame: FrameType | None) -> None:
        for number in _STOPPING_SIGNALS:
            signal.signal(number, signal.SIG_IGN)
        raise Stopped

    before = {number: signal.signal(number, stop) for number in _STOPPING_SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
