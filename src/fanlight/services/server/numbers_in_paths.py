"""Numbers of rounds and versions in addresses."""

from __future__ import annotations

from typing import Annotated, Final

from pydantic import AfterValidator

from fanlight.errors import NotFound

_ABOVE_ALL: Final = 1 << 31
"""No round or version has such a number; from 2**63 on SQLite could not even be asked for it."""


def _possible(number: int) -> int:
    if not 0 <= number < _ABOVE_ALL:
        raise NotFound("Nothing here has this number.", next="Look for the number in the list.")
    return number


Which = Annotated[int, AfterValidator(_possible)]
"""A round's or version's number, in a path or a query; one that none can have raises ``NotFound``."""
