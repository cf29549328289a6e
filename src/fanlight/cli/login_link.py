"""``fanlight login-link``: a fresh way into the pages."""

from __future__ import annotations

import sys

import typer

from fanlight.cli.running_roles import STATE, State, TokenFiles, Urls, roles_of
from fanlight.core.printable import printable
from fanlight.errors import Unreachable


def login_link(state: State = STATE, url: Urls = None, token_file: TokenFiles = None) -> None:
    """Print a fresh login link for the pages of each role. It works once, for a day.

    The exit code is 1 if a role does not answer.
    """
    silent = False
    for role in roles_of(state, url, token_file):
        try:
            print(f"{printable(role.name)}: {role.login_link()}")
        except Unreachable as error:
            silent = True
            print(printable(error.message), file=sys.stderr)
    if silent:
        raise typer.Exit(1)
