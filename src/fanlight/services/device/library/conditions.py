"""Which pictures: filters as conditions on the table, and from when on a picture counts as blurred or tiny."""

from __future__ import annotations

from collections.abc import Collection

from sqlalchemy import ColumnElement, and_, not_, or_

from fanlight.services.device.library.records import IN_USE, Filter, Problem, State
from fanlight.storage.tables.device import pictures

BLURRED_BELOW = 40.0
"""Sharpness under which a picture counts as blurred.

Measured on the 330 stamps of Tux Paint with 64 pixels or more a side: of those as they are it takes none for blurred;
after a Gaussian blur of 1, 2 and 3 pixels 3 %, 67 % and 94 %.  (15 would find 0 %, 19 %, 73 %; 60 finds 6 %, 79 %,
97 %, but pictures taken in the dark come near it.)  Of 35 tiles of 140 pixels cut from photos of scikit-image, 3
are taken for blurred at every limit from 15 to 60: even grounds, in which there is nothing to see.
"""
TINY_BELOW = 64
"""Shorter side in pixels under which a picture counts as tiny."""

MOST_VALUES = 10_000
"""Values in one statement; SQLite takes 32,766."""


def in_use() -> ColumnElement[bool]:
    """Pictures in one of the states ``IN_USE``."""
    return pictures.c.state.in_([state.value for state in IN_USE])


def tiny() -> ColumnElement[bool]:
    """Pictures with few pixels."""
    return and_(in_use(), or_(pictures.c.width < TINY_BELOW, pictures.c.height < TINY_BELOW))


def blurred() -> ColumnElement[bool]:
    """Blurred pictures; of tiny ones that cannot be said."""
    small = or_(pictures.c.width < TINY_BELOW, pictures.c.height < TINY_BELOW)
    return and_(in_use(), not_(small), pictures.c.sharpness < BLURRED_BELOW)


def condition(wanted: Filter, duplicates: Collection[str]) -> ColumnElement[bool]:
    """A filter as a condition; ``duplicates`` are the pictures that have a double."""
    c, parts = pictures.c, []
    parts.append(c.state == wanted.state.value if wanted.state else c.state != State.DELETED.value)
    if wanted.label is not None:
        suggested = and_(c.state == State.SUGGESTED.value, c.suggestion == wanted.label)
        parts.append(or_(c.label == wanted.label, suggested))
    if wanted.problem == Problem.TINY:
        parts.append(tiny())
    elif wanted.problem == Problem.BLURRED:
        parts.append(blurred())
    elif wanted.problem == Problem.DUPLICATES:
        parts.append(c.sha256.in_(list(duplicates)[:MOST_VALUES]))
    return and_(*parts)
