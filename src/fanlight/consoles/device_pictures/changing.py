"""What the buttons on pages with pictures do, and how it is said afterwards."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from starlette.datastructures import FormData
from starlette.requests import Request

from fanlight.consoles.formats import count
from fanlight.errors import DataError
from fanlight.services.device.library.actions import ACTIONS
from fanlight.services.device.library.library import Library

NUMBER_KEYS: Final = 9
"""Classes that have a key of their own, 1 to 9; the others are in a list."""
_SAID: Final[Mapping[str, str]] = {
    "assign": "{} labelled.",
    "confirm": "{} confirmed.",
    "unusable": "{} marked as not usable.",
    "delete": "{} deleted. Under “Deleted”, pictures come back.",
    "restore": "{} put back.",
    "empty": "{} deleted for good.",
    "undo": "{} put back.",
    "propose": "The new class was proposed to the operator, who decides about it.",
}


def change(library: Library, form: FormData) -> tuple[str, int]:
    """Do what the pressed button says: its kind, and how many pictures it concerned.

    Raises:
        DataError: there is no such button, or as the library's methods.
    """
    ids = [value for value in form.getlist("picture") if isinstance(value, str)]
    right, label, kind = _text(form, "right"), _text(form, "assign"), _text(form, "do")
    if right:
        return "confirm", library.confirm([right])
    if label:
        return "assign", library.assign(ids, label)

    def suggest() -> int:
        library.suggest()
        return 0

    def propose() -> int:
        library.propose_class(_text(form, "name"))
        return 1

    def undo() -> int:
        undone = library.undo()
        return undone.count if undone else 0

    if kind in ACTIONS:
        return kind, ACTIONS[kind](library, ids, _text(form, "label"))
    buttons: dict[str, Callable[[], int]] = {
        "empty": library.empty_bin,
        "suggest": suggest,
        "propose": propose,
        "undo": undo,
    }
    if kind not in buttons:
        raise DataError("There is no such button.", slug="no-such-button", next="Reload the page.")
    return kind, buttons[kind]()


def said(request: Request) -> str | None:
    """What the last button did, as its redirect says; nothing but these sentences can come out of an address."""
    kind, number = request.query_params.get("did", ""), request.query_params.get("count", "")
    if kind not in _SAID or not (number.isascii() and number.isdigit() and len(number) < 9):
        return None
    return _SAID[kind].format(count(int(number), "file" if kind == "empty" else "picture"))


def _text(form: FormData, name: str) -> str:
    value = form.get(name)
    return value if isinstance(value, str) else ""
