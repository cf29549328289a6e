"""The command ``fanlight``: one module a command.

Exit codes: 0 done, 1 it failed, 2 it was called wrongly (options, settings).  Results go to standard output, everything
else to standard error.  Commands import what they need when they run, so that ``--help`` answers at once.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

import typer

from fanlight.cli import (
    aggregator,
    audit,
    backbone,
    demo,
    device,
    export,
    federation,
    login_link,
    pictures,
    predict,
    server,
    simulate,
    status,
    version,
)
from fanlight.core.printable import printable
from fanlight.errors import FanlightError, SettingsError, UsageError

FAILED = 1
CALLED_WRONGLY = 2
_LINES = "\n\t"  # the end of a log may be quoted in an error

app = typer.Typer(
    name="fanlight",
    help="Fanlight teaches a fleet of cameras together: pictures stay on the devices, "
    "and no server sees what one device learned.",
    epilog="Start here: fanlight demo",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
app.command("demo")(demo.demo)
app.command("simulate")(simulate.simulate)
app.add_typer(federation.app, name="federation")
app.add_typer(backbone.app, name="backbone")
app.command("server")(server.server)
app.command("aggregator")(aggregator.aggregator)
app.command("device")(device.device)
app.command("pictures")(pictures.pictures)
app.command("predict")(predict.predict)
app.command("export")(export.export)
app.command("status")(status.status)
app.command("login-link")(login_link.login_link)
app.command("audit")(audit.audit)
app.command("version")(version.version)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a command and exit with its code.

    Args:
        arguments: without the program's name; by default those of this process.
    """
    try:
        app(args=None if arguments is None else list(arguments), prog_name="fanlight")
    except FanlightError as error:
        report(error)
        sys.exit(CALLED_WRONGLY if isinstance(error, (UsageError, SettingsError)) else FAILED)


def report(error: FanlightError) -> None:
    """Say on standard error what happened, and what to do."""
    print(f"Error: {printable(error.message, keep=_LINES)}", file=sys.stderr)
    if error.next:
        print(f"  What to do: {printable(error.next, keep=_LINES)}", file=sys.stderr)
