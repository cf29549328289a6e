"""Names that only this home knows: family, the own cat, the own car.

They are in this device's database and folder, on its pages and in its own head; no message, count, metric or log line
has them. A name may be a kind of one of the task's classes (Minka is a cat): then its owner can let its pictures count
as that class's in what the device learns for all, still without the name. By default they do not count.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from sqlalchemy import Executable, delete, insert, select, update

from fanlight.errors import DataError, NotFound
from fanlight.services.device.library.layout import check_folder_name, normal
from fanlight.storage.database import Database
from fanlight.storage.tables.device import own_names

MOST: Final = 200
"""Names of a home."""
LONGEST: Final = 64
"""Characters of a name."""
_ADVICE: Final = "Choose a name without / or \\ that does not begin with a dot."


@dataclass(frozen=True)
class OwnName:
    """A name.

    Attributes:
        number: what addresses and forms call it.
        name: what its pictures show.
        kind: the task's class that it is one of, if so.
        counts: do its pictures count as that class's for the federation?
    """

    number: int
    name: str
    kind: str | None = None
    counts: bool = False


class OwnNames:
    """All of them, in memory too: pages and the reading of pictures ask often.

    Args:
        database: where they are kept.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._changing = threading.Lock()
        self._known: tuple[OwnName, ...] = ()
        self._read()

    @property
    def all(self) -> tuple[OwnName, ...]:
        """In the order in which they came."""
        return self._known

    @property
    def counted(self) -> Mapping[str, str]:
        """The names whose pictures count as a class's, and the class."""
        return MappingProxyType({own.name: own.kind for own in self._known if own.counts and own.kind})

    def get(self, number: int) -> OwnName:
        """One of them.

        Raises:
            NotFound: there is none with this number.
        """
        found = next((own for own in self._known if own.number == number), None)
        if found is None:
            raise NotFound("There is no such name (any more).", next="Load the page again.")
        return found

    def check(self, name: str, classes: Sequence[str], *, but: int | None = None) -> str:
        """The name in its one spelling, if it can be taken.

        Args:
            name: as it was typed.
            classes: the task's.
            but: the number of the name that is to be called so.

        Raises:
            DataError: no folder can be called so, it is too long, or a class or another name is called so.
        """
        name = normal(name.strip())
        check_folder_name(name, _ADVICE)
        if len(name) > LONGEST:
            raise DataError(f"A name has {LONGEST} characters at most.", slug="bad-class-name", next="Shorten it.")
        taken = {normal(known).casefold() for known in classes}
        taken |= {own.name.casefold() for own in self._known if own.number != but}
        if name.casefold() in taken:
            raise DataError(
                f"There is {name} already.", slug="class-exists", next="Choose a name that nothing here has yet."
            )
        return name

    def add(self, name: str, kind: str | None, counts: bool, classes: Sequence[str]) -> OwnName:
        """Add a name; errors as in ``check``.

        Raises:
            DataError: the kind is none of the classes, or there are too many names.
        """
        with self._changing:
            name, kind = self.check(name, classes), _checked_kind(kind, classes)
            if len(self._known) >= MOST:
                raise DataError(f"A home has {MOST} names at most.", next="Delete one that is not needed.")
            self._put(insert(own_names).values(name=name, kind=kind, counts=bool(kind and counts)))
        return next(own for own in self._known if own.name == name)

    def change(self, number: int, name: str, kind: str | None, counts: bool, classes: Sequence[str]) -> OwnName:
        """Rename it, or say anew what it is; errors as in ``add`` and ``get``."""
        with self._changing:
            self.get(number)
            name, kind = self.check(name, classes, but=number), _checked_kind(kind, classes)
            values = {"name": name, "kind": kind, "counts": bool(kind and counts)}
            self._put(update(own_names).where(own_names.c.number == number).values(**values))
        return self.get(number)

    def remove(self, number: int) -> None:
        """Forget it; errors as in ``get``."""
        with self._changing:
            self.get(number)
            self._put(delete(own_names).where(own_names.c.number == number))

    def adopt(self, names: Iterable[str]) -> None:
        """Take the names that folders have which the owner made by hand, as far as they can be names."""
        with self._changing:
            known = {own.name for own in self._known}
            for name in sorted(set(names) - known)[: max(0, MOST - len(known))]:
                if name.isprintable() and len(name) <= LONGEST:
                    self._put(insert(own_names).values(name=name, counts=False))

    def _put(self, statement: Executable) -> None:
        with self._database.transaction() as tx:
            tx.execute(statement)
        self._read()

    def _read(self) -> None:
        with self._database.reading() as tx:
            rows = tx.execute(select(own_names).order_by(own_names.c.number)).all()
        self._known = tuple(OwnName(row.number, row.name, row.kind, row.counts) for row in rows)


def _checked_kind(kind: str | None, classes: Sequence[str]) -> str | None:
    if kind and kind not in classes:
        raise DataError("The task has no such class.", slug="unknown-class", next="Choose one of its classes.")
    return kind or None
