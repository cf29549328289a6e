"""By which kind of round the federation learns next, and what devices are asked to do for it.

A head that is solved from sums is solved first, in one round; after that, it is trained further like any other. A round
of changes takes in who has joined or changed since, and out who leaves, and the head is solved anew.
"""

from __future__ import annotations

from sqlalchemy import Connection

from fanlight.learning.heads import HeadKind
from fanlight.protocol.plan import Kind, Plan
from fanlight.services.main_server import collected_sums, notes, round_table
from fanlight.services.main_server.task import Task


def kind_of_next(tx: Connection, task: Task) -> Kind:
    """The kind of the round that teaches now, or else next."""
    if not HeadKind(task.head).is_solved:
        return Kind.TRAIN
    if collected_sums.collection(tx) is None:
        return Kind.STATISTICS
    line = round_table.latest_line(tx)
    if line is not None and not line.is_over and Kind(line.kind).teaches:
        return Kind(line.kind)
    return Kind.CHANGES if notes.read(tx, notes.CHANGES_NEXT, 0) else Kind.TRAIN


def plan_of_next(tx: Connection, task: Task) -> Plan:
    """The plan of that round, which devices get."""
    return task.plan.of_kind(kind_of_next(tx, task))
