"""By which kind of round the federation learns next, and what devices are asked to do for it.

A head that is solved from sums is solved first, in one round; after that, it is trained further like any other.
"""

from __future__ import annotations

from sqlalchemy import Connection

from fanlight.learning.heads import HeadKind
from fanlight.protocol.plan import Kind, Plan
from fanlight.services.main_server import collected_sums
from fanlight.services.main_server.task import Task


def kind_of_next(tx: Connection, task: Task) -> Kind:
    """The kind of the next round that teaches."""
    first = HeadKind(task.head).is_solved and not collected_sums.are_there(tx)
    return Kind.STATISTICS if first else Kind.TRAIN


def plan_of_next(tx: Connection, task: Task) -> Plan:
    """The plan of that round, which devices get."""
    return task.plan.of_kind(kind_of_next(tx, task))
