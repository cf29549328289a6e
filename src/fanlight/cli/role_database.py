"""Looks into a role's database while the role may be at work: reads one row, and changes nothing."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any


def first_row(database: Path, statement: str, values: Sequence[int] = ()) -> tuple[Any, ...] | None:
    """The first row that a ``SELECT`` gives, if there is one; ``values`` stand for its question marks.

    Raises:
        sqlite3.OperationalError: it cannot be read, or has no such table. sqlite3.DatabaseError: it is damaged.
    """
    with closing(sqlite3.connect(f"{database.resolve().as_uri()}?mode=ro", uri=True)) as connection:
        row: tuple[Any, ...] | None = connection.execute(statement, tuple(values)).fetchone()
    return row
