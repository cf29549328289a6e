"""Which part each picture of this device has, kept: a picture stays on its side of the split when others come.

What pictures look like is in the library's table; those that the library has not read yet are looked at here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from sqlalchemy import Connection, select
from sqlalchemy.dialects.sqlite import insert as upsert

from fanlight.learning import alike, looks
from fanlight.learning.folders import LabelledPicture
from fanlight.learning.looks import Look
from fanlight.learning.split import split
from fanlight.storage.database import Database
from fanlight.storage.tables.device import picture_sides, pictures


class Sides:
    """The parts of pictures that their owner has not split; safe to share between threads."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._looks: dict[str, Look] = {}
        self._settled: tuple[Mapping[str, str], dict[str, str]] = ({}, {})

    def divide(self, classes: Sequence[str], unsplit: Sequence[LabelledPicture]) -> dict[str, str]:
        """The part of each by its content hash, as ``folders.Divide``; labels are those of ``classes``.

        Raises:
            PictureError: one has been damaged since it was found. StorageError: the database failed.
        """
        paths = {picture.content_hash: picture.path for picture in unsplit}
        return self.parts({picture.content_hash: classes[picture.label] for picture in unsplit}, paths)

    def parts(self, labels: Mapping[str, str], paths: Mapping[str, Path] | None = None) -> dict[str, str]:
        """The part of each picture, of those with these labels by content hash; errors as in ``divide``.

        Args:
            labels: class by content hash.
            paths: where files lie of pictures that the library may not have read.
        """
        known, parts = self._settled
        if known == labels:
            return parts
        seen = self._look(labels, paths or {})
        with self._database.transaction() as tx:
            before = {sha256: side for sha256, side in tx.execute(select(picture_sides))}  # noqa: C416 see ``Index``
            parts = split(labels, alike.groups(seen), before)
            _keep(tx, {sha256: part for sha256, part in parts.items() if before.get(sha256) != part})
        self._settled = (dict(labels), parts)
        return parts

    def _look(self, labels: Mapping[str, str], paths: Mapping[str, Path]) -> list[tuple[str, bytes, bytes]]:
        """What they look like, as far as that can be known."""
        c = pictures.c
        found = {sha256: known for sha256, known in self._looks.items() if sha256 in labels}
        if missing := labels.keys() - found.keys():
            query = select(c.sha256, c.perceptual_hash, c.colours).where(c.colours.is_not(None))
            with self._database.reading() as tx:
                found |= {row[0]: Look(row[1], row[2]) for row in tx.execute(query) if row[0] in missing}
        for sha256 in sorted(paths.keys() & labels.keys() - found.keys()):
            found[sha256] = looks.look(paths[sha256]).look
        self._looks = found
        return [(sha256, *found[sha256]) for sha256 in sorted(found)]


def _keep(tx: Connection, changed: Mapping[str, str]) -> None:
    if changed:
        row = upsert(picture_sides)
        rows = [{"sha256": sha256, "side": side} for sha256, side in changed.items()]
        tx.execute(row.on_conflict_do_update(["sha256"], set_={"side": row.excluded.side}), rows)
