"""``docs/commands.md`` is the help of every command, as it is now."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import typer.main

from fanlight.cli import app, main
from tests.docs.current import check

HEAD = """\
# Commands

What `--help` says of each command. Results go to standard output, everything else to standard error.
Exit codes: 0 done, 1 it failed, 2 it was called wrongly (options or settings).
Roles read settings from variables and files too: [settings](settings.md).

`fanlight demo` keeps pictures, keys, models and logs below `--state` (`./fanlight-state`):
`demo/` is the one that goes on where it stopped, for as long as it is asked for with the same data set, devices, seed
and ports; each run with `--exit` starts from nothing in a folder of its own, `run-1/`, `run-2/`, ….
Nothing there is deleted by Fanlight; `rm -r` what is not wanted any more.
"""


def names(command: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    yield path
    for name, inner in getattr(command, "commands", {}).items():
        yield from names(inner, (*path, name))


def help_of(path: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> str:
    with pytest.raises(SystemExit):
        main([*path, "--help"])
    return "\n".join(line.rstrip() for line in capsys.readouterr().out.strip().splitlines())


def test_the_help_of_every_command_is_current(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    parts = [HEAD]
    for path in names(typer.main.get_command(app)):
        title = " ".join(("fanlight", *path))
        parts.append(f"## {title}\n\n```text\n{help_of(path, capsys)}\n```\n")
    check("commands.md", "\n".join(parts))
