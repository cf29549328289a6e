"""Say what pictures of a device show, put them aside, and take that back."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from fanlight.errors import DataError
from fanlight.learning.folders import OWN
from fanlight.services.device.library import emptying, moving
from fanlight.services.device.library.gallery import Gallery
from fanlight.services.device.library.history import History
from fanlight.services.device.library.layout import Layout, normal
from fanlight.services.device.library.own_names import OwnName
from fanlight.services.device.library.records import Operation, State
from fanlight.services.device.library.surroundings import Surroundings


class Labelling(Gallery):
    """A device's pictures, to be looked at and sorted; errors as in ``Gallery``."""

    def __init__(self, around: Surroundings) -> None:
        super().__init__(around)
        self._history = History(around.database)

    def assign(self, ids: Sequence[str], label: str) -> int:
        """Say what pictures show; how many files were moved.

        Raises:
            DataError: the task has no such class.
        """
        self._check_label(label)
        return self._assign("assign", dict.fromkeys(ids, label))

    def confirm(self, ids: Sequence[str]) -> int:
        """The model is right about these."""
        found = [self._index.picture(sha256) for sha256 in ids]
        known = self.names
        right = {p.sha256: p.suggestion for p in found if p and p.state == State.SUGGESTED and p.suggestion in known}
        return self._assign("confirm", {sha256: label for sha256, label in right.items() if label})

    def set_unusable(self, ids: Sequence[str]) -> int:
        """Nothing can be learned from these; how many files were moved."""
        return self._put_aside("unusable", ids, State.NOT_USABLE)

    def delete(self, ids: Sequence[str]) -> int:
        """Put pictures into the trash; how many files were moved."""
        return self._put_aside("delete", ids, State.DELETED)

    def restore(self, ids: Sequence[str]) -> int:
        """Put deleted pictures back where they were; how many files were moved."""
        with self._changing:
            layout = self._layout()
            return self._perform(layout, "restore", moving.back(layout, self._index, self._history, list(ids)))

    def empty_bin(self) -> int:
        """Delete for good what is in the trash; how many files.  Nothing brings them back."""
        with self._changing:
            layout = self._layout()
            try:
                return emptying.empty_bin(layout, self._index, self._history)
            finally:
                self._settle(layout)

    def undoable(self) -> Operation | None:
        """What ``undo`` would take back now; None if there is nothing."""
        return moving.undoable(self._layout(), self._history)

    def undo(self) -> Operation | None:
        """Take back the last operation; None if there is none (of the last 50)."""
        with self._changing:
            layout = self._layout()
            undone = moving.undo(layout, self._index, self._history)
            self._settle(layout)
        return undone

    # -- names that only this home knows

    def add_own(self, name: str, kind: str | None = None, counts: bool = False) -> OwnName:
        """Add a name that pictures can be given; errors as in ``OwnNames.add``."""
        with self._changing:
            return self._named(self.own.add(name, kind, counts, self._around.classes()))

    def change_own(self, number: int, name: str, kind: str | None, counts: bool) -> OwnName:
        """Rename one, or say anew what it is; its pictures keep it. Errors as in ``OwnNames.change``."""
        with self._changing:
            layout, before = self._layout(), self.own.get(number)
            after = self.own.change(number, name, kind, counts, self._around.classes())
            if after.name != before.name:
                moving.rename_folder(layout, self._index, layout.own_folder(before.name), f"{OWN}/{after.name}")
            return self._named(after)

    def remove_own(self, number: int) -> int:
        """Forget a name; its pictures lose their label. How many files were moved; errors as in ``OwnNames.get``."""
        with self._changing:
            layout, own = self._layout(), self.own.get(number)
            gone = [sha256 for sha256, _path, label, home in self._index.labelled() if home and label == own.name]
            moves = moving.aside(layout, self._index, gone, State.UNLABELLED)
            self.own.remove(number)
            try:
                return self._perform(layout, "unlabel", moves)
            finally:
                self._named(own)

    def _named(self, own: OwnName) -> OwnName:
        self._settle(self._layout())
        self._around.on_change()
        return own

    def _give(self, said: Mapping[str, str], onto: int | None = None) -> tuple[dict[str, int], int | None]:
        """Give labels to those of the pictures that have none: how many by class, and in which operation."""
        with self._changing:
            labels = self._without_label(said)
            layout = self._layout()
            moved = self._perform(layout, "assign", moving.to_class(layout, self._index, labels), onto)
            last = self._history.last()
            found = self._index.pictures(labels)
        given = Counter(labels[key] for key, picture in found.items() if picture.state == State.LABELLED)
        return dict(given), last[0] if moved and last else None

    def _without_label(self, said: Mapping[str, str]) -> dict[str, str]:
        waiting = (State.UNLABELLED, State.SUGGESTED)
        return {key: said[key] for key, picture in self._index.pictures(said).items() if picture.state in waiting}

    def _assign(self, kind: str, labels: dict[str, str]) -> int:
        with self._changing:
            layout = self._layout()
            moves = moving.to_class(layout, self._index, labels)
            return self._perform(layout, kind, moves)

    def _put_aside(self, kind: str, ids: Sequence[str], state: State) -> int:
        with self._changing:
            layout = self._layout()
            return self._perform(layout, kind, moving.aside(layout, self._index, list(ids), state))

    def _perform(self, layout: Layout, kind: str, moves: list[tuple[str, str]], onto: int | None = None) -> int:
        try:
            with self._stamps.moving(layout.root, moves):
                return moving.perform(layout, self._index, self._history, kind, moves, self._now(), onto)
        finally:
            self._settle(layout)

    def _check_label(self, label: str) -> None:
        known = self.names
        if normal(label) not in {normal(name) for name in known}:
            raise DataError(
                f"The task has no class {label[:64]!r}; it has: {', '.join(known) or 'none yet'}.",
                slug="unknown-class",
                next="Choose one of these, or propose the new class to the operator.",
            )
