"""How much of the backbone learns, as a task says it, and the tensors that the first version has of it."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from fanlight.core.tensors import TensorLayout, TensorSpec
from fanlight.errors import SettingsError
from fanlight.learning.algorithms import fedbn
from fanlight.learning.algorithms.algorithm import Algorithm
from fanlight.learning.backbones import CompiledBackbone
from fanlight.learning.heads import head_layout
from fanlight.learning.tuned_backbone import ALL, BatchNorm, Cut, Tensors, cut, normalisation
from fanlight.protocol.plan import PlannedAlgorithm, PlannedFineTuning

MOST_PICTURES: Final = 500
"""Most pictures of one device that count, unless told otherwise: the more may, the coarser an update is rounded."""


class FineTuning(BaseModel):
    """Which part of the backbone learns.

    Attributes:
        blocks: so many of its last blocks, and the convolution behind them; or ``all``.
        batch_norm: ``frozen``: folded into the convolutions, with the statistics that it came with. ``local``: each
            home has one of its own, which is never sent (FedBN); goes with algorithms of the server alone.
        learning_rate: the backbone's step length.
        parameters: numbers that learn; worked out when the task is made.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    blocks: Annotated[int, Field(ge=1, le=1000)] | Literal["all"] = 1
    batch_norm: Literal["frozen", "local"] = "frozen"
    learning_rate: Annotated[float, Field(ge=1e-6, le=10)] = 0.0003
    parameters: Annotated[int, Field(ge=1, lt=1 << 28)]

    @property
    def keeps_at_home(self) -> bool:
        """Has each home its own batch normalisation?"""
        return BatchNorm(self.batch_norm) is BatchNorm.LOCAL

    @property
    def planned(self) -> PlannedFineTuning:
        """What devices are told."""
        return PlannedFineTuning(
            blocks=_number(self.blocks),
            batch_norm=self.batch_norm,
            learning_rate_micro=round(self.learning_rate * 1e6),
            parameters=self.parameters,
        )

    @property
    def algorithm(self) -> PlannedAlgorithm | None:
        """What devices do more than to train and send the difference: they keep their own normalisation at home."""
        return PlannedAlgorithm(name=fedbn.RECIPE.name, parameters=(), steps=False) if self.keeps_at_home else None

    @property
    def in_words(self) -> str:
        """Which part learns, for people."""
        part = {"all": "the whole backbone", 1: "the last block"}.get(self.blocks, f"the last {self.blocks} blocks")
        own = ", batch normalisation each home's own" if self.keeps_at_home else ""
        return f"{part} ({self.parameters:,} numbers){own}"

    def as_json(self) -> dict[str, Any]:
        """As the API and the card of a model show it."""
        return {**self.model_dump(), "words": self.in_words}


def count_parameters(compiled: CompiledBackbone, blocks: int | str, batch_norm: str) -> int:
    """Numbers of a backbone that learn.

    Raises:
        ModelError: it cannot be read, or not learn so.
    """
    return _cut(compiled, blocks).layout(BatchNorm(batch_norm)).size


def first_tensors(compiled: CompiledBackbone, chosen: FineTuning) -> Tensors:
    """What learns of the backbone, as it is in the first version.

    Raises:
        ModelError: the backbone cannot be read, or not learn so. SettingsError: the task says another number.
    """
    made = _cut(compiled, chosen.blocks)
    kind = BatchNorm(chosen.batch_norm)
    if made.layout(kind).size != chosen.parameters:
        raise SettingsError(
            f"The task's fine_tune has {chosen.parameters} parameters, its blocks have {made.layout(kind).size}.",
            next=f"Write parameters: {made.layout(kind).size}.",
        )
    return made.start(kind)


def check_at_home(algorithm: Algorithm, layout: TensorLayout, *, knows_nothing: bool) -> None:
    """See whether an algorithm can go on from a model: the global head must learn, or have learned.

    Where all of it stays at home, the global one stays as it is; of zeros, every answer from it would be a guess, for
    homes that have none of their own yet, for who measures versions and for who takes them along.

    Args:
        algorithm: which. layout: of the model. knows_nothing: is its head zero?

    Raises:
        SettingsError: it does not, or see ``AtHome``.
    """
    at_home = algorithm.at_home(layout, normalisation(layout))
    if knows_nothing and "head.weight" in at_home:
        raise SettingsError(
            f"personal: with {len(at_home)} tensors at home the whole head stays there, and the global one, which has "
            "learned nothing yet, never would.",
            next="Write 1, which keeps the head's bias at home; or choose ditto, which gives each home a whole model "
            "of its own beside the global one; or let a round of fedavg teach the head first.",
        )


def check_first(algorithm: Algorithm, compiled: CompiledBackbone, chosen: FineTuning) -> None:
    """As ``check_at_home`` for the first version of a task, with a head of any size; errors as in ``first_tensors``."""
    tuned = (TensorSpec(name, tensor.shape) for name, tensor in first_tensors(compiled, chosen).items())
    check_at_home(algorithm, TensorLayout((*tuned, *head_layout(1, 2).specs)), knows_nothing=True)


def _cut(compiled: CompiledBackbone, blocks: int | str) -> Cut:
    return cut(compiled.id, compiled.read(), compiled.features, _number(blocks))


def _number(blocks: int | str) -> int:
    return ALL if isinstance(blocks, str) else blocks
