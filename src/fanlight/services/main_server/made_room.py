"""Rounds that were given up for something better to do, and not because something went wrong."""

from __future__ import annotations

from enum import StrEnum
from typing import Final

PREFIX: Final = "made-room-"
"""With this each reason begins."""


class MadeRoom(StrEnum):
    """What a round was abandoned for, as main itself keeps it; both servers sign only that main has ordered it."""

    FOR_MEASURING = "made-room-for-measuring"
    FOR_VERSION = "made-room-for-version"
    FOR_RULES = "made-room-for-rules"


def made_room(reason: str | None) -> bool:
    """Is this the reason of such a round?"""
    return (reason or "").startswith(PREFIX)
