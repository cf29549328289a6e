"""The log says which policy and algorithm are in force, how pictures are varied, and by what classes weigh.

The file is replaced first; what a crash left out is made up for.
"""

from __future__ import annotations

import hashlib
from typing import Final

from sqlalchemy import Connection

from fanlight.protocol.log import LogEntry
from fanlight.services.main_server import notes
from fanlight.services.main_server.task import Task
from fanlight.services.server.chained_log import ChainedLog

POLICY: Final = "policy"
ALGORITHM: Final = "algorithm"
AUGMENTATION: Final = "augmentation"
CLASS_WEIGHTS: Final = "class-weights"
"""Types of the log entries; their payloads are JSON."""
_BYTES: Final = 8


def follow(tx: Connection, log: ChainedLog, task: Task) -> None:
    """Log policy, algorithm, augmentation and class weights where they are others than when this was called last.

    The first ones are remembered.

    Call at the start too: the file may have been edited by hand, or replaced just before a crash.
    """
    _follow(tx, log, notes.POLICY, LogEntry(POLICY, task.policy.model_dump_json().encode()))
    _follow(tx, log, notes.ALGORITHM_IN_FORCE, LogEntry(ALGORITHM, task.algorithm.model_dump_json().encode()))
    _follow(tx, log, notes.AUGMENTATION_IN_FORCE, LogEntry(AUGMENTATION, task.augmentation.model_dump_json().encode()))
    weights = task.training.weights.model_dump_json().encode()
    _follow(tx, log, notes.CLASS_WEIGHTS_IN_FORCE, LogEntry(CLASS_WEIGHTS, weights))


def _follow(tx: Connection, log: ChainedLog, note: str, entry: LogEntry) -> None:
    now = int.from_bytes(hashlib.sha256(entry.payload).digest()[:_BYTES], "big")
    before = notes.read(tx, note, notes.NONE)
    if now == before:
        return
    notes.keep(tx, note, now)
    if before != notes.NONE:
        log.append(tx, [entry])
