"""What the buttons on pages with pictures do, and how it is said afterwards."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from starlette.datastructures import FormData
from starlette.requests import Request

from fanlight.errors import DataError
from fanlight.services.device.library.actions import ACTIONS
from fanlight.services.device.library.layout import normal
from fanlight.services.device.library.library import Library
from fanlight.services.device.library.records import Operation

NUMBER_KEYS: Final = 9
"""Classes that have a key of their own, 1 to 9; the others are in a list."""
NOTHING_CHOSEN: Final = "nothing-chosen"
LABEL_AS_SAID: Final = "as-said"
"""The button that labels pictures as their folders in a ZIP file are called."""
_SAID: Final = frozenset((*ACTIONS, NOTHING_CHOSEN, LABEL_AS_SAID, "undo", "empty", "propose"))


@dataclass(frozen=True)
class Did:
    """What a button did.

    Attributes:
        button: what it is called in forms; ``NOTHING_CHOSEN`` where it was pressed for no picture.
        operation: what was done to pictures, or taken back; None if nothing was.
    """

    button: str
    operation: Operation | None = None

    @property
    def tone(self) -> str:
        """As notes are coloured."""
        return "good" if self.button == "propose" or (self.operation and self.operation.count) else "warn"

    def query(self) -> dict[str, object]:
        """For the address of the page that says it."""
        if self.operation is None:
            return {"did": self.button}
        done = self.operation
        of = done.kind if done.kind != self.button else None
        return {"did": self.button, "of": of, "count": done.count, "to": done.label}


def change(library: Library, form: FormData) -> Did:
    """Do what the pressed button says.

    Raises:
        DataError: there is no such button, or as the library's methods.
    """
    ids = [value for value in form.getlist("picture") if isinstance(value, str)]
    right, label, kind = _text(form, "right"), _text(form, "assign"), _text(form, "do")
    if right:
        kind, ids = "confirm", [right]
    elif label:
        kind = "assign"
    if kind in ACTIONS:
        if not ids:
            return Did(NOTHING_CHOSEN)
        label = label or _text(form, "label")
        count = ACTIONS[kind](library, ids, label)
        return Did(kind, Operation(kind, count, label if kind == "assign" else None))

    def suggest() -> None:
        library.suggest()

    def propose() -> None:
        library.propose_class(_text(form, "name"))

    def empty() -> Operation:
        return Operation("empty", library.empty_bin())

    def as_said() -> Operation:
        return library.label_as_said(_text(form, "upload"))

    buttons: dict[str, Callable[[], Operation | None]] = {
        LABEL_AS_SAID: as_said,
        "empty": empty,
        "suggest": suggest,
        "propose": propose,
        "undo": library.undo,
    }
    if kind not in buttons:
        raise DataError("There is no such button.", slug="no-such-button", next="Reload the page.")
    return Did(kind, buttons[kind]())


def did(request: Request, library: Library) -> Did | None:
    """What the last button did, as its redirect says; nothing but known words can come out of an address."""
    given = request.query_params
    button, number, label = given.get("did", ""), given.get("count", ""), normal(given.get("to", ""))
    kind = given.get("of", button)
    if button not in _SAID or kind not in _SAID:
        return None
    if not number:
        return Did(button)
    if not (number.isascii() and number.isdigit() and len(number) < 9):
        return None
    known = next((name for name in library.names if normal(name) == label), None)
    return Did(button, Operation(kind, int(number), known))


def _text(form: FormData, name: str) -> str:
    value = form.get(name)
    return value if isinstance(value, str) else ""
