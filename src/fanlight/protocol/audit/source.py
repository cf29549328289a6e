"""Where an audit reads a log from."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from fanlight.protocol.identities import Role
from fanlight.protocol.log import ChainedEntry, LogHead


@dataclass(frozen=True)
class LogSource:
    """A log to be audited.

    Attributes:
        role: whose.
        entries: gives them from the first on, anew each time; raises ``MalformedMessage`` where it cannot go on.
        signed: that server's word on how long the log is, if the file has one.
    """

    role: Role
    entries: Callable[[], Iterator[ChainedEntry]]
    signed: LogHead | None = None
