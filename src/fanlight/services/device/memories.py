"""What algorithms have this device remember, and send beside the difference of two models.

A training leaves one row, if its algorithm leaves anything. It belongs to the preparation, then to the round that the
report went into; it counts from the moment at which that round is known to be released with this device's report in the
sum. What a device remembers when it trains from a version is the row of the last round on the way there that it was in:
the version's file tells which rounds those are (``learning.algorithms.lineage``). So after the operator has gone back
to a version, it is what it was then; and where the server begins anew, so does the device, however long it was away.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection, bindparam, delete, func, insert, select, update

from fanlight.errors import ModelError
from fanlight.learning.algorithms import memory_file
from fanlight.learning.algorithms.lineage import Lineage
from fanlight.learning.algorithms.local import Outcome, as_sent
from fanlight.learning.algorithms.registry import recipe
from fanlight.storage.database import Database
from fanlight.storage.statements import Statement
from fanlight.storage.tables.device import memories, reports, rounds

_MOST: Final = 16
"""Rows that count and are kept: going back further begins anew."""
_REMEMBERS, _SENDS, _FOLLOWS, _SHARE = "remembers.", "sends.", "follows.", "share"
_COLUMNS: Final = memories.c
_NOT_SENT: Final = _COLUMNS.mh.is_(None)
_OF_ROUND: Final = _COLUMNS.mh == bindparam("wanted")
_PREPARED: Final = Statement(select(_COLUMNS.content).where(_NOT_SENT, _COLUMNS.head == bindparam("wanted")))
_KNOWN: Final = Statement(
    select(_COLUMNS.number, rounds.c.number.label("round"), reports.c.committed_at)
    .join(rounds, rounds.c.mh == _COLUMNS.mh)
    .outerjoin(reports, reports.c.mh == _COLUMNS.mh)
    .where(_COLUMNS.counted, _COLUMNS.algorithm == bindparam("name"))
    .order_by(rounds.c.number.desc())
)
_NEWEST: Final = Statement(select(func.max(_COLUMNS.number)).where(_COLUMNS.counted))
_CONTENT: Final = Statement(select(_COLUMNS.content).where(_COLUMNS.number == bindparam("wanted")))
_FORGET_PREPARED: Final = Statement(delete(memories).where(_NOT_SENT))
_KEEP: Final = Statement(insert(memories), "head", "counted", "algorithm", "content")
_BIND: Final = Statement(update(memories).where(_NOT_SENT, _COLUMNS.head == bindparam("made")), "mh", "content")
_COUNT: Final = Statement(update(memories).where(_OF_ROUND), "counted")
_UNBIND: Final = Statement(update(memories).where(_OF_ROUND), "mh")
_FORGET: Final = Statement(delete(memories).where(_OF_ROUND))
_OLD: Final = select(_COLUMNS.number).where(_COLUMNS.counted).order_by(_COLUMNS.number.desc()).offset(_MOST)
_FORGET_OLD: Final = Statement(delete(memories).where(_COLUMNS.number.in_(_OLD)))
_OPEN: Final = Statement(select(_COLUMNS.mh).where(_COLUMNS.mh.is_not(None), ~_COLUMNS.counted))


class Left(NamedTuple):
    """What an algorithm has left of a training, beside the local model: its name, and tensors as a file."""

    algorithm: str
    content: bytes


class Last(NamedTuple):
    """What is remembered of a round: its number, when the report was made (unix seconds, if known), and vectors."""

    round: int
    at: int | None
    memory: Mapping[str, NDArray[np.float64]]


def left_of(algorithm: str, outcome: Outcome, difference: NDArray[np.float64]) -> Left | None:
    """What there is to keep of a training beside its model; None if that is all.

    Args:
        algorithm: name.
        outcome: what it came to.
        difference: (d,), its own model less the received one.
    """
    tensors = {f"{_REMEMBERS}{name}": vector for name, vector in outcome.memory.items()}
    tensors |= {f"{_FOLLOWS}{name}": np.array([factor]) for name, factor in outcome.follows.items()}
    if outcome.follows or not np.array_equal(outcome.update, difference):
        tensors[f"{_SENDS}update"] = outcome.update
    if outcome.control is not None:
        tensors[f"{_SENDS}control"] = outcome.control
    if outcome.steps is not None:
        tensors[f"{_SENDS}steps"] = np.array([outcome.steps])
    return Left(algorithm, memory_file.encode(tensors)) if tensors else None


class Memories:
    """The rows.

    Args:
        database: this device's.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def remembered(self, algorithm: str, lineage: Lineage | None) -> Mapping[str, NDArray[np.float64]]:
        """What an algorithm of this name remembers when it trains from a version of these rounds; see ``last``."""
        last = self.last(algorithm, lineage)
        return last.memory if last else _part(None, _REMEMBERS)

    def last(self, algorithm: str, lineage: Lineage | None) -> Last | None:
        """The last round of it on the way to a version that comes of these rounds; None if this device was in none.

        Raises:
            ModelError: what is kept of it is damaged.
        """
        if lineage is None or lineage.algorithm != algorithm:
            return None
        with self._database.reading() as tx:
            found = next((row for row in _KNOWN.all(tx, name=algorithm) if row.round in lineage), None)
            if found is None:
                return None
            content = _CONTENT.scalar(tx, wanted=found.number)
        try:
            return Last(found.round, found.committed_at, _as_sent(content))
        except ModelError as error:
            raise ModelError(
                f"What {recipe(algorithm).title} had this device remember of round {found.round} is damaged, its own "
                "model with it if that is there.",
                slug="damaged-memory",
                next="Ask the operator for another algorithm, or let this device leave and join anew.",
            ) from error

    def newest(self) -> int | None:
        """The row that counts and came last: another number, and what is remembered may be another."""
        with self._database.reading() as tx:
            number: int | None = _NEWEST.scalar(tx)
        return number

    def to_send(self, head: bytes) -> Mapping[str, NDArray[np.float64]]:
        """``update``, ``control`` and ``steps`` of the training that gave the local model ``head``, if it has any."""
        with self._database.reading() as tx:
            return _part(_PREPARED.scalar(tx, wanted=head), _SENDS)

    def in_question(self) -> frozenset[bytes]:
        """Manifests of rounds whose end decides what this device remembers."""
        with self._database.reading() as tx:
            return frozenset(row.mh for row in _OPEN.all(tx))


def trained(tx: Connection, head: bytes, left: Left | None) -> None:
    """There was a training: what the one before left, and was not sent, is forgotten."""
    _FORGET_PREPARED.run(tx)
    if left is not None:
        _KEEP.run(tx, head=head, counted=False, **left._asdict())


def sent(tx: Connection, head: bytes, mh: bytes, share: float = 1.0) -> None:
    """A report was made of it, for the round ``mh``, with ``share`` (0 to 1) of the length of its update."""
    content = _PREPARED.scalar(tx, wanted=head)
    if content is not None:
        _BIND.run(tx, made=head, mh=mh, content=_with_share(content, share))


def ended(tx: Connection, mh: bytes, *, counted: bool, may_be_sent_again: bool) -> None:
    """The round is over."""
    if counted:
        _COUNT.run(tx, wanted=mh, counted=True)
        _FORGET_OLD.run(tx)
    elif may_be_sent_again:
        _UNBIND.run(tx, wanted=mh, mh=None)
    else:
        _FORGET.run(tx, wanted=mh)


def _with_share(content: bytes, share: float) -> bytes:
    tensors = memory_file.decode(content)
    if not any(name.startswith(_FOLLOWS) for name in tensors):
        return content
    return memory_file.encode({**tensors, _SHARE: np.array([share])})


def _as_sent(content: bytes | None) -> Mapping[str, NDArray[np.float64]]:
    memory, follows = _part(content, _REMEMBERS), _part(content, _FOLLOWS)
    if content is None or not follows:
        return memory
    factors, tensors = {name: float(factor[0]) for name, factor in follows.items()}, memory_file.decode(content)
    return as_sent(memory, factors, tensors[f"{_SENDS}update"], float(tensors[_SHARE][0]))


def _part(content: bytes | None, prefix: str) -> Mapping[str, NDArray[np.float64]]:
    if content is None:
        return MappingProxyType({})
    tensors = memory_file.decode(content)
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
