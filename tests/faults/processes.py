"""A role as a process that can die: one life after the other, with what outlives them."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Generic, Protocol, TypeVar

from fanlight.errors import FanlightError, StorageError
from fanlight.storage.database import Database
from tests.faults.lines import ServerFault
from tests.faults.stores import Died, Fate, Store

Life = TypeVar("Life", bound="Living")


class Living(Protocol):
    """One life of a process, with its database."""

    @property
    def database(self) -> Database:
        """The present one."""

    def close(self) -> None:
        """Give back what the process held."""


class Process(Generic[Life]):
    """A role over all its lives.

    Args:
        store: what outlives them.
        begin: starts one.
    """

    def __init__(self, store: Store, begin: Callable[[Store], Life]) -> None:
        self.store, self._begin = store, begin
        self._life: Life | None = None
        self.restart()

    @property
    def fate(self) -> Fate:
        return self.store.fate

    @property
    def is_up(self) -> bool:
        return self._life is not None and not self.fate.is_dead

    @property
    def life(self) -> Life:
        """The present life.

        Raises:
            Died: there is none.
        """
        self.fate.check()
        if self._life is None:
            raise Died
        return self._life

    def restart(self) -> None:
        """End, if it has not, and start again; that it dies while it starts leaves it dead."""
        self.stop()
        self.fate.is_dead = False
        with suppress(Died):
            self._life = self._begin(self.store)

    def stop(self) -> None:
        """The operating system takes back what the process held; what is in its memory is gone."""
        if self._life is not None:
            self._life.close()
        self._life = None
        self.store.close()

    def act(self, what: Callable[[Life], object]) -> None:
        """Let it do something, unless it is dead; that it is refused, or dies, is a part of life."""
        if not self.is_up:
            return
        try:
            what(self.life)
        except Died:
            assert self.fate.is_dead
        except StorageError as error:
            raise ServerFault(f"{error.slug}: {error}") from error
        except FanlightError:
            pass
