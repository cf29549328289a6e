"""``fanlight audit``: what both servers' logs prove."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fanlight.cli.saying import say
from fanlight.core.printable import printable
from fanlight.errors import NotFound, UsageError

if TYPE_CHECKING:
    from fanlight.cli.audit_report import Report
    from fanlight.protocol.audit.both import Audit


def audit(
    main: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE|DIR",
            help="The main server's log, as its page Log gives it out, or its state folder.",
            show_default=False,
        ),
    ] = None,
    aggregator: Annotated[
        Path | None, typer.Option(metavar="FILE|DIR", help="The same of the aggregator.", show_default=False)
    ] = None,
    root: Annotated[
        str | None,
        typer.Option(
            metavar="FILE|KEY",
            help="The root's public key: root.pub, or its 64 digits.  [default: as the logs say]",
            show_default=False,
        ),
    ] = None,
    number: Annotated[
        int | None,
        typer.Option(
            "--round", metavar="N", min=1, help="Show only round N, with all its devices.", show_default=False
        ),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print a line of JSON for each round, then one with the findings.")
    ] = False,
) -> None:
    """Check the logs of a federation's servers, and show what happened in each round.

    Nothing is asked of any server. With one log only, the command says what cannot be checked then. The exit code is 1
    if anything is missing or altered, or if the servers contradict themselves or each other.
    """
    from fanlight.cli.audit_report import Report
    from fanlight.cli.audit_sources import common_trust, open_log, read_root
    from fanlight.protocol.audit.both import Audit
    from fanlight.protocol.identities import Role

    given = {Role.MAIN: main, Role.AGGREGATOR: aggregator}
    logs = [open_log(path, role) for role, path in given.items() if path is not None]
    if not logs:
        raise UsageError("There is nothing to audit.", next="Give --main FILE, --aggregator FILE, or best both.")
    known_root = None if root is None else read_root(root)
    trust = common_trust(logs, known_root)
    if known_root is None:
        say(f"Root {trust.root_key.hex()}, as the logs say: compare it with root.pub, or give --root.")
    made = Audit(trust, [log.source for log in logs])
    report = Report(made)
    was_there = _show_rounds(made, report, number, as_json=as_json)
    if as_json:
        print(json.dumps({"federation": trust.fid.hex(), "root": trust.root_key.hex()} | report.summary_json()))
    else:
        _show_end(made, report)
    if made.findings.count:
        raise typer.Exit(1)
    if number is not None and not was_there:
        raise NotFound(f"There is no round {number} in these logs.", next="Leave --round out to see all.")


def _show_rounds(made: Audit, report: Report, number: int | None, *, as_json: bool) -> bool:
    """Show rounds as they come; was ``number`` among them?"""
    was_there = False
    for found in made.rounds():
        report.count(found)
        is_it = found.best.number == number
        was_there |= is_it
        if number is not None and not is_it:
            continue
        if as_json:
            print(json.dumps(report.round_json(found)))
        else:
            print(*map(printable, report.transcript(found, whole=is_it)), "", sep="\n")
    return was_there


def _show_end(made: Audit, report: Report) -> None:
    count = made.findings.count
    verdict = f"{count} findings:" if count > 1 else "One finding:" if count else "Nothing is missing or altered."
    print(*map(printable, (*report.summary(), *report.unchecked(), "", verdict, *report.findings())), sep="\n")
