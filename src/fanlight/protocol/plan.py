"""The plan of a task: what devices compute. Its hash is in every manifest, so all devices computed the same.

There are no floats on the wire: rates are integers in millionths ("micro").
"""

from __future__ import annotations

from enum import StrEnum
from functools import lru_cache
from typing import Annotated, Final, Self

from pydantic import Field, model_validator

from fanlight.protocol.digests import digest
from fanlight.protocol.message import U32, U63, Flag, Hash, Message, Name

ANALYTIC: Final = "analytic"
PROTOTYPES: Final = "prototypes"
MOST_LETTERS = 64
ClassName = Annotated[str, Field(strict=True, min_length=1, max_length=MOST_LETTERS)]
CLASS_NAME_RULE = f"1 to {MOST_LETTERS} printable characters without '/'"
"""What ``is_class_name`` asks for, in words."""


def is_class_name(name: str) -> bool:
    """Can a task have a class of this name?"""
    return 1 <= len(name) <= MOST_LETTERS and name.isprintable() and name == name.strip() and "/" not in name


class Kind(StrEnum):
    """What a round does: teach the model, by updates or by sums that it is solved from, or only measure it.

    ``STATISTICS`` collects the sums of all pictures anew; ``CHANGES`` what has changed since they were collected.
    """

    TRAIN = "train"
    STATISTICS = "statistics"
    CHANGES = "changes"
    MEASURE = "measure"

    @property
    def teaches(self) -> bool:
        """Does a new version come of it?"""
        return self is not Kind.MEASURE

    @property
    def sums(self) -> bool:
        """Does it sum statistics?"""
        return self in (Kind.STATISTICS, Kind.CHANGES)


class PlannedAlgorithm(Message):
    """A federated algorithm that has devices do more than train and send the difference.

    Attributes:
        name: registry name.
        parameters: what it takes, as (name, millionths).
        control_clip_micro: largest L2 norm of the change of a control variate, in millionths; absent: none is sent.
        steps: are numbers of steps sent?
    """

    name: Name
    parameters: Annotated[tuple[tuple[Name, U63], ...], Field(max_length=16)]
    control_clip_micro: Annotated[int, Field(strict=True, ge=1, lt=1 << 40)] | None = None
    steps: Flag


class PlannedAugmentation(Message):
    """How devices vary their training pictures; held-out pictures stay as they are.

    Attributes:
        variants: of each picture, beside itself; it counts once all the same.
        flip: is every other one mirrored, left to right?
        zoom_percent: by how much the window that is cut out may be narrower than the picture.
        light_percent: by how much light and contrast may grow or shrink.
    """

    variants: Annotated[int, Field(strict=True, ge=1, le=16)]
    flip: Flag
    zoom_percent: Annotated[int, Field(strict=True, ge=0, le=50)]
    light_percent: Annotated[int, Field(strict=True, ge=0, le=50)]

    @model_validator(mode="after")
    def _varies(self) -> Self:
        if not (self.flip or self.zoom_percent or self.light_percent):
            raise ValueError("nothing is varied")
        return self


class PlannedFineTuning(Message):
    """That more than the head learns: a part of the backbone.

    Attributes:
        blocks: of the backbone's last ones; 0 = all of it.
        batch_norm: what becomes of batch normalisation: ``frozen``, or ``local``, each home's own.
        learning_rate_micro: the backbone's step length; its momentum, passes and batches are the head's.
        parameters: numbers of the backbone that are in an update, before the head's.
    """

    blocks: Annotated[int, Field(strict=True, ge=0, le=1000)]
    batch_norm: Name
    learning_rate_micro: U32
    parameters: Annotated[int, Field(strict=True, ge=1, lt=1 << 28)]


class Plan(Message):
    """What a device does in a round.

    Attributes:
        task: name of the task.
        kind: ``train`` or ``measure`` (a ``Kind``).
        classes: names in label order, 2 to 200, no two alike.
        backbone: registry id; ``backbone_hash``: SHA-256 of its compiled graph, which the registry pins.
        features: length of a feature vector.
        picture_size: pixels, square.
        head: registry name of the head.
        epochs, batch_size, learning_rate_micro, momentum_micro, l2_micro, patience, class_weights: local training.
        algorithm: absent where devices train and send the difference.
        augmentation: absent where pictures are not varied.
        class_counts: pictures of each class in the federation, by which classes weigh in local training if they do;
            absent where each device goes by its own.
        fine_tune: absent where only the head learns.
    """

    task: Name
    kind: Name
    classes: Annotated[tuple[ClassName, ...], Field(min_length=2, max_length=200)]
    backbone: Name
    backbone_hash: Hash
    features: Annotated[int, Field(strict=True, ge=1, le=1 << 16)]
    picture_size: Annotated[int, Field(strict=True, ge=16, le=1024)]
    head: Name
    epochs: Annotated[int, Field(strict=True, ge=1, le=1000)]
    batch_size: Annotated[int, Field(strict=True, ge=1, le=4096)]
    learning_rate_micro: U32
    momentum_micro: Annotated[int, Field(strict=True, ge=0, lt=1_000_000)]
    l2_micro: U32
    patience: U32
    class_weights: Flag
    algorithm: PlannedAlgorithm | None = None
    augmentation: PlannedAugmentation | None = None
    class_counts: Annotated[tuple[U32, ...], Field(min_length=2, max_length=200)] | None = None
    fine_tune: PlannedFineTuning | None = None

    @model_validator(mode="after")
    def _check_kind_and_classes(self) -> Self:
        if self.kind not in tuple(Kind):
            raise ValueError(f"there is no kind of round {self.kind!r}")
        if len(set(self.classes)) != len(self.classes):
            raise ValueError("two classes have the same name")
        if self.class_counts is not None and len(self.class_counts) != len(self.classes):
            raise ValueError("counts and classes are of different numbers")
        if Kind(self.kind).sums and self.head not in (ANALYTIC, PROTOTYPES):
            raise ValueError(f"the head {self.head!r} is not solved from sums")
        if self.fine_tune is not None and self.head in (ANALYTIC, PROTOTYPES):
            raise ValueError(f"features of a backbone that learns change, so the head {self.head!r} cannot be solved")
        return self

    @property
    def parameters(self) -> int:
        """d: numbers in the head (weights and biases), and of the backbone those that learn."""
        tuned = self.fine_tune.parameters if self.fine_tune else 0
        return tuned + (self.features + 1) * len(self.classes)

    @property
    def triangle(self) -> int:
        """Numbers in the upper triangle of ΣΦᵀΦ, if the head is solved from it; else 0."""
        return self.features * (self.features + 1) // 2 if self.head == ANALYTIC else 0

    @property
    def parts_of_sums(self) -> int:
        """2 if sums of training and of validation pictures are kept apart, to choose a ridge by the latter; else 1."""
        return 2 if self.triangle else 1

    @property
    def hash(self) -> bytes:
        """What manifests name the plan by, 32 bytes."""
        return _hash(self)

    def of_kind(self, kind: Kind) -> Plan:
        """The same plan for another kind of round; it has another hash, so answering one does not use up the other."""
        return self if self.kind == kind else self.with_(kind=kind.value)


@lru_cache(maxsize=8)
def _hash(plan: Plan) -> bytes:
    """A party looks at the same few again and again; not kept on the plan, whose copies would have it too."""
    return digest("fanlight/plan/v1", plan.encode())
