"""The form that starts a study: plain choices, and a few lines of TOML for all others."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from fanlight.consoles.policy_form import Choice, Filled
from fanlight.errors import SettingsError
from fanlight.learning.algorithms import fedbn
from fanlight.learning.algorithms.registry import RECIPES
from fanlight.learning.datasets.prepare import NAMES
from fanlight.services.main_server.policy import Policy
from fanlight.services.main_server.service import MainService
from fanlight.services.main_server.studies.fleet import fitted, like_the_fleet
from fanlight.services.main_server.studies.permitted import (
    MOST_DEVICES,
    MOST_EPOCHS,
    MOST_ROUNDS,
    permitted,
    read_toml,
)
from fanlight.services.main_server.studies.studies import Studies
from fanlight.simulation.attacks.registry import ATTACKS

_PARTITIONS: Final = (
    ("iid", "all alike"),
    ("dirichlet:0.5", "somewhat different (Dirichlet 0.5)"),
    ("dirichlet:0.1", "very different (Dirichlet 0.1)"),
    ("classes:2", "two classes on each device"),
    ("classes:1", "one class on each device"),
    ("quantity:power=1", "few have many pictures, many few"),
    ("iid+rotation:30", "cameras that hang askew"),
)
_WORLDS: Final = (
    ("", "are always there, and alike"),
    ("diurnal:16,share=0.33", "a third sleep at night"),
    ("speeds:mixed", "are fast and slow ones"),
    ("diurnal:16,share=0.33+speeds:mixed", "a third sleep at night, and they are fast and slow ones"),
    ("random:0.5", "are there half of the time"),
    ("drop:train=0.2", "one in five fails while it trains"),
)
DATA: Final = Choice(
    "dataset", "Pictures", "Public ones: no server has those of devices.", tuple(zip(NAMES, NAMES, strict=True))
)
PARTITION: Final = Choice("partition", "Who has what", "How unlike the pictures of the devices are.", _PARTITIONS)
WORLD: Final = Choice("world", "The devices", "On a simulated clock.", _WORLDS)
HEAD: Final = Choice(
    "head",
    "Head",
    "What is learned on top of the backbone.",
    (("softmax", "softmax: trained"), ("analytic", "analytic: solved from sums"), ("prototypes", "prototypes: means")),
)
ALGORITHM: Final = Choice(
    "algorithm",
    "Algorithm",
    "How updates become the next model.",
    tuple((recipe.name, recipe.title) for recipe in RECIPES.values() if recipe.name != fedbn.RECIPE.name),
)
ATTACK: Final = Choice(
    "attack", "Attack", "What cheats do.", (("", "nobody cheats"), *((name, name) for name in ATTACKS))
)


@dataclass(frozen=True)
class Number:
    """A field that takes a number of a study.

    Attributes:
        name, label, unit, hint: in words.
        low, high: smallest and largest value.
        whole: is it a whole number?
    """

    name: str
    label: str
    hint: str
    low: float
    high: float
    whole: bool = True

    @property
    def range(self) -> str:
        """Its values in words."""
        return f"{self.low:,} to {self.high:,}" if self.whole else f"Above 0, at most {self.high:g}"

    def read(self, typed: str) -> float:
        """What was typed.

        Raises:
            ValueError: it is no such number; says what is.
        """
        text = typed.strip()[:20]
        try:
            value = int(text) if self.whole else float(text.replace(",", "."))
        except ValueError:
            value = self.low - 1
        if not self.low <= value <= self.high:
            raise ValueError(f"A {'whole ' * self.whole}number: {self.range.lower()}.")
        return value


DEVICES: Final = Number("devices", "Devices", "How many are simulated.", 1, MOST_DEVICES)
COHORT: Final = Number("cohort", "Drawn for a round", "0: all of them.", 0, MOST_DEVICES)
ATTACKERS: Final = Number("attackers", "Cheats, percent", "Of the devices, if there is an attack.", 0, 50)
ROUNDS: Final = Number("rounds", "Rounds", "How many.", 1, MOST_ROUNDS)
SEED: Final = Number("seed", "Seed", "The same seed gives the same numbers; another one draws anew.", 0, 2**31)
EPOCHS: Final = Number("epochs", "Passes in a round", "Over a device's own pictures.", 1, MOST_EPOCHS)
RATE: Final = Number("learning_rate", "Learning rate", "Length of a step.", 1e-6, 10, whole=False)
NUMBERS: Final = (DEVICES, COHORT, ATTACKERS, ROUNDS, SEED, EPOCHS, RATE)
FORM: Final[tuple[Choice | Number, ...]] = (
    DATA, PARTITION, DEVICES, COHORT, WORLD, ALGORITHM, HEAD, EPOCHS, RATE, ATTACK, ATTACKERS, ROUNDS, SEED,
)  # fmt: skip
"""In the order of the page."""
OPTIONS: Final = "options"
TOML: Final = "toml"
MOST_OPTIONS_LETTERS: Final = 200


def start(service: MainService, studies: Studies, typed: Mapping[str, str]) -> tuple[Filled, int]:
    """Start what was typed; nothing is started if anything is wrong with it.

    Returns:
        What was typed with what is wrong with it, and the number of the study, 0 if there is none.

    Raises:
        NotPossibleNow: too many studies. StorageError: the disk refuses.
    """
    wrong: dict[str, str] = {}
    fields = _fields(like_the_fleet(service), typed, wrong)
    try:
        more = read_toml(typed.get(TOML, ""))
        study = permitted(_joined(service.task.policy, fields, more)) if not wrong else None
    except SettingsError as error:
        wrong[""] = f"{error.message} {error.next}"
        study = None
    if study is None:
        return Filled(typed, wrong), 0
    return Filled(typed), studies.start(study).number


def shown(service: MainService, typed: Mapping[str, str]) -> dict[str, str]:
    """What stands in the fields: what was typed, else what is like the fleet."""
    like = like_the_fleet(service)
    name, _, options = str(like["algorithm"]).partition(":")
    found = like | like["training"] | {"algorithm": name, OPTIONS: options, "attackers": 10}
    names = [*(field.name for field in FORM), OPTIONS, TOML]
    return {name: typed.get(name, _text(found.get(name, ""))) for name in names}


def _text(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _fields(like: dict[str, Any], typed: Mapping[str, str], wrong: dict[str, str]) -> dict[str, Any]:
    """The fields of the study; ``wrong`` is told what is wrong with them."""
    numbers: dict[str, float] = {}
    for number in NUMBERS:
        if number.name in typed:
            try:
                numbers[number.name] = number.read(typed[number.name])
            except ValueError as error:
                wrong[number.name] = str(error)
    chosen = {name: typed[name] for name in ("dataset", "partition", "world", "head") if name in typed}
    training = like["training"] | {name: numbers.pop(name) for name in ("epochs", "learning_rate") if name in numbers}
    cheats = numbers.pop("attackers", 0)
    fields = like | chosen | numbers | {"training": training}
    if {"algorithm", OPTIONS} & typed.keys():
        name = typed.get("algorithm", like["algorithm"].partition(":")[0])
        fields["algorithm"] = ":".join(filter(None, (name, typed.get(OPTIONS, "").strip()[:MOST_OPTIONS_LETTERS])))
    if typed.get("attack"):
        fields["attack"] = f"{typed['attack']}:{cheats / 100:g}"
    return fields


def _joined(policy: Policy, fields: dict[str, Any], more: dict[str, Any]) -> dict[str, Any]:
    """What stands in TOML wins; what belongs to a study's size follows it, unless TOML says otherwise."""
    training = more.get("training")
    if isinstance(training, Mapping):
        more = more | {"training": fields["training"] | training}
    joined = fields | more
    if all(type(joined[name]) is int for name in ("devices", "cohort")):
        joined = fitted(policy, joined)
    return joined | more
