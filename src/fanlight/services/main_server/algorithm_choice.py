"""Which federated algorithm a task goes by: its name, its parameters, and how sums of several shards are combined."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from fanlight.errors import SettingsError
from fanlight.learning.algorithms.algorithm import Algorithm
from fanlight.learning.algorithms.recipe import MICRO, Recipe
from fanlight.learning.algorithms.registry import recipe
from fanlight.learning.algorithms.robust import ROBUST, flaw_with
from fanlight.protocol.plan import PlannedAlgorithm

Combine = Literal["mean", "median", "trimmed-mean", "geometric-median", "krum"]
"""``mean``, or one of ``robust.ROBUST``."""


class AlgorithmChoice(BaseModel):
    """How what devices learned becomes the next model.

    Attributes:
        name: of the algorithm, see docs/algorithms.md.
        parameters: numbers by name, as docs/algorithms.md lists them; those that are not given have their default.
        combine: in rounds that are summed in shards, how the shards' means become one: mean, or a middle that a
            minority of bad shards cannot move at will. With it, the policy must say shards always and most_shards 3 or
            more, for krum 5.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    name: str = "fedavg"
    parameters: dict[str, float] = Field(default_factory=dict)
    combine: Combine = "mean"

    @model_validator(mode="after")
    def _check(self) -> AlgorithmChoice:
        for field, flaw in self.flaws(self.name, self.parameters, self.combine).items():
            raise ValueError(f"{field}: {flaw.rstrip('.')}")
        return self

    @staticmethod
    def flaws(name: str, parameters: Mapping[str, object], combine: str) -> dict[str, str]:
        """What is wrong with a choice, by ``name``, ``combine`` or parameter, in sentences; empty if nothing is.

        Whether ``combine`` is a word that is known shows when the choice is made.
        """
        try:
            chosen = recipe(name)
        except SettingsError as error:
            return {"name": f"{error.message} {error.next}"}
        if chosen.why_not:
            return {"name": f"{chosen.title} cannot be chosen: {chosen.why_not}."}
        found = chosen.flaws(parameters)
        if not found and combine in ROBUST and (flaw := flaw_with(chosen.of({}))):
            return {"combine": f"{chosen.title} does not go with {combine}. {flaw}"}
        return found

    @property
    def recipe(self) -> Recipe:
        """What is known of the algorithm."""
        return recipe(self.name)

    @property
    def values(self) -> dict[str, float]:
        """All its parameters."""
        return self.recipe.filled(self.parameters)

    @functools.cached_property
    def algorithm(self) -> Algorithm:
        """The algorithm with its parameters."""
        return self.recipe.of(self.parameters)

    @property
    def planned(self) -> PlannedAlgorithm | None:
        """What devices are told; None if they need not be."""
        made = self.algorithm
        if made.is_plain_on_devices:
            return None
        return PlannedAlgorithm(
            name=self.name,
            parameters=tuple((name, round(value * MICRO)) for name, value in self.values.items()),
            control_clip_micro=round(made.control_clip * MICRO) if made.control_clip else None,
            steps=made.sends_steps,
        )

    def as_json(self) -> dict[str, Any]:
        """As the API and the card of a model show it."""
        return {"name": self.name, "title": self.recipe.title, "parameters": self.values, "combine": self.combine}
