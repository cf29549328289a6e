"""The form of the policy: its fields in words, with units and ranges, and what is wrong with what somebody typed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from fanlight.errors import FanlightError
from fanlight.protocol.manifest import MOST_REJECTED_PERCENT
from fanlight.services.main_server.policy import Policy
from fanlight.services.main_server.service import MainService

SECONDS: Final = "seconds"
UNITS_S: Final = {SECONDS: 1, "minutes": 60, "hours": 3600, "days": 86_400}
"""Units in which a time may be typed, the smallest first."""


@dataclass(frozen=True)
class Number:
    """A field that takes a whole number.

    Attributes:
        name: of the policy's field.
        label, unit, hint: in words; a number of seconds may be typed in any of ``units``.
        low, high: smallest and largest value.
    """

    name: str
    label: str
    unit: str
    hint: str

    @property
    def low(self) -> int:
        """The smallest value."""
        return Policy.range_of(self.name)[0]

    @property
    def high(self) -> int:
        """The largest value."""
        return Policy.range_of(self.name)[1]

    @property
    def units(self) -> tuple[str, ...]:
        """To choose from; none where there is only one."""
        return tuple(UNITS_S) if self.unit == SECONDS else ()

    def shown(self, policy: Policy, typed: Mapping[str, str]) -> tuple[str, str]:
        """What stands in the field, and its unit: what was typed, else the policy's, without a remainder."""
        if self.name in typed:
            return typed[self.name], typed.get(_unit_of(self.name), self.unit)
        value = int(getattr(policy, self.name))
        unit = next((unit for unit in reversed(self.units) if value and not value % UNITS_S[unit]), self.unit)
        return str(value // UNITS_S.get(unit, 1)), unit


NUMBERS: Final = (
    Number("k_min", "Fewest devices in a sum", "devices", "This federation's rule."
           " Beside it, each device has a floor of its own: five, unless its owner agrees to fewer."),
    Number("n_max", "Most devices in a sum", "devices", "The more, the coarser each number travels."),
    Number("cohort_size", "Devices drawn for a round", "devices", "0: all take part."),
    Number("over_selection_percent", "More devices drawn, for those that fail", "percent",
           "The round ends when as many as above have reported."),
    Number("min_class_supporters", "Devices that must have a class", "devices",
           "A class that fewer have pictures of is held back. 0: as many as a sum needs, in a demonstration one."),
    Number("r_max_percent", "Largest share of rejected reports", "percent",
           f"With more, the round is abandoned. At most {MOST_REJECTED_PERCENT}."),
    Number("window_s", "A round stays open for", SECONDS, "0: ten minutes by itself, seven days by hand."),
    Number("wait_s", "Patience with connected devices", SECONDS, "Once enough reports are in."),
    Number("expected_percent", "Share of connected devices to wait for", "percent", "100: all of them."),
    Number("rounds", "Training rounds to run by themselves", "rounds", "0: no end."),
    Number("patience_rounds", "End after so many rounds that got no better", "rounds",
           "By itself; then the version with the highest accuracy on held-out pictures is current. 0: never."),
    Number("stop_on_drop_points", "Stop when accuracy is so far below the best", "percentage points",
           "Then the best version is current again, and no round opens until you let rounds go on. 0: never."),
    Number("changes_from", "Take changes in from", "devices", "Where the head is solved from sums: so many devices that"
           " join, change or leave open a round by themselves. 0: as many as a sum needs."),
    Number("update_bits", "Width of an update's numbers", "bits", "16 or 10 make reports smaller, and rounding coarser;"
           " then let fewer pictures of a device count. 0: not packed."),
    Number("most_pictures", "Most pictures of a device that count", "pictures",
           "A device with more weighs no more than that."),
    Number("most_shards", "Most shards of a round that has any", "shards", "The more, the less a cheat can spoil."),
    Number("polls_per_second", "Polls for news that are wanted", "a second",
           "More devices than ten times this pause between polls, and hear of news later."),
)  # fmt: skip
"""The policy's numbers, in the order of the form."""


@dataclass(frozen=True)
class Text:
    """A field that takes a few words: ``name`` of the policy's field, the rest in words."""

    name: str
    label: str
    hint: str


@dataclass(frozen=True)
class Choice:
    """A field that is one of a few words.

    Attributes:
        name: of the policy's field.
        label, hint: in words.
        options: value and words of each.
    """

    name: str
    label: str
    hint: str
    options: tuple[tuple[str, str], ...]


CHOICES: Final = (
    Choice("shards", "Add reports up in shards",
           "Then one device that sends garbage spoils only its own shard. In turn the main server sees smaller sums,"
           " none of fewer devices than a sum needs.",
           (("never", "never"), ("after-failure", "after a round that has failed"), ("always", "always"))),
)  # fmt: skip
"""The policy's choices, in the order of the form."""


TEXTS: Final = (
    Text("quiet_hours", "Quiet hours, in which no round opens", "Such as 22:00-06:00. Empty: none."),
    Text("timezone", "Time zone of the quiet hours", "Such as Europe/Berlin, or UTC."),
)
"""The policy's texts, in the order of the form."""


@dataclass(frozen=True)
class Filled:
    """What somebody typed.

    Attributes:
        typed: by field, as it came.
        wrong: by field, what is wrong with it; under ``""`` what does not go together.
    """

    typed: Mapping[str, str] = field(default_factory=dict)
    wrong: Mapping[str, str] = field(default_factory=dict)


def change_policy(service: MainService, typed: Mapping[str, str]) -> Filled:
    """Change what was typed; nothing is changed if anything is wrong with it.

    Raises:
        StorageError: the disk refuses.
    """
    changes: dict[str, Any] = {number.name: _number(number.name, typed) for number in NUMBERS if number.name in typed}
    changes |= {choice.name: typed[choice.name] for choice in CHOICES if choice.name in typed}
    changes |= {text.name: typed[text.name].strip() for text in TEXTS if text.name in typed}
    wrong = service.task.policy.flaws(changes)
    if not wrong:
        try:
            service.change_policy(**changes)
        except FanlightError as error:
            if error.slug not in ("bad-settings", "bad-layout"):
                raise
            wrong[""] = error.message
    return Filled(typed, wrong)


def _number(name: str, typed: Mapping[str, str]) -> int | str:
    """The number that was typed, times its unit; what is none stays as it is, and is refused with the rest."""
    try:
        return int(typed[name]) * UNITS_S.get(typed.get(_unit_of(name), SECONDS), 1)
    except ValueError:
        return typed[name]


def _unit_of(name: str) -> str:
    """The field beside that of ``name``, in which its unit is chosen."""
    return f"{name}_in"
