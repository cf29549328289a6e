"""The library's tables: what was seen in the folder, and measured once a picture."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, and_, case, delete, func, not_, select, tuple_, update
from sqlalchemy.dialects.sqlite import insert as upsert

from fanlight.learning.folders import OWN
from fanlight.services.device.library.conditions import MOST_VALUES, in_use
from fanlight.services.device.library.history import Move
from fanlight.services.device.library.layout import FileSeen
from fanlight.services.device.library.measure import Measured
from fanlight.services.device.library.records import Beside, Counts, Picture, State
from fanlight.storage.database import Database
from fanlight.storage.tables.device import picture_files, picture_sides, pictures


class Index:
    """The rows; every method is one transaction."""

    def __init__(self, database: Database) -> None:
        self._database = database

    # -- files

    def files(self) -> dict[str, tuple[FileSeen, str | None]]:
        """All files known, with their content hash; None for those that are no usable pictures."""
        with self._database.reading() as tx:
            rows = tx.execute(select(picture_files)).all()
        return {row.path: (FileSeen(row.path, row.size, row.modified_ns), row.sha256) for row in rows}

    def contents(self) -> dict[str, str]:
        """The content hash of every file that is a picture, by path."""
        query = select(picture_files.c.path, picture_files.c.sha256).where(picture_files.c.sha256.is_not(None))
        with self._database.reading() as tx:
            return {path: sha256 for path, sha256 in tx.execute(query)}  # noqa: C416 not dict(): a result has keys() of its own

    def files_of(self, ids: Collection[str]) -> dict[str, list[str]]:
        """The paths of pictures."""
        found: dict[str, list[str]] = {}
        with self._database.reading() as tx:
            for some in _pieces(ids):
                query = select(picture_files.c.sha256, picture_files.c.path).where(picture_files.c.sha256.in_(some))
                for sha256, path in tx.execute(query.order_by(picture_files.c.path)):
                    found.setdefault(sha256, []).append(path)
        return found

    def unreadable(self) -> list[tuple[str, str]]:
        """Files that are no usable pictures, and why."""
        query = select(picture_files.c.path, picture_files.c.problem).where(picture_files.c.sha256.is_(None))
        with self._database.reading() as tx:
            return [(row.path, row.problem or "") for row in tx.execute(query.order_by(picture_files.c.path))]

    def put_files(self, seen: Iterable[tuple[FileSeen, str | None, str | None]]) -> None:
        """Remember files with their content hash, or why they cannot be used."""
        with self._database.transaction() as tx:
            for file, sha256, problem in seen:
                values = {"size": file.size, "modified_ns": file.modified_ns, "sha256": sha256, "problem": problem}
                row = upsert(picture_files).values(path=file.path, **values)
                tx.execute(row.on_conflict_do_update(index_elements=["path"], set_=values))

    def forget_files(self, paths: Collection[str]) -> None:
        """They are gone."""
        with self._database.transaction() as tx:
            for some in _pieces(paths):
                tx.execute(delete(picture_files).where(picture_files.c.path.in_(some)))

    def renamed(self, moves: Sequence[Move]) -> None:
        """Files have been moved."""
        with self._database.transaction() as tx:
            for before, after in moves:
                tx.execute(delete(picture_files).where(picture_files.c.path == after))
                tx.execute(update(picture_files).where(picture_files.c.path == before).values(path=after))

    # -- pictures

    def known(self) -> set[str]:
        """Hashes of the pictures of which all is measured."""
        with self._database.reading() as tx:
            return set(tx.execute(select(pictures.c.sha256).where(pictures.c.colours.is_not(None))).scalars())

    def put_measured(self, measured: Mapping[str, Measured], now: int) -> None:
        """New pictures, and what was not measured of others; where they stand, ``place`` says."""
        rows = [
            {
                "sha256": sha256,
                "path": "",
                "state": State.DELETED.value,
                "part": "",
                "added_at": now,
                **vars(found),
            }
            for sha256, found in measured.items()
        ]
        if rows:
            with self._database.transaction() as tx:
                row = upsert(pictures)
                tx.execute(row.on_conflict_do_update(["sha256"], set_={"colours": row.excluded.colours}), rows)

    def places(self) -> dict[str, tuple[str, str, str | None, str]]:
        """Of all pictures: path, state, label, part."""
        c = pictures.c
        with self._database.reading() as tx:
            rows = tx.execute(select(c.sha256, c.path, c.state, c.label, c.part)).all()
        plain = {State.SUGGESTED.value: State.UNLABELLED.value}
        return {sha256: (path, plain.get(state, state), label, part) for sha256, path, state, label, part in rows}

    def place(self, changed: Mapping[str, tuple[str, str, str | None, str]], gone: Collection[str]) -> None:
        """Where pictures are now (as ``places``), and which are not any more."""
        with self._database.transaction() as tx:
            for sha256, (path, state, label, part) in changed.items():
                values = {"path": path, "state": state, "label": label, "part": part}
                tx.execute(update(pictures).where(pictures.c.sha256 == sha256).values(**values))
            for some in _pieces(gone):
                for table in (pictures, picture_sides):
                    tx.execute(delete(table).where(table.c.sha256.in_(some)))
            _mark_suggested(tx)

    def picture(self, sha256: str) -> Picture | None:
        """One picture."""
        with self._database.reading() as tx:
            row = tx.execute(select(pictures).where(pictures.c.sha256 == sha256)).first()
        return _picture(row) if row else None

    def pictures(self, ids: Collection[str]) -> dict[str, Picture]:
        """Many pictures by their hashes, in the order given; those that are not there are left out."""
        found: dict[str, Picture] = {}
        with self._database.reading() as tx:
            for some in _pieces(ids):
                rows = tx.execute(select(pictures).where(pictures.c.sha256.in_(some)))
                found |= {row.sha256: _picture(row) for row in rows}
        return {sha256: found[sha256] for sha256 in ids if sha256 in found}

    def of_part(self, label: str, part: str) -> list[str]:
        """Content hashes of the labelled pictures of one class and part, in order."""
        c = pictures.c
        found = select(c.sha256).where(c.state == State.LABELLED.value, c.label == label, c.part == part)
        with self._database.reading() as tx:
            return list(tx.execute(found.order_by(c.sha256)).scalars())

    def select(self, condition: ColumnElement[bool], first: int, count: int) -> tuple[list[Picture], int]:
        """Some of the pictures, newest first, and how many there are in all."""
        query = select(pictures).where(condition).order_by(pictures.c.added_at.desc(), pictures.c.path)
        with self._database.reading() as tx:
            total = tx.execute(select(func.count()).select_from(pictures).where(condition)).scalar_one()
            rows = tx.execute(query.offset(first).limit(count)).all()
        return [_picture(row) for row in rows], total

    def holds(self, condition: ColumnElement[bool], sha256: str) -> bool:
        """Is this one of those pictures?"""
        query = select(pictures.c.sha256).where(condition, pictures.c.sha256 == sha256)
        with self._database.reading() as tx:
            return tx.execute(query).first() is not None

    def beside(self, picture: Picture, condition: ColumnElement[bool], *, least_sure: bool = False) -> Beside:
        """What stands before and after a picture among others: newest first, or least sure first."""
        c = pictures.c
        first = c.confidence if least_sure else -c.added_at
        here = tuple_(picture.confidence if least_sure else -picture.added_at, picture.path)
        key = tuple_(first, c.path)

        def nearest(query: Select[str]) -> str | None:
            return tx.execute(query.limit(1)).scalars().first()

        some = select(c.sha256).where(condition)
        with self._database.reading() as tx:
            before = nearest(some.where(key < here).order_by(first.desc(), c.path.desc()))
            after = nearest(some.where(key > here).order_by(first, c.path))
            count = select(func.count()).select_from(pictures)
            held = tx.execute(count.where(condition, c.sha256 == picture.sha256)).scalar_one()
            number = held and 1 + tx.execute(count.where(condition, key < here)).scalar_one()
            total = tx.execute(count.where(condition)).scalar_one()
        return Beside(before, after, number, total)

    def least_sure(self, count: int) -> list[Picture]:
        """Suggested pictures, those that the model is least sure of first."""
        c = pictures.c
        query = select(pictures).where(c.state == State.SUGGESTED.value).order_by(c.confidence, c.path).limit(count)
        with self._database.reading() as tx:
            return [_picture(row) for row in tx.execute(query)]

    def without_suggestion(self, model: bytes) -> list[Picture]:
        """Pictures without a label that this model was not asked about."""
        c = pictures.c
        waiting = c.state.in_([State.UNLABELLED.value, State.SUGGESTED.value])
        query = select(pictures).where(waiting, c.suggested_by.is_distinct_from(model)).order_by(c.path)
        with self._database.reading() as tx:
            return [_picture(row) for row in tx.execute(query)]

    def suggested_by_another(self, model: bytes) -> int:
        """How many pictures have a suggestion of another model than this one."""
        c = pictures.c
        query = select(func.count()).where(c.state == State.SUGGESTED.value, c.suggested_by.is_distinct_from(model))
        with self._database.reading() as tx:
            return tx.execute(query).scalar_one()

    def suggest(self, found: Mapping[str, tuple[str, float]], model: bytes) -> None:
        """Keep what a model takes pictures for: class and probability."""
        with self._database.transaction() as tx:
            for sha256, (label, confidence) in found.items():
                values = {"suggestion": label, "confidence": confidence, "suggested_by": model}
                tx.execute(update(pictures).where(pictures.c.sha256 == sha256).values(**values))
            _mark_suggested(tx)

    def counts(self) -> Counts:
        """How many pictures there are."""
        c = pictures.c
        by_state = select(c.state, func.count()).group_by(c.state)
        own = c.path.startswith(f"{OWN}/", autoescape=True)
        by_label = select(c.label, own, func.count()).where(c.state == State.LABELLED.value).group_by(c.label, own)
        with self._database.reading() as tx:
            states = {State(row[0]): int(row[1]) for row in tx.execute(by_state)}
            labels = [(str(label), bool(at_home), int(count)) for label, at_home, count in tx.execute(by_label)]
        of_classes = {label: count for label, at_home, count in labels if not at_home}
        of_own = {label: count for label, at_home, count in labels if at_home}
        return Counts({state: states.get(state, 0) for state in State}, of_classes, of_own)

    def labelled(self) -> list[tuple[str, str, str, bool]]:
        """Of all labelled pictures, in order: SHA-256, path, label, and whether that is an own name."""
        c = pictures.c
        query = select(c.sha256, c.path, c.label).where(c.state == State.LABELLED.value).order_by(c.sha256)
        with self._database.reading() as tx:
            rows = tx.execute(query).all()
        return [(row.sha256, row.path, row.label or "", row.path.startswith(f"{OWN}/")) for row in rows]

    def untested(self) -> list[tuple[str, int]]:
        """Classes with two labelled pictures or more, of which none is for testing, and how many those are."""
        c = pictures.c
        tested = func.sum(case((c.part == "test", 1), else_=0))
        own = c.path.startswith(f"{OWN}/", autoescape=True)
        query = select(c.label, func.count()).where(c.state == State.LABELLED.value, not_(own)).group_by(c.label)
        with self._database.reading() as tx:
            rows = tx.execute(query.having(func.count() > 1, tested == 0).order_by(c.label))
            return [(str(row[0]), int(row[1])) for row in rows]

    def looks(self) -> list[tuple[str, bytes, bytes]]:
        """Content hash, perceptual hash and colours of all pictures that are in use."""
        c = pictures.c
        query = select(c.sha256, c.perceptual_hash, c.colours).where(in_use(), c.colours.is_not(None))
        with self._database.reading() as tx:
            rows = tx.execute(query.order_by(c.added_at, c.sha256))
            return [(row.sha256, row.perceptual_hash, row.colours) for row in rows]

    def copied(self) -> list[str]:
        """Content hashes that stand in several files."""
        c = picture_files.c
        query = select(c.sha256).where(c.sha256.is_not(None), not_(c.path.startswith("_", autoescape=True)))
        with self._database.reading() as tx:
            return [sha for sha in tx.execute(query.group_by(c.sha256).having(func.count() > 1)).scalars() if sha]


def _mark_suggested(tx: Connection) -> None:
    c = pictures.c
    waiting = and_(c.state == State.UNLABELLED.value, c.suggestion.is_not(None))
    tx.execute(update(pictures).where(waiting).values(state=State.SUGGESTED.value))


def _picture(row: Any) -> Picture:
    return Picture(
        sha256=row.sha256,
        path=row.path,
        state=State(row.state),
        label=row.label,
        part=row.part,
        width=row.width,
        height=row.height,
        sharpness=row.sharpness,
        perceptual_hash=row.perceptual_hash,
        added_at=row.added_at,
        suggestion=row.suggestion,
        confidence=row.confidence,
    )


def _pieces(values: Collection[str]) -> list[list[str]]:
    given = list(values)
    return [given[start : start + MOST_VALUES] for start in range(0, len(given), MOST_VALUES)]
