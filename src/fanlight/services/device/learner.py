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

import numpy as np
from numpy.typing import NDArray

from fanlight.core.percent import percent
from fanlight.core.randomness import Keystream
from fanlight.errors import DataError, ModelError, NotFound, NotPossibleNow, Refused, StorageError
from fanlight.learning import model_file
from fanlight.learning.algorithms.local import Descend, Received
from fanlight.learning.algorithms.scaffold import CONTROL
from fanlight.learning.evaluation import evaluate
from fanlight.learning.local_training import SoftmaxDescent
from fanlight.learning.model_file import HeadModel
from fanlight.learning.torch_extra import has_torch
from fanlight.learning.training import EpochProgress
from fanlight.learning.training_settings import TrainingSettings
from fanlight.learning.tuned_backbone import normalisation
from fanlight.protocol.contribution import W_MAX
from fanlight.protocol.device import NOTHING_TO_LEARN_FROM
from fanlight.protocol.device_round import Preparation
from fanlight.protocol.plan import Kind, Plan
from fanlight.services.device import solving
from fanlight.services.device import sums_file as sums_files
from fanlight.services.device.learned import Course, Epoch, Held, Learned, Prepared, StoredCounts
from fanlight.services.device.local_algorithm import algorithm_name, local_algorithm
from fanlight.services.device.memories import Left, left_of
from fanlight.services.device.own_model import Answering, own_model
from fanlight.services.device.pictures import Examples, Pictures
from fanlight.services.device.store import DeviceStore
from fanlight.services.http.jobs import Point, Progress

_FEATURES_COST = 4.0  # a picture's features take so many times as long as all passes over them
_ACTIVATIONS_COST = 0.1  # the same of activations at a cut, behind which the backbone learns


@dataclass(frozen=True)
class Learner:
    """What turns pictures into a local model.

    Attributes:
        store, pictures: this device's.
        clock: unix seconds.
        randomness: that many bytes from the operating system's generator.
        has_torch: is there what a backbone learns by?
    """

    store: DeviceStore
    pictures: Pictures
    clock: Callable[[], float]
    randomness: Callable[[int], bytes]
    has_torch: Callable[[], bool] = has_torch

    @property
    def has_looked(self) -> bool:
        """Is it known what pictures there are? The first reading is long: a job's."""
        return self.pictures.overview is not None

    def check(self) -> None:
        """Quickly: can this device train, as far as is known?

        Raises:
            DataError: the data folder is not there. NotPossibleNow: no training pictures were found in it, or the
                backbone is to learn, and this device cannot do that.
        """
        held = self.store.held
        if held is not None:
            try:
                self.check_can_train(held.plan)
            except Refused as error:
                raise NotPossibleNow(error.message, slug=error.slug, next=error.next) from error
        self.pictures.check_folder()
        if self.pictures.lacks_training:
            raise nothing_to_learn_from(self.pictures)

    def check_can_train(self, plan: Plan) -> None:
        """Can this device learn what the plan asks for?

        Raises:
            Refused: a part of the backbone is to learn, and PyTorch is not installed.
        """
        if plan.fine_tune is not None and not self.has_torch():
            raise Refused(
                "In this federation a part of the backbone learns, and this device lacks PyTorch, which that needs.",
                slug="needs-torch",
                next="Install it with: pip install 'fanlight[torch]', and start the device again. Without it, this "
                "device goes on using and measuring the model.",
            )

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
        self.check_can_train(plan)
        bar = _Bar(progress, _FEATURES_COST if plan.fine_tune is None else _ACTIVATIONS_COST)
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
        received = self._measure(start, parts["test"], plan)
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
            local=self._measure(local, parts["test"], plan),
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
        received = self._measure(self.global_model(held), test, plan)
        self.store.measured(held, received)
        local = self.last_local(held)
        own = self._measure(local, test, plan) if local else None
        return Learned(received=received, local=own, model_version=held.version, model_bytes=held.file_bytes)

    def update(self, held: Held, prepared: Prepared) -> NDArray[np.float64]:
        """Local minus global parameters, (d,) float64 in the order of ``HeadModel.layout``."""
        local, start = model_file.decode(self.store.local_file(prepared.head)), self.global_model(held)
        update: NDArray[np.float64] = start.layout.flatten(local.tensors) - start.layout.flatten(start.tensors)
        return update

    def _some(self, examples: Examples, most: int) -> Examples:
        if examples.y.size <= most:
            return examples
        return examples.some(Keystream(self.randomness(32)).permutation(examples.y.size)[:most])

    def global_model(self, held: Held) -> HeadModel:
        """The current global model."""
        return model_file.decode(self.store.global_file(held.sha256))

    def answering(self, held: Held) -> Answering:
        """What answers here: the home's own model, or the global one; errors as in ``own_model``."""
        current = self.global_model(held)
        own = own_model(self.store.memories, held, current)
        return Answering(own.model, own.digest, own) if own else Answering(current, held.sha256)

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

        layout = start.layout
        control = {} if start.control is None else {CONTROL: layout.flatten(start.control.tensors)}
        received = Received(layout.flatten(start.tensors), layout, control, normalisation=normalisation(layout))
        descend = self._descend_by(plan, start, parts, on_epoch)
        memory = self.store.memories.remembered(algorithm_name(plan), start.lineage)
        outcome = algorithm.local(received, memory, descend)
        local = start.with_tensors(layout.unflatten(outcome.own))
        beside = left_of(algorithm_name(plan), outcome, layout.flatten(local.tensors) - received.parameters)
        return local, Course(epochs=tuple(epochs)), beside

    def _descend_by(
        self, plan: Plan, start: HeadModel, parts: dict[str, Examples], on_epoch: Callable[[EpochProgress], None]
    ) -> Descend:
        """Local training on this device's pictures: of the head alone, or of a part of the backbone too."""
        (x, y), (valid_x, valid_y) = ((start.read(parts[part].x), parts[part].y) for part in ("train", "valid"))
        stream, settings = Keystream(self.randomness(32)), training_settings(plan)
        if plan.fine_tune is None:
            variants = [start.read(sight) for sight in parts["train"].variants]
            return SoftmaxDescent(start.layout, x, y, valid_x, valid_y, settings, stream, on_epoch, variants)
        from fanlight.learning.torch_descent import TorchDescent

        cut, step = self.pictures.cut(plan), plan.fine_tune.learning_rate_micro / 1e6
        if cut.check(start.tuned) != plan.fine_tune.batch_norm:
            raise ModelError("the model treats batch normalisation in another way than the plan")
        sights = parts["train"].variants
        pictures = x, y, valid_x, valid_y
        return TorchDescent(cut, start.layout, plan.picture_size, *pictures, settings, step, stream, on_epoch, sights)

    def _measure(self, model: HeadModel, test: Examples, plan: Plan) -> StoredCounts:
        x = test.x if plan.fine_tune is None else self.pictures.tail(plan, model).run(test.x)
        return StoredCounts.of(evaluate(model.weight, model.bias, model.read(x), test.y, plan.classes))

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
        same = (model.classes, model.backbone_sha256, model.picture_size, model.kind, model.layout) == (
            current.classes,
            current.backbone_sha256,
            current.picture_size,
            current.kind,
            current.layout,
        )
        return model if same else None


class _Bar:
    """How far a training is, in its features and then in its passes; features that are kept cost nothing."""

    def __init__(self, progress: Progress, cost: float = _FEATURES_COST) -> None:
        self._progress = progress
        self._cost = cost
        self._kept: int | None = None
        self._share = 0.0  # of the features

    def features(self, done: int, total: int) -> None:
        """``done`` of ``total`` pictures have theirs; of the first call, these were kept."""
        if self._kept is None:
            self._kept = done
            cost = self._cost * (total - done)
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


def _occurring(train_part: Examples, plan: Plan) -> NDArray[np.bool_]:
    return np.bincount(train_part.y, minlength=len(plan.classes)) > 0
