"""Step 1, without its button: learn from this device's pictures, and measure on held-out ones.

In most rounds it trains further from the current global head. Where the plan has the head solved from sums, it works
out the sums of its own pictures; its local head is the one that is solved from them alone.

Batch order comes from a generator that is seeded by this device alone and anew for each training: a predictable update
could be isolated by comparing two cohorts.  What is measured is measured on this device's own test pictures, which no
training saw.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from fanlight.core.percent import percent
from fanlight.core.randomness import Keystream
from fanlight.errors import DataError, ModelError, NotFound, NotPossibleNow, StorageError
from fanlight.learning import model_file
from fanlight.learning.algorithms.local import Received
from fanlight.learning.algorithms.scaffold import CONTROL
from fanlight.learning.evaluation import evaluate
from fanlight.learning.heads import head_layout
from fanlight.learning.local_training import SoftmaxDescent, head_of, vector_of
from fanlight.learning.model_file import HeadModel
from fanlight.learning.training import EpochProgress
from fanlight.learning.training_settings import TrainingSettings
from fanlight.protocol.contribution import W_MAX
from fanlight.protocol.device_round import Preparation
from fanlight.protocol.plan import Kind, Plan
from fanlight.services.device import solving
from fanlight.services.device import sums_file as sums_files
from fanlight.services.device.learned import Course, Epoch, Held, Learned, Prepared, StoredCounts
from fanlight.services.device.local_algorithm import algorithm_name, local_algorithm
from fanlight.services.device.memories import Left, left_of
from fanlight.services.device.pictures import Examples, Pictures
from fanlight.services.device.store import DeviceStore
from fanlight.services.http.jobs import Point, Progress

NOTHING_TO_LEARN_FROM: Final = "nothing-to-learn-from"
"""Why a device does not train."""
_FEATURES_COST = 4.0  # a picture's features take so many times as long as all passes over them


@dataclass(frozen=True)
class Learner:
    """What turns pictures into a local model.

    Attributes:
        store, pictures: this device's.
        clock: unix seconds.
        randomness: that many bytes from the operating system's generator.
    """

    store: DeviceStore
    pictures: Pictures
    clock: Callable[[], float]
    randomness: Callable[[int], bytes]

    @property
    def has_looked(self) -> bool:
        """Is it known what pictures there are? The first reading is long: a job's."""
        return self.pictures.overview is not None

    def check(self) -> None:
        """Quickly: can this device train, as far as is known?

        Raises:
            DataError: the data folder is not there. NotPossibleNow: no training pictures were found in it.
        """
        self.pictures.check_folder()
        if self.pictures.lacks_training:
            raise nothing_to_learn_from(self.pictures)

    def look(self) -> None:
        """Read the data folder anew, if it was read before: no training for pictures that are gone.

        What is wrong with the folder is remembered for the page; the steps that need it say so too.
        """
        held = self.store.held
        if held is not None and self.has_looked:
            with contextlib.suppress(DataError):
                self.pictures.look(held.plan.classes)

    def train(self, held: Held, progress: Progress, most: int = W_MAX) -> Prepared:
        """Train from the global model ``held`` and keep the result; on an error everything stays as it was.

        Args:
            held: the model, and its plan.
            progress: told how far it is.
            most: pictures of a part that count in sums; of more, so many are drawn by lot.

        Returns:
            the preparation; idle if another model came meanwhile.

        Raises:
            NotPossibleNow: there are no training pictures.
            DataError, PictureError, ModelError, SettingsError, StorageError: pictures, model or disk cannot be used.
        """
        plan, start = held.plan, self.global_model(held)
        bar = _Bar(progress)
        parts = self.pictures.examples(plan, ("train", "valid", "test"), bar.features)
        if parts["train"].y.size == 0:
            raise nothing_to_learn_from(self.pictures)
        sums, course, beside = None, Course(epochs=()), None
        if Kind(plan.kind).sums:
            parts |= {part: self._some(parts[part], most) for part in ("train", "valid")}
            head, sums = solving.learn(plan, parts["train"], parts["valid"])
            local = replace(start, weight=head.weight, bias=head.bias)
            bar.passes(1.0, "sums of the pictures worked out")
        else:
            local, course, beside = self._descend(held, start, parts, bar)
        file, sums_file = model_file.encode(local), sums_files.encode(sums) if sums is not None else None
        received = _measure(start, parts["test"], plan)
        prepared = Prepared(
            state=Preparation.IDLE.value,  # the store moves it on
            plan=plan.hash,
            model=held.sha256,
            model_version=held.version,
            head=bytes.fromhex(model_file.model_hash(file)),
            examples=int(parts["train"].y.size),
            epochs=len(course.epochs),
            supporters=tuple(bool(there) for there in _occurring(parts["train"], plan)),
            received=received,
            local=_measure(local, parts["test"], plan),
            trained_at=int(self.clock()),
            sums=hashlib.sha256(sums_file).digest() if sums_file is not None else None,
            pictures=self.pictures.read_last if sums_file is not None else None,
        )
        kept = self.store.trained(prepared, file, beside, sums_file)
        self.store.keep_course(course)
        self.store.measured(held, received)
        progress(1.0, "done")
        return kept

    def measure(self, held: Held, progress: Progress) -> Learned:
        """Measure the global model and, if there is one that fits, the local model that was trained last.

        Raises:
            DataError, PictureError, ModelError, StorageError: pictures, model or disk cannot be used.
        """
        plan = held.plan
        test = self.pictures.examples(plan, ("test",), _Bar(progress).features)["test"]
        received = _measure(self.global_model(held), test, plan)
        self.store.measured(held, received)
        local = self.last_local(held)
        own = _measure(local, test, plan) if local else None
        return Learned(received=received, local=own, model_version=held.version, model_bytes=held.file_bytes)

    def update(self, held: Held, prepared: Prepared) -> NDArray[np.float64]:
        """Local minus global parameters, (d,) float64 in the order of ``head_layout``."""
        layout = head_layout(held.plan.features, len(held.plan.classes))
        local = model_file.decode(self.store.local_file(prepared.head))
        vectors = [vector_of(layout, model) for model in (local, self.global_model(held))]
        update: NDArray[np.float64] = vectors[0] - vectors[1]
        return update

    def _some(self, examples: Examples, most: int) -> Examples:
        if examples.y.size <= most:
            return examples
        return examples.some(Keystream(self.randomness(32)).permutation(examples.y.size)[:most])

    def global_model(self, held: Held) -> HeadModel:
        """The current global model."""
        return model_file.decode(self.store.global_file(held.sha256))

    def _descend(
        self, held: Held, start: HeadModel, parts: dict[str, Examples], bar: _Bar
    ) -> tuple[HeadModel, Course, Left | None]:
        """The device's part of the plan's algorithm; its own model, how it went, and what else there is to keep."""
        plan, algorithm, epochs = held.plan, local_algorithm(held.plan), list[Epoch]()
        passes = plan.epochs * algorithm.descents

        def on_epoch(done: EpochProgress) -> None:
            point: Point = {**_point(done), "epoch": len(epochs) + 1}
            epochs.append(Epoch.of(point))
            right = f"{percent(done.train_accuracy)} of the training pictures right"
            bar.passes(len(epochs) / passes, f"pass {len(epochs)} of at most {passes}: {right}", point)

        layout = head_layout(plan.features, len(plan.classes))
        control = {} if start.control is None else {CONTROL: vector_of(layout, start.control)}
        received = Received(vector_of(layout, start), layout, control)
        (x, y), (valid_x, valid_y) = ((start.read(parts[part].x), parts[part].y) for part in ("train", "valid"))
        stream, settings = Keystream(self.randomness(32)), training_settings(plan)
        variants = [start.read(sight) for sight in parts["train"].variants]
        descend = SoftmaxDescent(layout, x, y, valid_x, valid_y, settings, stream, on_epoch, variants)
        memory = self.store.memories.remembered(algorithm_name(plan), held.version)
        outcome = algorithm.local(received, memory, descend)
        own = head_of(layout, outcome.own)
        beside = left_of(algorithm_name(plan), outcome, vector_of(layout, own) - received.parameters)
        local = replace(start, weight=own.weight, bias=own.bias, control=None)
        return local, Course(epochs=tuple(epochs)), beside

    def last_local(self, held: Held) -> HeadModel | None:
        """The model that was trained here last, if it is still here and fits the global one."""
        prepared = self.store.prepared
        if prepared is None:
            return None
        try:
            model = model_file.decode(self.store.local_file(prepared.head))
        except (ModelError, NotFound, StorageError):
            return None
        current = self.global_model(held)
        same = (model.classes, model.backbone_sha256, model.picture_size, model.kind) == (
            current.classes,
            current.backbone_sha256,
            current.picture_size,
            current.kind,
        )
        return model if same else None


class _Bar:
    """How far a training is, in its features and then in its passes; features that are kept cost nothing."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._kept: int | None = None
        self._share = 0.0  # of the features

    def features(self, done: int, total: int) -> None:
        """``done`` of ``total`` pictures have theirs; of the first call, these were kept."""
        if self._kept is None:
            self._kept = done
            cost = _FEATURES_COST * (total - done)
            self._share = cost / (cost + total) if total else 0.0
        new = total - self._kept
        if new:
            text = f"features of {done - self._kept} of {new} new pictures"
            self._progress(self._share * (done - self._kept) / new, text)

    def passes(self, fraction: float, text: str, point: Point | None = None) -> None:
        """So much of the passes is done, at least: most trainings end before the last one."""
        self._progress(self._share + (1 - self._share) * fraction, text, point)


def training_settings(plan: Plan) -> TrainingSettings:
    """The plan's rates as numbers.

    Raises:
        SettingsError: a value is out of range.
    """
    return TrainingSettings(
        epochs=plan.epochs,
        batch_size=plan.batch_size,
        learning_rate=plan.learning_rate_micro / 1e6,
        momentum=plan.momentum_micro / 1e6,
        l2=plan.l2_micro / 1e6,
        patience=plan.patience,
        class_weights=plan.class_weights,
        class_counts=plan.class_counts or (),
    )


def nothing_to_learn_from(pictures: Pictures) -> NotPossibleNow:
    """The error for a device without training pictures."""
    return NotPossibleNow(
        f"There are no training pictures in {pictures.folder}.",
        slug=NOTHING_TO_LEARN_FROM,
        next="Put some in on the page Pictures and say what they show, or lay them into that folder, one folder for "
        "each class.",
    )


def _point(done: EpochProgress) -> Point:
    return {
        "epoch": done.epoch,
        "train_loss": done.train_loss,
        "train_accuracy": done.train_accuracy,
        "valid_loss": done.valid_loss,
        "valid_accuracy": done.valid_accuracy,
    }


def _measure(model: HeadModel, test: Examples, plan: Plan) -> StoredCounts:
    return StoredCounts.of(evaluate(model.weight, model.bias, model.read(test.x), test.y, plan.classes))


def _occurring(train_part: Examples, plan: Plan) -> NDArray[np.bool_]:
    return np.bincount(train_part.y, minlength=len(plan.classes)) > 0
