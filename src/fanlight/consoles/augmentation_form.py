"""The form of how devices vary their pictures: its fields in words, and what is wrong with what somebody typed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from fanlight.consoles.policy_form import Choice, Filled
from fanlight.errors import FanlightError
from fanlight.services.main_server.augmentation_choice import MOST
from fanlight.services.main_server.service import MainService


@dataclass(frozen=True)
class Number:
    """A field that takes a whole number from 0 to ``most``: ``name`` in the choice, the rest in words."""

    name: str
    label: str
    unit: str
    hint: str

    @property
    def most(self) -> int:
        """The largest value."""
        return MOST[self.name]


NUMBERS: Final = (
    Number("variants", "Variants of each training picture", "variants",
           "0: none. A device computes the features of each once, which takes as long as for a picture."),
    Number("zoom_percent", "Cut out a part, narrower by up to", "percent",
           "Any part of the picture, as if the thing were nearer or at another place. 0: the whole picture."),
    Number("light_percent", "Change light and contrast by up to", "percent", "0: they stay."),
)  # fmt: skip
FLIP: Final = Choice(
    "flip",
    "Mirror every other variant",
    "Left and right change places. Not for digits, writing, or things that point somewhere.",
    (("yes", "yes"), ("no", "no")),
)


def change_augmentation(service: MainService, typed: Mapping[str, str]) -> Filled:
    """Change what was typed; nothing is changed if anything is wrong with it.

    Raises:
        StorageError: the disk refuses.
    """
    fields: dict[str, Any] = service.task.augmentation.model_dump()
    fields |= {number.name: _number(typed[number.name]) for number in NUMBERS if number.name in typed}
    if FLIP.name in typed:
        fields[FLIP.name] = {"yes": True, "no": False}.get(typed[FLIP.name], typed[FLIP.name])
    wrong = type(service.task.augmentation).flaws(fields)
    if not wrong:
        try:
            service.change_augmentation(**fields)
        except FanlightError as error:
            if error.slug not in ("bad-settings", "bad-layout", "round-not-over", "task-edited"):
                raise
            wrong[""] = f"{error.message} {error.next}"
    return Filled(typed, wrong)


def _number(typed: str) -> int | str:
    """The number in ``typed``; what is none stays as it is, and is refused with the rest."""
    try:
        return int(typed)
    except ValueError:
        return typed
