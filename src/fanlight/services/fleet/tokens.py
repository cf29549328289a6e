"""The tokens of a fleet: a folder with a file for each device, as ``fanlight federation token --count`` writes it."""

from __future__ import annotations

import re
from pathlib import Path

from fanlight.errors import NotFound, SettingsError
from fanlight.services.federation import Token, moved, read_token

_DIGITS = re.compile(r"(\d+)")
_ADVICE = "The operator makes some: fanlight federation token DIR --count 30."


def read_tokens(
    folder: Path, *, main_url: str, aggregator_url: str | None = None, count: int | None = None
) -> list[Token]:
    """The tokens in a folder, by name, ``device-9`` before ``device-10``.

    Args:
        folder: with files ``NAME.json``.
        main_url: where the main server is; by its key it has to prove that it is the one that the tokens name.
        aggregator_url: likewise; None: where the tokens say.
        count: how many are wanted; None: all.

    Raises:
        NotFound: there is no such folder, or no token in it.
        SettingsError: fewer than are wanted, of several federations, or an address that is none.
        NotAuthentic, StorageError: see ``read_token``.
    """
    paths = sorted(folder.glob("*.json"), key=_natural) if folder.is_dir() else []
    if not paths:
        raise NotFound(f"There are no token files in {folder}.", next=_ADVICE)
    if count is not None and count > len(paths):
        raise SettingsError(f"{len(paths)} tokens in {folder} are too few for {count} devices.", next=_ADVICE)
    tokens = [read_token(path) for path in paths[:count]]
    if len({token.trust.fid for token in tokens}) > 1:
        raise SettingsError(
            f"The tokens in {folder} are of several federations.", next="Keep those of each in a folder of its own."
        )
    return [moved(token, main_url=main_url, aggregator_url=aggregator_url) for token in tokens]


def _natural(path: Path) -> list[tuple[int, str]]:
    return [(int(part), "") if part.isdigit() else (0, part) for part in _DIGITS.split(path.stem)]
