"""``fanlight status``: how the roles stand, in the terminal."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from fanlight.cli.running_roles import STATE, State, TokenFiles, Urls, roles_of
from fanlight.core.percent import percent
from fanlight.core.printable import printable
from fanlight.errors import Unreachable

if TYPE_CHECKING:
    from rich.console import Group
    from rich.table import Table

    from fanlight.cli.owner_client import OwnerClient
    from fanlight.cli.status_looks import Look

_EVERY_S = 1.0
_COLUMNS = ("role", "address", "state", "round", "phase", "reports", "devices", "model", "accuracy", "last problem")


def status(
    state: State = STATE,
    url: Urls = None,
    token_file: TokenFiles = None,
    once: Annotated[bool, typer.Option("--once", help="Show the table once, and end.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one line of JSON, and end.")] = False,
) -> None:
    """Show how the roles stand: round and phase, reports, devices, the model's accuracy, the last problem.

    The table follows what happens until Ctrl-C. Where the output is no terminal, it is shown once. In "reports", the
    second number is the fewest that the round needs; in "devices", how many are enrolled. Why no round opens stands
    below. A role that has died is shown with "no answer"; the exit code is 1 if none answers.
    """
    from fanlight.cli.status_looks import NO_ANSWER, look_at

    roles = roles_of(state, url, token_file)
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


def _show(roles: Sequence[OwnerClient], looks: Sequence[Look], *, once: bool) -> None:
    from rich.console import Console
    from rich.live import Live

    from fanlight.cli.status_looks import look_at

    console = Console(highlight=False)
    if once or not console.is_terminal:
        console.print(_drawn(looks))
        return
    with Live(_drawn(looks), console=console, auto_refresh=False, screen=False) as live:
        try:
            while True:
                time.sleep(_EVERY_S)
                live.update(_drawn(look_at(roles)), refresh=True)
        except KeyboardInterrupt:
            return


def _drawn(looks: Sequence[Look]) -> Group:
    """The table, and below it why no round opens, if none does."""
    from rich.console import Group
    from rich.text import Text

    held = [f"No round opens now: {look.no_round}" for look in looks if look.no_round]
    return Group(_table(looks), *(Text(printable(line)) for line in held))


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
        "-" if look.accuracy is None else percent(look.accuracy),
        look.problem or "-",
    )


def _shown(number: int | None) -> str:
    return "-" if number is None else str(number)


def _of(part: int | None, whole: int | None) -> str:
    """``3/5``; only the one that is known, else a dash."""
    return "/".join(str(number) for number in (part, whole) if number is not None) or "-"
