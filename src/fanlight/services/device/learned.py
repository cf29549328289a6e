"""What a training or a measurement found, in a form that is stored: messages of integers, as everything durable is."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Annotated, Any, Self

import numpy as np
from pydantic import Field

from fanlight.core.metrics import Metrics
from fanlight.learning.evaluation import Counts
from fanlight.protocol import codec
from fanlight.protocol.contribution import Measured
from fanlight.protocol.device_round import Preparation
from fanlight.protocol.message import U32, U63, Blob, Flag, Hash, Message, Name, Time
from fanlight.protocol.plan import Plan

_MICRO = 1_000_000


class StoredCounts(Message):
    """A confusion matrix row by row, and the summed loss in millionths of a nat."""

    confusion: Annotated[tuple[U63, ...], Field(max_length=1 << 20)]
    loss_micro: U63

    @classmethod
    def of(cls, counts: Counts) -> Self:
        """From an evaluation."""
        return cls(confusion=tuple(counts.confusion.ravel().tolist()), loss_micro=round(counts.loss_sum * _MICRO))

    @classmethod
    def none(cls, classes: int) -> Self:
        """Nothing measured: all zero."""
        return cls(confusion=(0,) * classes**2, loss_micro=0)

    def as_part(self) -> codec.Value:
        """As of every message, but encoded once: of a hundred classes it has 10,000 numbers, and many messages it."""
        return _encoded(self)

    @property
    def measured(self) -> Measured:
        """As it goes into a contribution."""
        side = round(len(self.confusion) ** 0.5)
        return Measured(np.array(self.confusion, np.int64).reshape(side, side), self.loss_micro / _MICRO)

    @property
    def metrics(self) -> Metrics:
        """The figures that follow from it."""
        measured = self.measured
        return Metrics.from_confusion(measured.confusion, measured.loss_sum)


class Prepared(Message):
    """How far this device is for one plan and model, and what its training brought.

    Attributes:
        state: a ``Preparation``.
        plan, model: what it is for; model_version: the model's number.
        head: SHA-256 of the local model's file.
        examples: training pictures. epochs: that ran.
        supporters: per class, has this device training pictures of it.
        received, local: on this device's own test pictures.
        trained_at: unix seconds.
        sent_in: the manifest of the report that was made of it, if one was.
        sums: SHA-256 of the file with the sums, where the head is solved from sums.
        pictures: a digest of the pictures that they are of, and their labels.
    """

    state: Name
    plan: Hash
    model: Hash
    model_version: U32
    head: Hash
    examples: U32
    epochs: U32
    supporters: Annotated[tuple[Flag, ...], Field(max_length=1000)]
    received: StoredCounts
    local: StoredCounts
    trained_at: Time
    sent_in: Hash | None = None
    sums: Hash | None = None
    pictures: Hash | None = None

    @property
    def at(self) -> Preparation:
        """The state."""
        return Preparation(self.state)


class Earlier(Message):
    """The global model that a device held before: its version, and what it was on this device's own test pictures."""

    version: U32
    measured: StoredCounts | None = None


class Held(Message):
    """The current global model, as this device holds it.

    Attributes:
        sha256, version: which.
        plan_bytes: the training ``Plan`` it came with.
        measured: on this device's own test pictures; None until they were looked at.
        file_bytes: of the model's file; None of one that was fetched before this was kept.
        before: the model that this one took the place of; None of the first.
    """

    sha256: Hash
    version: U32
    plan_bytes: Blob
    measured: StoredCounts | None = None
    file_bytes: U32 | None = None
    before: Earlier | None = None

    @property
    def plan(self) -> Plan:
        """The training plan."""
        return _plan(self.plan_bytes)


class Epoch(Message):
    """One pass over the training pictures: losses in millionths of a nat a picture, accuracies in millionths.

    Without pictures to stop in time by, their figures are missing.
    """

    epoch: U32
    train_loss: U63
    train_accuracy: U32
    valid_loss: U63 | None = None
    valid_accuracy: U32 | None = None

    @classmethod
    def of(cls, point: Mapping[str, float | int | None]) -> Self:
        """From the figures that a training reports."""
        found = {key: value for key, value in point.items() if value is not None and np.isfinite(value)}
        micro = {key: round(value * _MICRO) for key, value in found.items() if key != "epoch"}
        return cls.model_validate({"epoch": found["epoch"], **micro})

    def as_point(self) -> dict[str, float | int | None]:
        """As a training reports it."""
        shares = ("train_loss", "train_accuracy", "valid_loss", "valid_accuracy")
        micro = {key: getattr(self, key) for key in shares}
        return {"epoch": self.epoch} | {key: None if value is None else value / _MICRO for key, value in micro.items()}


class Course(Message):
    """How the last training went, pass by pass."""

    epochs: Annotated[tuple[Epoch, ...], Field(max_length=10_000)]


class Learned(Message):
    """One line of the learning history: what this device had learned when it reported in a round.

    ``model_version`` is the received model's, ``model_bytes`` its file's length; lines from before they were kept have
    none.
    """

    received: StoredCounts
    local: StoredCounts | None = None
    examples: U32 = 0
    epochs: U32 = 0
    model_version: U32 | None = None
    model_bytes: U32 | None = None

    def as_json(self) -> dict[str, Any]:
        """The figures that the owner's page and the demonstration read."""
        received, local = self.received.metrics, self.local.metrics if self.local else None
        return {
            "model_version": self.model_version,
            "received_accuracy": received.accuracy,
            "received_balanced_accuracy": received.balanced_accuracy,
            "local_accuracy": local.accuracy if local else None,
            "local_balanced_accuracy": local.balanced_accuracy if local else None,
            "examples": self.examples,
            "epochs": self.epochs,
        }


@functools.lru_cache(maxsize=8)
def _encoded(counts: StoredCounts) -> codec.Encoded:
    return codec.Encoded(counts.encode())


@functools.lru_cache(maxsize=4)
def _plan(data: bytes) -> Plan:
    return Plan.decode(data)
