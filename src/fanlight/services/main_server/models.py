"""The versions of the global model: the first one knows nothing, each released training round adds one."""

from __future__ import annotations

from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection, Select, bindparam, func, insert, literal, select, update

from fanlight.errors import NotFound
from fanlight.learning.algorithms.algorithm import NOTHING, Algorithm
from fanlight.learning.algorithms.lineage import Lineage
from fanlight.learning.algorithms.registry import recipe
from fanlight.learning.heads import HeadKind, SoftmaxHead, zero_head
from fanlight.learning.held_back import HeldBack
from fanlight.learning.model_file import Control, HeadModel, decode, parts
from fanlight.learning.tuned_backbone import Tensors
from fanlight.protocol.contribution import Totals
from fanlight.protocol.plan import Plan
from fanlight.protocol.statistics import Sums
from fanlight.services.main_server import (
    algorithm_memories,
    collected_sums,
    held_back_classes,
    members,
    notes,
    solving,
    taught_by,
)
from fanlight.services.main_server.collected_sums import Collected
from fanlight.services.main_server.fine_tuning import check_at_home, first_tensors
from fanlight.services.main_server.next_version import move
from fanlight.services.main_server.published_backbones import PublishedBackbones
from fanlight.services.main_server.task_file import TaskFile
from fanlight.services.main_server.taught_by import Taught
from fanlight.services.main_server.version_files import VersionFiles
from fanlight.storage.statements import Statement
from fanlight.storage.tables.main import models, rounds


@dataclass(frozen=True)
class Version:
    """One version of the global model.

    Attributes:
        number: 0 for the one that knows nothing.
        sha256: of the file, 32 bytes; size: bytes.
        created_at: unix seconds.
        round: the round it came from, None for the first.
        published: do devices get it.
    """

    number: int
    sha256: bytes
    size: int
    created_at: float
    round: int | None
    published: bool


class Models:
    """The versions in the database, and their files. Methods run inside the caller's transaction."""

    def __init__(self, tasks: TaskFile, backbones: PublishedBackbones, files: VersionFiles) -> None:
        self._tasks = tasks
        self._backbones = backbones
        self._files = files

    def ensure_first(self, tx: Connection, now: float) -> None:
        """Make version 0 if there is no version yet.

        Raises:
            ModelError, SettingsError, StorageError: see ``first_tensors``.
        """
        if tx.execute(select(models.c.version).limit(1)).first() is None:
            self._insert(tx, self._knows_nothing(0), now, None, published=True)

    def current_fits(self, tx: Connection) -> bool:
        """Is the current version one of the task as it is now: its head, backbone, picture size and classes?"""
        return self.fits(tx, self.current(tx))

    def fits(self, tx: Connection, version: Version) -> bool:
        """Does a version read what the task's devices would give it, in the way that its head does?"""
        model, plan = decode(self.file_of(tx, version.number), own=False), self._tasks.task.plan
        found = (model.kind, model.classes, model.backbone_sha256, model.picture_size, model.weight.shape[0])
        fits = found == (plan.head, plan.classes, plan.backbone_hash.hex(), plan.picture_size, plan.features)
        return fits and model.layout.size == plan.parameters

    def check_algorithm(self, tx: Connection, algorithm: Algorithm, version: Version) -> None:
        """See whether an algorithm can work on the tensors of a version.

        Raises:
            SettingsError: see ``fine_tuning.check_at_home``.
        """
        model = decode(self.file_of(tx, version.number), own=False)
        check_at_home(algorithm, model.layout, knows_nothing=not model.weight.any())

    def check_goes_on(self, tx: Connection, version: Version) -> None:
        """See whether the task's algorithm can work on the tensors of a version; raises as ``check_algorithm``."""
        self.check_algorithm(tx, self._tasks.task.algorithm.algorithm, version)

    def begin_line(self, tx: Connection, now: float) -> int:
        """Make a version that knows nothing, and make it the current one; its number."""
        number = self._latest(tx) + 1
        self._insert(tx, self._knows_nothing(number), now, None, published=True)
        self.set_current(tx, number)
        return number

    def current(self, tx: Connection) -> Version:
        """The version that devices fetch: the newest published one, or the one the operator went back to."""
        number = notes.read(tx, notes.CURRENT_MODEL, notes.NONE)
        if number != notes.NONE:
            return self.version(tx, number)
        return _version(_NEWEST.first(tx))

    def all(self, tx: Connection) -> list[Version]:
        """All versions, oldest first."""
        return [_version(row) for row in tx.execute(_select().order_by(models.c.version))]

    def page(self, tx: Connection, offset: int, limit: int) -> list[Version]:
        """Some of the versions, newest first."""
        rows = tx.execute(_select().order_by(models.c.version.desc()).offset(offset).limit(limit))
        return [_version(row) for row in rows]

    def count(self, tx: Connection) -> int:
        """How many versions there are."""
        return int(tx.execute(select(func.count()).select_from(models)).scalar_one())

    def version(self, tx: Connection, number: int) -> Version:
        """A version, published or not.

        Raises:
            NotFound: there is none.
        """
        row = _NUMBERED.first(tx, wanted=number)
        if row is None:
            raise NotFound(f"There is no model version {number}.", next="Choose one of all versions (/models).")
        return _version(row)

    def parents(self, tx: Connection, first: int, last: int) -> dict[int, int]:
        """Of the versions ``first`` to ``last``, the numbers of those they were trained from."""
        start, columns = models.alias("start"), models.c
        found = select(columns.version, start.c.version.label("parent")).where(columns.version.between(first, last))
        rows = tx.execute(
            found.join(rounds, rounds.c.number == columns.round).join(start, start.c.sha256 == rounds.c.model)
        )
        return {row.version: row.parent for row in rows}

    def lineage(self, tx: Connection, version: Version, most: int) -> list[int]:
        """The numbers of up to ``most`` versions that a version comes from, nearest first."""
        made = select(models.c.version, models.c.sha256, rounds.c.model.label("start")).outerjoin(
            rounds, rounds.c.number == models.c.round
        )
        line = made.add_columns(literal(0).label("steps")).where(models.c.version == version.number).cte(recursive=True)
        before = made.add_columns(line.c.steps + 1).join(line, line.c.start == models.c.sha256)
        line = line.union_all(before.where(line.c.steps < most))
        return list(tx.execute(select(line.c.version).where(line.c.steps > 0).order_by(line.c.steps)).scalars())

    def children(self, tx: Connection, version: Version) -> list[int]:
        """The numbers of the versions that were trained from a version, oldest first."""
        columns = models.c
        found = select(columns.version).join(rounds, rounds.c.number == columns.round)
        return list(tx.execute(found.where(rounds.c.model == version.sha256).order_by(columns.version)).scalars())

    def content(self, tx: Connection, sha256: bytes) -> bytes:
        """The file of a published version.

        Raises:
            NotFound: there is none. StorageError: it is damaged.
        """
        return self._files.published(tx, sha256)

    def is_published(self, tx: Connection, sha256: bytes) -> bool:
        """Is there a published version with this hash?"""
        return _PUBLISHED.first(tx, wanted=sha256) is not None

    def file_of(self, tx: Connection, number: int) -> bytes:
        """The file of a version, published or not.

        Raises:
            NotFound: there is none. StorageError: it is damaged.
        """
        return self._files.read(self.version(tx, number).sha256)

    def of_hash(self, tx: Connection, sha256: bytes) -> int:
        """The number of the version with this hash, which there is."""
        return int(tx.execute(select(models.c.version).where(models.c.sha256 == sha256)).scalar_one())

    def from_round(self, tx: Connection, number: int) -> Version | None:
        """The version that round ``number`` made, if any."""
        row = _OF_ROUND.first(tx, wanted=number)
        return _version(row) if row else None

    def from_rounds(self, tx: Connection, first: int, last: int) -> dict[int, Version]:
        """The versions that the rounds ``first`` to ``last`` made, by round."""
        rows = tx.execute(_select().where(models.c.round.between(first, last)))
        return {row.round: _version(row) for row in rows}

    def add(self, tx: Connection, totals: Totals, start: bytes, round_number: int, now: float) -> None:
        """Apply the mean update of a released round to the model it started from; not published yet.

        Classes with fewer supporters than the task asks for keep their row: with one supporter the row of the sum *is*
        that device's contribution, and must not follow from the others either (``learning.held_back``).
        ``totals.steps`` are overwritten: see ``next_version``. Where the round has sums, the model is solved from them,
        wherever it started from; where it has changes, from what these make of them.
        """
        if totals.sums is not None:
            made = self._solved(tx, totals.sums, totals, round_number)
        elif totals.steps is not None:
            made = self._moved(tx, totals, start, round_number)
        else:
            return
        self._insert(tx, made, now, round_number, published=False)

    def _moved(self, tx: Connection, totals: Totals, start: bytes, round_number: int) -> HeadModel:
        assert totals.supporters is not None
        task, number = self._tasks.task, self._latest(tx) + 1
        choice = algorithm_memories.proposed(tx, task.algorithm)
        model = decode(self.content(tx, start), own=False)
        lineage, planned = None, task.planned(choice)
        if planned is not None and recipe(planned.name).on_device:
            next_version = number == model.version + 1
            lineage = Lineage.after(model.lineage, planned.name, round_number, next_version=next_version)
        begins = lineage is not None and lineage.first == round_number  # for devices it does
        known = NOTHING if begins else algorithm_memories.remembered(tx, model.version, choice)
        made = move(
            SoftmaxHead(model.weight, model.bias),
            known,
            choice,
            totals,
            held_back=self._held_back(tx, totals.supporters, round_number),
            members=members.count_confirmed(tx),
            tuned=model.tuned,
        )
        algorithm_memories.remember(tx, number, choice, made.memory)
        if totals.weight is not None:
            taught_by.keep(tx, number, Taught(totals.count, totals.weight))
        return replace(version_model(task.plan, number, made.head, made.control, made.tuned), lineage=lineage)

    def _solved(self, tx: Connection, sums: Sums, totals: Totals, round_number: int) -> HeadModel:
        assert totals.supporters is not None
        plan, number = self._tasks.task.plan, self._latest(tx) + 1
        if totals.members is None:
            collected = Collected(sums, totals.supporters, totals.count, round_number, round_number)
        else:
            before = collected_sums.read(tx)
            assert before is not None  # or the round would have failed
            collected = before.changed(totals, round_number)
        held_back = self._held_back(tx, collected.supporters, round_number)
        head = solving.solve_version(tx, plan, collected, held_back, number)
        taught_by.keep(tx, number, taught_by.of_collected(collected))
        return version_model(plan, number, head)

    def _held_back(self, tx: Connection, supporters: NDArray[np.int64], round_number: int) -> HeldBack:
        least = notes.read(tx, notes.SUPPORTERS, self._tasks.task.policy.supporters)
        found = HeldBack.of(supporters, least)
        held_back_classes.keep(tx, round_number, found, least)
        return found

    def publish(self, tx: Connection, round_number: int) -> None:
        """Hand out the version that a round made, if it made one: it is the current one now."""
        _PUBLISH.run(tx, wanted=round_number, published=True)
        made = self.from_round(tx, round_number)
        if made is not None:
            self.set_current(tx, made.number)

    @staticmethod
    def set_current(tx: Connection, number: int) -> None:
        """Let devices fetch version ``number``, which is published."""
        notes.keep(tx, notes.CURRENT_MODEL, number)

    def _knows_nothing(self, number: int) -> HeadModel:
        task, plan = self._tasks.task, self._tasks.task.plan
        tuned = first_tensors(self._backbones.of_plan(plan), task.fine_tune) if task.fine_tune else {}
        made = version_model(plan, number, zero_head(plan.features, len(plan.classes)), tuned=tuned)
        check_at_home(task.algorithm.algorithm, made.layout, knows_nothing=True)
        return made

    def _latest(self, tx: Connection) -> int:
        return int(_LATEST.scalar(tx))

    def _insert(
        self, tx: Connection, model: HeadModel, now: float, round_number: int | None, *, published: bool
    ) -> None:
        sha256, size = self._files.add(parts(model))
        values = {"sha256": sha256, "created_at": now, "round": round_number, "published": published, "size": size}
        _INSERT.run(tx, version=model.version, **values)


def version_model(
    plan: Plan,
    number: int,
    head: SoftmaxHead,
    control: Control | None = None,
    tuned: Tensors = MappingProxyType({}),
) -> HeadModel:
    """Version ``number``: a head for the features of the plan, and the mean of control variates if there are any.

    ``tuned`` are the tensors of the backbone that learn.
    """
    return HeadModel(
        task=plan.task,
        version=number,
        classes=plan.classes,
        backbone_id=plan.backbone,
        backbone_sha256=plan.backbone_hash.hex(),
        picture_size=plan.picture_size,
        weight=head.weight,
        bias=head.bias,
        control=control,
        kind=HeadKind(plan.head),
        tuned=tuned,
    )


def _select() -> Select[Any]:
    columns = models.c
    return select(columns.version, columns.sha256, columns.size, columns.created_at, columns.round, columns.published)


_WITH_HASH: Final = models.c.sha256 == bindparam("wanted")
_OF_A_ROUND: Final = models.c.round == bindparam("wanted")
_NEWEST: Final = Statement(_select().where(models.c.published).order_by(models.c.version.desc()).limit(1))
_LATEST: Final = Statement(select(models.c.version).order_by(models.c.version.desc()).limit(1))
_NUMBERED: Final = Statement(_select().where(models.c.version == bindparam("wanted")))
_OF_ROUND: Final = Statement(_select().where(_OF_A_ROUND))
_PUBLISHED: Final = Statement(select(models.c.version).where(_WITH_HASH, models.c.published))
_PUBLISH: Final = Statement(update(models).where(_OF_A_ROUND), "published")
_INSERT: Final = Statement(insert(models))


def _version(row: Any) -> Version:
    return Version(row.version, row.sha256, row.size, row.created_at, row.round, row.published)
