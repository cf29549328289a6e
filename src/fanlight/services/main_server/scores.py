"""How the versions did that the rules which stop training go by.

They begin to count at the version that was current when the task began, when the operator let rounds go on, or when
another version became current: what was better on a way that was left does not matter any more.
"""

from __future__ import annotations

from sqlalchemy import Connection, func, or_, select

from fanlight.services.main_server import measurements, notes, round_table
from fanlight.services.main_server.stopping_rules import Score
from fanlight.storage.tables import main as tables


def begin_anew(tx: Connection, version: int) -> None:
    """Count from here: from ``version``, which is the current one."""
    line = round_table.latest_line(tx)
    notes.keep_all(tx, {notes.SINCE_ROUND: line.number if line else 0, notes.SINCE_VERSION: version})


class Scores:
    """Reads them; what a round measured never changes, so it is decoded once."""

    def __init__(self) -> None:
        self._known: dict[int, Score] = {}

    def counted(self, tx: Connection) -> list[Score]:
        """Of the versions that count and have been measured, oldest first; of several measurements the latest."""
        models, measured = tables.models.c, tables.measurements.c
        since = notes.read(tx, notes.SINCE_ROUND, 0)
        first = notes.read(tx, notes.SINCE_VERSION, 0)
        rows = tx.execute(
            select(models.version, func.max(measured.round).label("round"))
            .join(tables.measurements, measured.model == models.sha256)
            .where(or_(models.version == first, models.round > since))
            .group_by(models.version)
            .order_by(models.version)
        ).all()
        self._known = {row.round: self._known.get(row.round) or _score(tx, row.version, row.round) for row in rows}
        return list(self._known.values())


def _score(tx: Connection, version: int, round_number: int) -> Score:
    measurement = measurements.of_round(tx, round_number)
    if measurement is None:
        raise LookupError(f"round {round_number} has measured nothing")  # the caller has just seen it
    figures = measurement.received
    return Score(version, figures.correct, figures.total, figures.loss)
