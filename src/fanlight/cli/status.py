"""``fanlight status``: how the roles stand, in the terminal."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fanlight.core.printable import printable
from fanlight.errors import Unreachable, UsageError

if TYPE_CHECKING:
    from rich.table import Table

    from fanlight.cli.owner_client import OwnerClient
    from fanlight.cli.status_looks import Look

_STATE = Path("fanlight-state")
_EVERY_S = 1.0
_COLUMNS = ("role", "address", "state", "round", "phase", "reports", "devices", "model", "accuracy", "last problem")


def status(
    state: Annotated[
        Path,
        typer.Option(
            metavar="DIR",
            help="Show the roles that keep their state in this folder or below it: a demo's, a federation's, a role's.",
        ),
    ] = _STATE,
    url: Annotated[
        list[str] | None,
        typer.Option(metavar="URL", help="Show the role at this address instead; may be repeated.", show_default=False),
    ] = None,
    token_file: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="FILE",
            help="The file api-token of its state folder; as many as addresses, in their order.",
            show_default=False,
        ),
    ] = None,
    once: Annotated[bool, typer.Option("--once", help="Show the table once, and end.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one line of JSON, and end.")] = False,
) -> None:
    """Show how the roles stand: round and phase, reports, devices, the model's accuracy, the last problem.

    The table follows what happens until Ctrl-C. Where the output is no terminal, it is shown once. In "reports", the
    second number is the fewest that the round needs; in "devices", how many are enrolled. A role that has died is shown
    with "no answer"; the exit code is 1 if none answers.
    """
    from fanlight.cli.status_looks import NO_ANSWER, look_at

    roles = _roles(state, url or [], token_file or [])
    looks = look_at(roles)
    if as_json:
        print(json.dumps({"roles": [asdict(look) for look in looks]}, ensure_ascii=False))
    elif all(look.state == NO_ANSWER for look in looks):
        raise Unreachable(
            "None of these answers: " + "; ".join(f"{look.name} at {look.url}" for look in looks) + ".",
            next=f"The reason for the first: {looks[0].problem} Start it again, or look into its log.",
        )
    else:
        _show(roles, looks, once=once)
    if all(look.state == NO_ANSWER for look in looks):
        raise typer.Exit(1)


def _roles(state: Path, urls: Sequence[str], token_files: Sequence[Path]) -> list[OwnerClient]:
    from fanlight.cli.owner_client import OwnerClient
    from fanlight.cli.status_looks import find_roles

    if len(urls) != len(token_files):
        raise UsageError(
            "Give as many --token-file as --url.",
            next="The file is api-token in the role's state folder; without both, --state DIR finds all by itself.",
        )
    if not urls:
        return find_roles(state)
    return [OwnerClient(url, url.rstrip("/"), file) for url, file in zip(urls, token_files, strict=True)]


def _show(roles: Sequence[OwnerClient], looks: Sequence[Look], *, once: bool) -> None:
    from rich.console import Console
    from rich.live import Live

    from fanlight.cli.status_looks import look_at

    console = Console(highlight=False)
    if once or not console.is_terminal:
        console.print(_table(looks))
        return
    with Live(_table(looks), console=console, auto_refresh=False, screen=False) as live:
        try:
            while True:
                time.sleep(_EVERY_S)
                live.update(_table(look_at(roles)), refresh=True)
        except KeyboardInterrupt:
            return


def _table(looks: Sequence[Look]) -> Table:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, header_style="bold")
    for column in _COLUMNS:
        table.add_column(column, overflow="fold")
    for look in looks:
        table.add_row(*(Text(printable(cell)) for cell in _cells(look)))  # names and reasons come from outside
    return table


def _cells(look: Look) -> tuple[str, ...]:
    return (
        look.name,
        look.url,
        look.state,
        _shown(look.round),
        look.phase or "-",
        _of(look.reports, look.needed),
        _of(look.here, look.enrolled),
        _shown(look.model),
        "-" if look.accuracy is None else f"{look.accuracy:.1%}",
        look.problem or "-",
    )


def _shown(number: int | None) -> str:
    return "-" if number is None else str(number)


def _of(part: int | None, whole: int | None) -> str:
    """``3/5``; only the one that is known, else a dash."""
    return "/".join(str(number) for number in (part, whole) if number is not None) or "-"
