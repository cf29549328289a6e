"""The task: what the federation learns, how devices train, and by which policy rounds run.

It is written by ``fanlight federation init`` as ``task.json`` in the main server's folder. Devices get its plan; the
manifest binds the plan's hash.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import Field, ValidationError, ValidationInfo, field_validator, model_validator

from fanlight.errors import SettingsError
from fanlight.learning.algorithms.robust import FEWEST
from fanlight.learning.backbones import BACKBONES, DEFAULT_BACKBONE, backbone
from fanlight.learning.heads import head_layout
from fanlight.learning.training_settings import MOST_OF_A_CLASS, TrainingSettings
from fanlight.protocol.plan import CLASS_NAME_RULE, Kind, Plan, PlannedAlgorithm, is_class_name
from fanlight.services.main_server.algorithm_choice import AlgorithmChoice
from fanlight.services.main_server.augmentation_choice import AugmentationChoice
from fanlight.services.main_server.fine_tuning import FineTuning
from fanlight.services.main_server.policy import Policy, Section
from fanlight.services.settings import read_settings_file

HeadName = Literal["softmax", "analytic", "prototypes"]
"""Trained round by round, or first solved in one round from sums; see ``learning.heads``."""
ANALYTIC_K_MIN: Final = 10
"""Fewest devices in a sum, unless told otherwise, where sums of squares are collected: twice the floor of devices."""
_DEFAULTS = TrainingSettings()


class ClassWeights(Section):
    """By what classes of few pictures weigh more, if they do; see docs/augmentation.md."""

    class_weights: bool = _DEFAULTS.class_weights
    class_counts: Annotated[
        tuple[Annotated[int, Field(ge=0, le=MOST_OF_A_CLASS)], ...], Field(max_length=200, strict=False)
    ] = ()


class Training(ClassWeights):
    """How a device trains in one round; see ``learning.training.TrainingSettings``."""

    epochs: Annotated[int, Field(ge=1, le=1000)] = _DEFAULTS.epochs
    batch_size: Annotated[int, Field(ge=1, le=4096)] = _DEFAULTS.batch_size
    learning_rate: Annotated[float, Field(ge=1e-6, le=10)] = _DEFAULTS.learning_rate
    momentum: Annotated[float, Field(ge=0, le=0.9999)] = _DEFAULTS.momentum
    l2: Annotated[float, Field(ge=0, le=10)] = _DEFAULTS.l2
    patience: Annotated[int, Field(ge=1, le=1000)] = _DEFAULTS.patience

    @property
    def weights(self) -> ClassWeights:
        """By what classes weigh."""
        return ClassWeights(class_weights=self.class_weights, class_counts=self.class_counts)


class OwnBackbone(Section):
    """What is known of a backbone that the registry does not pin; the file lies in the server's ``backbones/``."""

    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
    features: Annotated[int, Field(ge=1, le=1 << 16)]
    title: Annotated[str, Field(min_length=1, max_length=200)]
    licence: Annotated[str, Field(min_length=1, max_length=200)]


class Task(Section):
    """What the federation learns.

    Attributes:
        own_backbone: set where ``backbone`` names none of the registry's.
        fine_tune: which part of the backbone learns; by default none of it does.
    """

    format: Annotated[int, Field(ge=1, le=1)] = 1
    name: Annotated[str, Field(min_length=1, max_length=64)] = "default"
    classes: Annotated[tuple[str, ...], Field(min_length=2, max_length=200, strict=False)]
    picture_size: Annotated[int, Field(ge=32, le=1024)] = 128
    backbone: str = DEFAULT_BACKBONE
    own_backbone: OwnBackbone | None = None
    head: HeadName = "softmax"
    training: Training = Training()
    augmentation: AugmentationChoice = AugmentationChoice()
    algorithm: AlgorithmChoice = AlgorithmChoice()
    policy: Policy = Policy()
    fine_tune: FineTuning | None = None

    @field_validator("classes")
    @classmethod
    def _check_classes(cls, classes: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(classes)) != len(classes):
            raise ValueError("two classes have the same name")
        for name in classes:
            if not is_class_name(name):
                raise ValueError(f"{name[:70]!r} is no class name: {CLASS_NAME_RULE}")
        return classes

    @field_validator("training")
    @classmethod
    def _check_counts(cls, training: Training, info: ValidationInfo) -> Training:
        counts, classes = training.class_counts, info.data.get("classes", ())
        if counts and len(counts) != len(classes):
            raise ValueError(f"class_counts has {len(counts)} numbers for {len(classes)} classes")
        return training

    @field_validator("own_backbone")
    @classmethod
    def _check_name(cls, own: OwnBackbone | None, info: ValidationInfo) -> OwnBackbone | None:
        if own is not None and info.data.get("backbone") in BACKBONES:
            raise ValueError("the registry has a backbone of this name")
        return own

    @model_validator(mode="after")
    def _check_fine_tuning(self) -> Task:
        tuned, name = self.fine_tune, self.algorithm.name
        if tuned is not None and self.head != "softmax":
            raise ValueError(f"fine_tune: features change with the backbone, so the head {self.head} cannot be solved")
        if tuned is not None and tuned.keeps_at_home and not self.algorithm.algorithm.is_plain_on_devices:
            raise ValueError(
                f"fine_tune: with local batch normalisation devices do FedBN's part, which does not go with {name}"
            )
        return self

    @classmethod
    def default(
        cls, *, classes: tuple[str, ...], picture_size: int = 128, demo: bool = False, head: HeadName = "softmax"
    ) -> Task:
        """A task with the defaults of DESIGN; ``demo`` means two devices are enough.

        Raises:
            SettingsError: names the field.
        """
        try:
            policy = Policy(demo=True, k_min=2) if demo else Policy()
            if head == "analytic" and not demo:
                policy = Policy(k_min=ANALYTIC_K_MIN)
            return cls(classes=classes, picture_size=picture_size, policy=policy, head=head)
        except ValidationError as error:
            raise _explain(error, "the task") from error

    @classmethod
    def load(cls, path: Path) -> Task:
        """Read ``task.json``, also one from before the policy was held against ``combine``; see ``flaw``.

        Raises:
            SettingsError: missing, too long, not JSON, or a field unknown or out of range; names the field.
        """
        data = read_settings_file(path, str(path), "Make the folder with 'fanlight federation init'.")
        try:
            return cls.model_validate(json.loads(data))
        except ValidationError as error:
            raise _explain(error, str(path)) from error
        except ValueError as error:
            raise SettingsError(f"{path} is not JSON: {error}.") from error

    def with_policy(self, **changes: Any) -> Task:
        """The same task with ``changes`` to its policy, which is checked as a whole.

        Raises:
            SettingsError: an unknown field, a value out of range, or two that do not go together, or not with how the
                algorithm combines shards, if they did before.
        """
        try:
            changed = self._with(policy=Policy.model_validate(self.policy.model_dump() | changes))
        except ValidationError as error:
            raise _explain(error, "the task's policy") from error
        return changed if self.flaw else _without_flaw(changed, "the task's policy")  # one can always pause

    def with_algorithm(self, choice: Mapping[str, Any]) -> Task:
        """The same task with another algorithm; ``choice`` has the fields of ``AlgorithmChoice``.

        Raises:
            SettingsError: an unknown algorithm or parameter, or a value out of range; says what there is. The policy
                does not have the shards that it combines.
        """
        try:
            changed = self._with(algorithm=AlgorithmChoice.model_validate(dict(choice)))
        except ValidationError as error:
            raise _explain(error, "the task's algorithm") from error
        return _without_flaw(changed, "the task's algorithm")

    def with_augmentation(self, choice: Mapping[str, Any]) -> Task:
        """The same task with pictures varied in another way; ``choice`` has the fields of ``AugmentationChoice``.

        Raises:
            SettingsError: an unknown field, a value out of range, or variants of which none would be another picture.
        """
        try:
            return self._with(augmentation=AugmentationChoice.model_validate(dict(choice)))
        except ValidationError as error:
            raise _explain(error, "the task's augmentation") from error

    def with_class_weights(self, choice: Mapping[str, Any]) -> Task:
        """The same task with classes weighing by something else; ``choice`` has the fields of ``ClassWeights``.

        Raises:
            SettingsError: an unknown field, a value out of range, or not one number for each class.
        """
        try:
            weights = ClassWeights.model_validate(dict(choice))
            return self._with(training=self.training.model_copy(update=dict(weights)))
        except ValidationError as error:
            raise _explain(error, "the task's class weights") from error

    def with_line(self, head: str, backbone: str) -> Task:
        """The same task with another head, or another backbone of the registry; its present one is none to look up.

        Where squares come to be summed, which devices want more company for, the fewest devices in a sum rise with it,
        if they were those of other heads.

        Raises:
            SettingsError: there is none of that name, or it learns, and its numbers are those of another one; the rules
                of the rounds do not allow for so many in a sum.
        """
        own = self.own_backbone if backbone == self.backbone else None
        if own is None and backbone not in BACKBONES:
            raise SettingsError(
                f"There is no backbone {backbone!r}.",
                next=f"Choose one of {', '.join(BACKBONES)}.",
                slug="bad-settings",
            )
        if self.fine_tune is not None and backbone != self.backbone:
            raise SettingsError(
                f"A part of the backbone {self.backbone} learns here, so there cannot be another one.",
                next="Make a new federation for it.",
                slug="bad-settings",
            )
        try:
            changed = self._with(head=head, backbone=backbone, own_backbone=own)
        except ValidationError as error:
            raise _explain(error, "the task's head") from error
        usual = Policy.model_fields["k_min"].default
        rises = head == "analytic" != self.head and self.policy.k_min == usual and not self.policy.demo
        return changed.with_policy(k_min=ANALYTIC_K_MIN) if rises else changed

    def with_fine_tuning(self, choice: Mapping[str, Any]) -> Task:
        """The same task with a part of the backbone that learns; ``choice`` has the fields of ``FineTuning``.

        Raises:
            SettingsError: an unknown field, a value out of range, or a head or algorithm that it does not go with.
        """
        try:
            return self._with(fine_tune=FineTuning.model_validate(dict(choice)))
        except ValidationError as error:
            raise _explain(error, "the task's fine-tuning") from error

    def _with(self, **changes: Any) -> Task:
        fields = {name: getattr(self, name) for name in Task.model_fields}  # a copy would have the old plan with it
        return Task(**{**fields, **changes})

    @property
    def flaw(self) -> str:
        """What the policy must say before rounds have the shards that the algorithm combines; empty if they have.

        Only a file from before this was checked, or one edited by hand, has such a flaw; its rounds have fewer shards.
        """
        combine = self.algorithm.combine
        lacks = " and ".join(self.policy.lacks_for(combine))
        return lacks and (
            f"combine={combine} stands a bad shard only of {FEWEST[combine]} or more, so the policy must say {lacks}; "
            "else choose combine=mean"
        )

    def check_at_home(self) -> None:
        """See whether the algorithm can work on a head, where that is all that learns.

        Where a part of the backbone learns too, the published version tells (``Models.check_algorithm``).

        Raises:
            SettingsError: see ``AtHome``.
        """
        if self.fine_tune is None:
            self.algorithm.algorithm.at_home(head_layout(1, 2), frozenset())

    def to_json(self) -> bytes:
        """The content of ``task.json``."""
        return self.model_dump_json(indent=2).encode() + b"\n"

    @property
    def backbone_sha256(self) -> str:
        """Of the compiled graph, hexadecimal."""
        return self.own_backbone.sha256 if self.own_backbone else backbone(self.backbone).compiled_sha256

    @property
    def backbone_title(self) -> str:
        """Its name for people."""
        return (self.own_backbone or backbone(self.backbone)).title

    @property
    def backbone_licence(self) -> str:
        """Of the backbone's weights."""
        return (self.own_backbone or backbone(self.backbone)).licence

    @functools.cached_property
    def plan(self) -> Plan:
        """The training plan that devices get."""
        training, tuned = self.training, self.fine_tune
        return Plan(
            task=self.name,
            kind=Kind.TRAIN.value,
            classes=self.classes,
            backbone=self.backbone,
            backbone_hash=bytes.fromhex(self.backbone_sha256),
            features=(self.own_backbone or backbone(self.backbone)).features,
            picture_size=self.picture_size,
            head=self.head,
            epochs=training.epochs,
            batch_size=training.batch_size,
            learning_rate_micro=round(training.learning_rate * 1e6),
            momentum_micro=round(training.momentum * 1e6),
            l2_micro=round(training.l2 * 1e6),
            patience=training.patience,
            class_weights=training.class_weights,
            algorithm=self.planned(self.algorithm),
            augmentation=self.augmentation.planned,
            class_counts=training.class_counts or None,
            fine_tune=tuned.planned if tuned else None,
        )

    def planned(self, algorithm: AlgorithmChoice) -> PlannedAlgorithm | None:
        """What devices do more, by an algorithm, than to train and send the difference; None if that is all."""
        return (self.fine_tune.algorithm if self.fine_tune else None) or algorithm.planned


def _explain(error: ValidationError, where: str) -> SettingsError:
    problems = "; ".join(
        ": ".join(
            filter(None, (".".join(str(step) for step in problem["loc"]), problem["msg"].removeprefix("Value error, ")))
        )
        for problem in error.errors(include_url=False, include_input=False)[:5]
    )
    return _wrong(where, problems)


def _without_flaw(task: Task, where: str) -> Task:
    if task.flaw:
        raise _wrong(where, task.flaw)
    return task


def _wrong(where: str, problems: str) -> SettingsError:
    return SettingsError(f"{where}: {problems}.", next="Correct it; docs/settings.md lists what there is.")
