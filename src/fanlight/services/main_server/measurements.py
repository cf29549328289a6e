"""What released sums say about models: confusion matrices and loss on the devices' held-out pictures."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection, SelectBase, bindparam, exists, insert, select

from fanlight.core.metrics import Metrics
from fanlight.errors import StorageError
from fanlight.protocol import codec
from fanlight.protocol.contribution import LOSS_SCALE, Measured, Totals
from fanlight.services.main_server.shown_figures import level_of, shown
from fanlight.storage.statements import Statement
from fanlight.storage.tables.main import measurements, models

_NEWEST_FIRST: Final = select(measurements).order_by(measurements.c.round.desc()).limit(1)
_LATEST: Final = Statement(_NEWEST_FIRST)
_OF_MODEL: Final = Statement(_NEWEST_FIRST.where(measurements.c.model == bindparam("wanted")))
_OF_ROUND: Final = Statement(_NEWEST_FIRST.where(measurements.c.round == bindparam("wanted")))
_INSERT: Final = Statement(insert(measurements))


@dataclass(frozen=True)
class Measurement:
    """The summed counts of one round: of the model received, and of the local ones after training.

    Attributes:
        round: its number.
        model: SHA-256 of the model received.
        participants: devices in the sum.
        received, local: what they counted.
    """

    round: int
    model: bytes
    participants: int
    received: Metrics
    local: Metrics

    def as_json(self, classes: tuple[str, ...], *, demo: bool) -> dict[str, Any]:
        """Both as the owner may see them; ``local`` is None unless every picture was shown to a local model too.

        In a measuring round a device may have no local model any more, and then the counts are of some devices only:
        who knows which must not learn more than of a round of those few.
        """
        both = self.local.total == self.received.total
        level = level_of([self.received, self.local] if both else [self.received], self.participants, demo=demo)
        return {
            "round": self.round,
            "participants": self.participants,
            "received": shown(self.received, classes, level),
            "local": shown(self.local, classes, level) if both else None,
        }


def store(tx: Connection, round_number: int, model: bytes, totals: Totals) -> None:
    """Keep the counts of a released round; ``model`` is the SHA-256 of the model received."""
    if totals.received is None or totals.local is None:
        return
    _INSERT.run(
        tx,
        round=round_number,
        model=model,
        participants=totals.count,
        received=_encode(totals.received),
        local=_encode(totals.local),
    )


def of_model(tx: Connection, model: bytes) -> Measurement | None:
    """The released counts of a model, if there are any."""
    return _measured(_OF_MODEL.first(tx, wanted=model))


def of_models(tx: Connection, wanted: SelectBase) -> dict[bytes, Measurement]:
    """The released counts of many models; ``wanted`` selects their hashes."""
    columns = measurements.c
    rows = tx.execute(select(measurements).where(columns.model.in_(wanted)).order_by(columns.round))
    return {row.model: _measurement(row) for row in rows}  # of several, the newest


def of_round(tx: Connection, round_number: int) -> Measurement | None:
    """The counts that a round released, if any."""
    return _measured(_OF_ROUND.first(tx, wanted=round_number))


def newest(tx: Connection) -> Measurement | None:
    """The counts released last, if there are any."""
    return _measured(_LATEST.first(tx))


def by_version(tx: Connection, count: int) -> list[tuple[int, Measurement]]:
    """The released counts of the newest ``count`` versions that have any, newest first; of each the latest."""
    columns, later = measurements.c, measurements.alias("later")
    again = exists().where(later.c.model == columns.model, later.c.round > columns.round)
    found = select(models.c.version, measurements).join(models, models.c.sha256 == columns.model).where(~again)
    rows = tx.execute(found.order_by(models.c.version.desc()).limit(count))
    return [(row.version, _measurement(row)) for row in rows]


def _measured(row: Any | None) -> Measurement | None:
    return None if row is None else _measurement(row)


def _measurement(row: Any) -> Measurement:
    return Measurement(row.round, row.model, row.participants, _decode(row.received), _decode(row.local))


def _encode(measured: Measured) -> bytes:
    matrix: NDArray[np.int64] = measured.confusion
    return codec.encode([matrix.tolist(), round(measured.loss_sum * LOSS_SCALE)])


@functools.lru_cache(maxsize=128)
def _decode(data: bytes) -> Metrics:
    """Remembered: each look at the start page draws the newest 50 versions, and what was counted never changes."""
    match codec.decode(data):
        case [list(matrix), int(loss)]:
            return Metrics.from_confusion(np.array(matrix, np.int64), loss / LOSS_SCALE)
    raise StorageError("The stored counts of a round are damaged.", slug="damaged-measurement")
