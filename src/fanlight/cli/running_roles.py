"""Which roles run on this machine, found by their state folders, or named on the command line."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from fanlight.errors import NotPossibleNow, UsageError

if TYPE_CHECKING:
    from fanlight.cli.owner_client import OwnerClient

State = Annotated[
    Path,
    typer.Option(
        metavar="DIR",
        help="The roles that keep their state in this folder or below it: a demo's, a federation's, a role's.",
    ),
]
Urls = Annotated[
    list[str] | None,
    typer.Option("--url", metavar="URL", help="The role at this address instead; may be repeated.", show_default=False),
]
TokenFiles = Annotated[
    list[Path] | None,
    typer.Option(
        "--token-file",
        metavar="FILE",
        help="The file api-token of its state folder; as many as addresses, in their order.",
        show_default=False,
    ),
]
STATE: Final = Path("fanlight-state")
_DEPTH: Final = 4
_ADDRESS_LIMIT: Final = 300
_TIMEOUT_S: Final = 5.0
_ORDER: Final = ("main", "aggregator")


def roles_of(state: Path, urls: Sequence[str] | None, token_files: Sequence[Path] | None) -> list[OwnerClient]:
    """The roles that somebody means by the options above.

    Raises:
        UsageError: not as many files as addresses.
        NotPossibleNow: nothing runs there.
    """
    from fanlight.cli.owner_client import OwnerClient

    urls, token_files = urls or (), token_files or ()
    if len(urls) != len(token_files):
        raise UsageError(
            "Give as many --token-file as --url.",
            next="The file is api-token in the role's state folder; without both, --state DIR finds all by itself.",
        )
    if not urls:
        return find_roles(state)
    return [OwnerClient(url, url.rstrip("/"), file) for url, file in zip(urls, token_files, strict=True)]


def find_roles(state: Path) -> list[OwnerClient]:
    """The roles that run, or have died, somewhere below ``state``; of several at one address the latest.

    Raises:
        NotPossibleNow: there is none.
    """
    from fanlight.cli.owner_client import OwnerClient
    from fanlight.services.http.sessions import API_TOKEN_FILE

    found: dict[str, tuple[int, OwnerClient]] = {}
    for file in _address_files(state):
        try:
            started, url = file.stat().st_mtime_ns, file.read_text(encoding="utf-8")[:_ADDRESS_LIMIT].strip()
        except (OSError, UnicodeDecodeError):  # it has ended meanwhile
            continue
        if url.startswith("http") and started >= found.get(url, (0, None))[0]:
            client = OwnerClient(_name(state, file.parent), url, file.parent / API_TOKEN_FILE, _TIMEOUT_S)
            found[url] = (started, client)
    if not found:
        raise NotPossibleNow(
            f"Nothing of Fanlight runs with its state below {state}.",
            next="Start something, for example: fanlight demo - or say where it is: --state DIR, "
            "or --url URL --token-file FILE.",
            slug="nothing-runs",
        )
    return sorted((client for _, client in found.values()), key=lambda client: _place(client.name))


def _address_files(state: Path) -> list[Path]:
    from fanlight.services.http.address import ADDRESS_FILE
    from fanlight.services.http.sessions import API_TOKEN_FILE

    levels = ("*/" * depth + ADDRESS_FILE for depth in range(_DEPTH + 1))
    return [file for level in levels for file in state.glob(level) if (file.parent / API_TOKEN_FILE).is_file()]


def _name(state: Path, folder: Path) -> str:
    return folder.name or folder.resolve().name or str(state)


def _place(name: str) -> tuple[int, str]:
    return (_ORDER.index(name) if name in _ORDER else len(_ORDER), name)
