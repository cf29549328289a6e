"""The form of the algorithm: which there are, its parameters in words, and what is wrong with what somebody typed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from fanlight.consoles.policy_form import Choice, Filled
from fanlight.errors import FanlightError
from fanlight.learning.algorithms.registry import RECIPES
from fanlight.services.main_server.algorithm_choice import AlgorithmChoice
from fanlight.services.main_server.service import MainService

NAME: Final = Choice(
    "name",
    "Algorithm",
    "Save, and what it does and its parameters stand here.",
    tuple((recipe.name, recipe.title) for recipe in RECIPES.values() if not recipe.why_not),
)
COMBINE: Final = Choice(
    "combine",
    "Combine shards by",
    "All but the mean find a middle that a few bad shards cannot move at will. For them, first set the rules below:"
    " shards always, and a limit of three shards or more, for Krum of five.",
    (
        ("mean", "the mean"),
        ("median", "the median"),
        ("trimmed-mean", "a trimmed mean"),
        ("geometric-median", "the geometric median"),
        ("krum", "Krum: the most central one"),
    ),
)


def change_algorithm(service: MainService, typed: Mapping[str, str]) -> Filled:
    """Change what was typed; nothing is changed if anything is wrong with it.

    Parameters belong to the algorithm that the form showed; another one begins with its defaults.

    Raises:
        StorageError: the disk refuses.
    """
    now = service.task.algorithm
    name, combine = typed.get("name", now.name), typed.get("combine", now.combine)
    same = {parameter.name for parameter in now.recipe.parameters} if name == now.name else set()
    parameters = {field: _number(typed[field]) for field in sorted(same & typed.keys())}
    wrong = AlgorithmChoice.flaws(name, parameters, combine)
    if not wrong:
        try:
            service.change_algorithm(name=name, parameters=parameters, combine=combine)
        except FanlightError as error:
            if error.slug not in ("bad-settings", "bad-layout", "round-not-over", "task-edited"):
                raise
            wrong[""] = f"{error.message} {error.next}"
    return Filled(typed, wrong)


def _number(typed: str) -> Any:
    """The number in ``typed``; what is none stays as it is, and is refused with the rest."""
    try:
        return float(typed.replace(",", "."))
    except ValueError:
        return typed
