"""How main solves a head from the sums of all devices, and what is kept of how a version was solved."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

from sqlalchemy import Connection, bindparam, insert, select

from fanlight.learning import analytic, prototypes
from fanlight.learning.heads import HeadKind, SoftmaxHead, checked_head
from fanlight.learning.held_back import HeldBack
from fanlight.protocol.plan import Plan
from fanlight.protocol.statistics import Sums
from fanlight.services.main_server import collected_sums
from fanlight.services.main_server.collected_sums import Collected
from fanlight.storage.statements import Statement
from fanlight.storage.tables.main import solutions

_KEEP: Final = Statement(insert(solutions))
_FIND: Final = Statement(select(solutions).where(solutions.c.version == bindparam("wanted")))
_SOLVED: Final = Statement(select(solutions.c.version))


@dataclass(frozen=True)
class Solution:
    """How a head was solved.

    Attributes:
        devices, pictures: whose sums it was solved from.
        strength: λ of a ridge; None for prototypes, which need none.
        held_out_error: mean squared error on held-out pictures by which λ was chosen; None if there were none.
        collection: the round that began to collect the sums; None of versions from before this was kept.
        changed: the round of changes that it was solved after; None if it was that other round itself.
    """

    devices: int
    pictures: int
    strength: float | None
    held_out_error: float | None
    collection: int | None = None
    changed: int | None = None

    def as_json(self) -> dict[str, Any]:
        """For programs and pages."""
        return asdict(self)


def solve(plan: Plan, sums: Sums, held_back: HeldBack) -> tuple[SoftmaxHead, analytic.Ridge | None]:
    """The head, and the ridge that it is of, if it is one; a class that is held back is known nothing of.

    With one supporter a class's row *is* that device's contribution, so it is not published, nor what it follows from.
    A prototype follows from no other.

    Args:
        plan: says which head, and whether rare classes weigh more.
        sums: of all devices.
        held_back: the classes that too few devices have pictures of.

    Raises:
        ModelError: the sums have no solution.
    """
    if plan.head == HeadKind.PROTOTYPES:
        _, class_sums, examples = sums.parts[0]
        return prototypes.head_of(class_sums * ~held_back.classes, examples * ~held_back.classes), None
    train, held_out = (analytic.Statistics(*part) for part in sums.parts)
    ridge = analytic.fit(train, held_out, balanced=plan.class_weights)
    head = ridge.head
    return checked_head(held_back.published(head.weight), held_back.published(head.bias)), ridge


def solve_version(tx: Connection, plan: Plan, collected: Collected, held_back: HeldBack, version: int) -> SoftmaxHead:
    """Solve the head of a new version, and keep what it was solved from and how; errors as in ``solve``."""
    head, ridge = solve(plan, collected.sums, held_back)
    collected_sums.keep(tx, collected)
    solution = Solution(
        devices=collected.devices,
        pictures=collected.sums.pictures,
        strength=ridge.strength if ridge else None,
        held_out_error=ridge.held_out_error if ridge else None,
        collection=collected.collection,
        changed=collected.round if collected.round != collected.collection else None,
    )
    _KEEP.run(tx, version=version, **asdict(solution))
    return head


def solution_of(tx: Connection, version: int) -> Solution | None:
    """How a version was solved; None if it was not, but trained."""
    row = _FIND.first(tx, wanted=version)
    if row is None:
        return None
    how = (row.strength, row.held_out_error, row.collection, row.changed)
    return Solution(row.devices, row.pictures, *how)


def nearest_solution(tx: Connection, versions: Sequence[int]) -> tuple[int, Solution] | None:
    """The first of these versions that was solved, and how; None if none was."""
    solved = {row.version for row in _SOLVED.all(tx)}
    for number in versions:
        if number in solved and (solution := solution_of(tx, number)):
            return number, solution
    return None
