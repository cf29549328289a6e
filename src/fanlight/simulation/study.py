"""What is simulated: one frozen description that a result can be repeated from."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from fanlight.core.adaptive_clip import FIRST_CLIP
from fanlight.errors import SettingsError
from fanlight.learning.algorithms.algorithm import Algorithm
from fanlight.learning.algorithms.recipe import MICRO
from fanlight.learning.algorithms.registry import recipe
from fanlight.learning.algorithms.robust import ROBUST, flaw_with
from fanlight.learning.algorithms.written import Written, read_algorithm
from fanlight.learning.heads import HeadKind, head_layout
from fanlight.learning.training_settings import TrainingSettings
from fanlight.protocol.contribution import W_MAX
from fanlight.protocol.manifest import MOST_DEVICES, MOST_SHARDS
from fanlight.protocol.plan import PlannedAlgorithm
from fanlight.simulation import buffered, partitions
from fanlight.simulation.attacks.attack import honest
from fanlight.simulation.attacks.registry import planned as planned_attack
from fanlight.simulation.worlds.world import World

MEAN = "mean"
K_MIN = 2
"""Fewest devices in a sum of the protocol, as in a demonstration."""


class Training(BaseModel):
    """How a device trains in a round; see ``TrainingSettings``."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    epochs: int = TrainingSettings.epochs
    batch_size: int = TrainingSettings.batch_size
    learning_rate: float = TrainingSettings.learning_rate
    momentum: float = TrainingSettings.momentum
    l2: float = TrainingSettings.l2
    patience: int = TrainingSettings.patience
    class_weights: bool = TrainingSettings.class_weights

    @property
    def settings(self) -> TrainingSettings:
        """The same, checked.

        Raises:
            SettingsError: a value is out of range.
        """
        return TrainingSettings(**self.model_dump())


class Study(BaseModel):
    """One simulation; equal studies give equal results, bit for bit, on whatever engine.

    Attributes:
        dataset: one of ``demo``'s data sets, or a folder of pictures. Data of one's own go to ``simulate`` beside it.
        partition: how the pictures go to the devices, such as ``iid``, ``dirichlet:0.1``, ``classes:1+rotation:30``;
            see ``partitions``.
        devices: how many there are.
        cohort: how many are drawn for a round; 0 = all. Under FedBuff, how many updates the server waits for.
        rounds: how many.
        algorithm: ``name`` or ``name:parameter=value,…``; ``combine=median`` among them says how shards become one.
        head: ``softmax``, ``analytic`` or ``prototypes``, over features of the frozen backbone.
        module: ``package.module:function`` that makes a ``torch.nn.Module``, trained whole instead of a head.
        seed: fixes everything that is drawn.
        training: what devices do in a round.
        world: who is there, how fast, and who drops out (see ``worlds.world``); empty = all, always.
        attack: who cheats, and how, such as ``sign-flip:0.2`` (see ``attacks.registry``); empty = nobody.
        fidelity: ``fast`` sums the quantised integers of the devices; ``protocol`` runs the role machines and masks.
        test_percent: of the pictures are held back to measure the models by.
        valid_percent: of a device's own pictures choose among its epochs.
        clip: first bound on the L2 norm of an update; it follows the norms from there on.
        n_max, most_pictures, update_bits: of the vector, as in a task's policy; most_pictures 0 = what the device with
            most pictures has.
        supporters: a class that fewer devices of a round have pictures of is held back.
        shards: into how many sums a round is drawn; 0 = one.
        picture_size: side that pictures are brought to for the backbone; 0 = the data set's own.
        baselines: also train on all pictures in one place, and on each device alone.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)

    dataset: str = "digits"
    partition: str = "dirichlet:0.5"
    devices: Annotated[int, Field(ge=1, le=MOST_DEVICES)] = 100
    cohort: Annotated[int, Field(ge=0)] = 0
    rounds: Annotated[int, Field(ge=1, le=1_000_000)] = 10
    algorithm: str = "fedavg"
    head: HeadKind = HeadKind.SOFTMAX
    module: str = ""
    seed: Annotated[int, Field(ge=0)] = 0
    training: Training = Training()
    world: str = ""
    attack: str = ""
    fidelity: Literal["fast", "protocol"] = "fast"
    test_percent: Annotated[int, Field(ge=1, le=90)] = 20
    valid_percent: Annotated[int, Field(ge=0, le=90)] = 25
    clip: Annotated[float, Field(gt=0, le=1e4)] = FIRST_CLIP
    n_max: Annotated[int, Field(ge=2, le=MOST_DEVICES)] = 1000
    most_pictures: Annotated[int, Field(ge=0, le=W_MAX)] = 0
    update_bits: Annotated[int, Field(ge=0)] = 0
    supporters: Annotated[int, Field(ge=1)] = 1
    shards: Annotated[int, Field(ge=0, le=MOST_SHARDS)] = 0
    picture_size: Annotated[int, Field(ge=0, le=1024)] = 0
    baselines: bool = False

    @field_validator("algorithm")
    @classmethod
    def _check_algorithm(cls, said: str) -> str:
        written = read_algorithm("algorithm", said)
        made = recipe(written.name).of(written.parameters)
        if written.combine not in (None, MEAN, *ROBUST):
            raise ValueError(f"combine is {MEAN} or one of {', '.join(ROBUST)}, not {written.combine}")
        if written.combine in ROBUST and (flaw := flaw_with(made)):
            raise ValueError(f"{written.name} does not go with combine={written.combine}. {flaw.rstrip('.')}")
        return said

    @field_validator("partition")
    @classmethod
    def _check_partition(cls, said: str) -> str:
        partitions.check(said)
        return said

    @model_validator(mode="after")
    def _check_together(self) -> Self:
        if self.per_round > self.devices:
            raise ValueError(f"a cohort of {self.cohort} of {self.devices} devices")
        if self.combine != MEAN and self.shards < 2:
            raise ValueError(f"combine={self.combine} needs shards = 2 or more")
        if self.module and self.head is not HeadKind.SOFTMAX:
            raise ValueError("a module is trained whole; leave out head")
        if not self.module:
            self.made_algorithm.at_home(head_layout(1, 2), frozenset())
        if self.per_round < self.fewest_asked:
            raise ValueError("a sum of the protocol is over 2 devices or more")
        world, attack = self.made_world, planned_attack(self.attack)
        if attack is not None and attack.share and not attack.attackers(self.devices, self.seed).any():
            raise ValueError(f"attack: {attack.share:g} of {self.devices} devices is nobody")
        if self.made_algorithm.concurrency is not None:
            crafts = attack is not None and attack.attack.craft is not honest
            places = {"size": self.cohort, "concurrency": self.concurrency, "devices": self.devices}
            if flaw := buffered.flaw_of(world, **places, is_opened=self.is_opened, crafts=crafts):
                raise ValueError(f"{self._written.name}: {flaw}")
        return self

    @classmethod
    def of(cls, fields: Mapping[str, Any]) -> Self:
        """The study with these fields.

        Raises:
            SettingsError: a field is unknown, or out of range.
        """
        try:
            study = cls.model_validate(fields)
            _ = study.training.settings
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"])
            why = str(first["msg"]).removeprefix("Value error, ")
            raise SettingsError(
                f"Study: {where + ': ' if where else ''}{why}.", next="See docs/simulation.md."
            ) from error
        return study

    @classmethod
    def read(cls, path: Path, **changes: Any) -> Self:
        """The study that a TOML file describes, with ``changes`` to it.

        Raises:
            SettingsError: no such file, no TOML, or see ``of``.
        """
        try:
            fields = tomllib.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise SettingsError(f"The study {path} cannot be read: {error}") from error
        written, changed = fields.get("training"), changes.get("training")
        if isinstance(written, dict) and isinstance(changed, dict):
            changes["training"] = written | changed
        return cls.of(fields | changes)

    @property
    def per_round(self) -> int:
        """How many devices a round has at most."""
        return self.cohort or self.devices

    @property
    def concurrency(self) -> int:
        """Devices at work at once, where the server takes updates as they come; 0 = it takes rounds."""
        said = self.made_algorithm.concurrency
        return 0 if said is None else said or min(2 * self.cohort, self.devices)

    @property
    def fewest_reports(self) -> int:
        """How many reports a sum needs: those of the protocol in ``fast``, too, unless rounds are of one device."""
        return K_MIN if self.is_opened else min(K_MIN, self.per_round)

    @property
    def fewest_asked(self) -> int:
        """How many devices a round needs."""
        return self.fewest_reports * max(self.shards, 1)

    @property
    def is_opened(self) -> bool:
        """Do servers open its rounds? Without the protocol they do if there are shards, which are drawn that way."""
        return self.fidelity == "protocol" or self.shards > 1

    @property
    def _written(self) -> Written:
        return read_algorithm("algorithm", self.algorithm)

    @property
    def combine(self) -> str:
        """How shards become one."""
        return self._written.combine or MEAN

    @property
    def made_algorithm(self) -> Algorithm:
        """The algorithm with its parameters."""
        return recipe(self._written.name).of(self._written.parameters)

    @property
    def made_world(self) -> World:
        """Where its devices live."""
        return World.of(self.world, self.devices, self.seed)

    @property
    def planned(self) -> PlannedAlgorithm | None:
        """What devices are told of it; None if they need not be."""
        (name, parameters, _), made = self._written, self.made_algorithm
        if made.is_plain_on_devices:
            return None
        return PlannedAlgorithm(
            name=name,
            parameters=tuple((key, round(value * MICRO)) for key, value in recipe(name).filled(parameters).items()),
            control_clip_micro=round(made.control_clip * MICRO) if made.control_clip else None,
            steps=made.sends_steps,
        )

    def as_json(self) -> dict[str, Any]:
        """All fields, for ``result.json`` and for TOML."""
        return self.model_dump(mode="json")
