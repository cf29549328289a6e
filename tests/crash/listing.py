"""Which moments there are to die at in each scenario, and which of them no scenario before it has.

A point is known by the kind of its role (all devices are one kind), its label, which names the function that commits,
the file or the route, and how often it was reached. What a label names is the same code wherever it is reached, so a
label is tried in one scenario alone, the first that reaches it, with all its occurrences there; and again in those
that say that it does something else in them.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, NamedTuple

from tests.crash.federation import SERVERS, Federation
from tests.crash.points import Point
from tests.crash.role import Role, until
from tests.crash.scenarios import BY_HAND, FIRST, SCENARIOS, Scenario

When = Literal["first", "later"]
"""In a first start, or in a cycle of a federation that runs."""
WHEN: Final[tuple[When, When]] = ("later", "first")
Code = tuple[str, str]
_LISTING_S: Final = 1800.0
_HANGS_ON_WHO_IS_FASTER: Final = ("commit rounds.Rounds.told_main,",)
"""That main was told of an end is stored by itself, or with the next round if main has proposed that by then."""


class Place(NamedTuple):
    """Who dies, and where."""

    victim: str
    point: Point

    @property
    def code(self) -> Code:
        """What it is of: the kind of role, and the label."""
        return self.victim if self.victim in SERVERS else "device", self.point.label


@dataclass(frozen=True)
class Listed:
    """The places of one scenario.

    Attributes:
        places: for both times, each with whether it is steady: reached whenever it is tried.
    """

    places: Mapping[When, Mapping[Place, bool]]

    def without(self, codes: set[Code], again: tuple[str, ...]) -> Listed:
        """Those of other code, and in a cycle ``again`` some; each at one time only: at the start if never later."""
        kept: dict[When, dict[Place, bool]] = {}
        for when in WHEN:
            kept[when] = {
                place: steady
                for place, steady in self.places[when].items()
                if place.code not in codes or (when == "later" and any(part in place.point.label for part in again))
            }
            codes = codes | {place.code for place in kept[when]}
        return Listed(kept)

    @property
    def codes(self) -> set[Code]:
        """All code that they are of."""
        return {place.code for when in WHEN for place in self.places[when]}


def listed_in(federation: Federation, scenario: Scenario) -> Listed:
    """What is reached in the first start of a federation that has just started, and in its second cycle.

    Of the first cycle, much happens once: features, and nobody has an older model.
    """
    first = {place for victim in FIRST for place in _reached(victim, federation.roles[victim], 0)}
    federation.cycle()
    roles = {victim: federation.roles[federation.named(victim)] for victim in scenario.later}
    before = {victim: len(role.said("point")) for victim, role in roles.items()}
    for role in roles.values():
        role.command("list")
    federation.cycle()
    later = {place for victim, role in roles.items() for place in _reached(victim, role, before[victim])}
    return Listed({"first": _once_at_least(first), "later": _once_at_least(later, scenario.by_chance)})


def _once_at_least(places: set[Place], by_chance: tuple[str, ...] = ()) -> dict[Place, bool]:
    """As far as one listing tells: what was reached is reached again, but how often may hang on who is faster."""
    return {
        place: place.point.occurrence == 1 and not any(part in place.point.label for part in by_chance)
        for place in sorted(places)
    }


def _reached(victim: str, role: Role, since: int) -> set[Place]:
    return {Place(victim, Point(said["label"], said["occurrence"])) for said in role.said("point")[since:]}


@dataclass(frozen=True)
class Listings:
    """All scenarios' places: whichever worker of a run is first lists, the others wait for it.

    Attributes:
        folder: the workers' own.
        homes: folders of pictures, enough for every scenario.
        times: how often each is listed, each time in a new federation.
    """

    folder: Path
    homes: tuple[Path, ...]
    times: int

    def all_of(self, scenario: Scenario) -> Listed:
        """Every place of a scenario."""
        if self._claims(scenario):
            self._keep(scenario, _together([self._listed(scenario, number) for number in range(self.times)], scenario))
        path = self.folder / f"{scenario.name}.json"
        until(path.exists, f"another worker lists {scenario.name}", limit_s=_LISTING_S)
        return _decoded(path.read_text())

    def of(self, scenario: Scenario) -> Listed:
        """The places of a scenario whose code no scenario before it has."""
        return self._new(scenario, self.all_of(scenario), SCENARIOS[: SCENARIOS.index(scenario)])

    def of_running(self, scenario: Scenario, federation: Federation) -> Listed:
        """The same, listed once in a federation that has just started, but compared with rounds by hand alone."""
        is_first = scenario is BY_HAND and self._claims(scenario)
        listed = listed_in(federation, scenario)
        if is_first:
            self._keep(scenario, listed)
        return self._new(scenario, listed, () if scenario is BY_HAND else (BY_HAND,))

    def _new(self, scenario: Scenario, listed: Listed, others: tuple[Scenario, ...]) -> Listed:
        known: set[Code] = set().union(*(self.all_of(other).codes for other in others))
        return listed.without(known, scenario.again) if others else listed

    def _claims(self, scenario: Scenario) -> bool:
        try:
            os.close(os.open(self.folder / f"{scenario.name}.claimed", os.O_CREAT | os.O_EXCL))
        except FileExistsError:
            return False
        return True

    def _keep(self, scenario: Scenario, listed: Listed) -> None:
        new = self.folder / f"{scenario.name}.new"
        new.write_text(_encoded(listed))
        new.replace(self.folder / f"{scenario.name}.json")

    def _listed(self, scenario: Scenario, number: int) -> Listed:
        folder = self.folder / f"{scenario.name}-{number}"
        folder.mkdir()
        federation = scenario.make(folder, self.homes[: scenario.devices])
        try:
            federation.start()
            return listed_in(federation, scenario)
        finally:
            federation.close()


def _together(listings: list[Listed], scenario: Scenario) -> Listed:
    """All that was reached in any of them; of several, what was reached in each is steady."""
    if len(listings) == 1:
        return listings[0]
    found: dict[When, dict[Place, bool]] = {}
    for when in WHEN:
        places = sorted(set().union(*(listed.places[when] for listed in listings)))
        by_chance = scenario.by_chance if when == "later" else ()
        found[when] = {
            place: _is_steady(place, [listed.places[when] for listed in listings], by_chance) for place in places
        }
    return Listed(found)


def _is_steady(place: Place, reached: list[Mapping[Place, bool]], by_chance: tuple[str, ...]) -> bool:
    if place.point.occurrence > 1 and place.point.label.startswith(_HANGS_ON_WHO_IS_FASTER):
        return False
    if any(part in place.point.label for part in by_chance):
        return False
    return all(place in places for places in reached)


def _encoded(listed: Listed) -> str:
    return json.dumps({when: [[*place, steady] for place, steady in listed.places[when].items()] for when in WHEN})


def _decoded(text: str) -> Listed:
    read = json.loads(text)
    return Listed({when: {Place(who, Point(*point)): steady for who, point, steady in read[when]} for when in WHEN})
