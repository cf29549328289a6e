"""The log says which policy is in force: the file is replaced first, and what a crash left out is made up for."""

from __future__ import annotations

import hashlib
from typing import Final

from sqlalchemy import Connection

from fanlight.protocol.log import LogEntry
from fanlight.services.main_server import notes
from fanlight.services.main_server.task import Policy
from fanlight.services.server.chained_log import ChainedLog

POLICY: Final = "policy"
"""Type of the log entry; its payload is JSON."""
_BYTES: Final = 8


def follow(tx: Connection, log: ChainedLog, policy: Policy) -> None:
    """Log the policy if it is another one than was in force when this was called last; the first one is remembered.

    Call at the start too: the file may have been edited by hand, or replaced just before a crash.
    """
    said = policy.model_dump_json().encode()
    now = int.from_bytes(hashlib.sha256(said).digest()[:_BYTES], "big")
    before = notes.read(tx, notes.POLICY, notes.NONE)
    if now == before:
        return
    notes.keep(tx, notes.POLICY, now)
    if before != notes.NONE:
        log.append(tx, [LogEntry(POLICY, said)])
