"""What released sums say about models: confusion matrices and loss on the devices' held-out pictures.

Outside demonstrations, sums over fewer than 5 devices are shown as totals only, and confusion cells below 10 are left
out: small counts could point to single pictures of single homes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection, insert, select

from fanlight.core.metrics import Metrics
from fanlight.protocol import codec
from fanlight.protocol.contribution import LOSS_SCALE, Measured, Totals
from fanlight.storage.tables.main import measurements

FEWEST_DEVICES: Final = 5
SMALLEST_CELL: Final = 10


@dataclass(frozen=True)
class Measurement:
    """The summed counts of one round: of the model received, and of the local ones after training."""

    participants: int
    received: Metrics
    local: Metrics

    def as_json(self, classes: tuple[str, ...], *, demo: bool) -> dict[str, Any]:
        """Both as the owner may see them."""
        return {
            "participants": self.participants,
            "received": shown(self.received, classes, self.participants, demo=demo),
            "local": shown(self.local, classes, self.participants, demo=demo),
        }


def store(tx: Connection, round_number: int, model: bytes, totals: Totals) -> None:
    """Keep the counts of a released round; ``model`` is the SHA-256 of the model received."""
    if totals.received is None or totals.local is None:
        return
    tx.execute(
        insert(measurements).values(
            round=round_number,
            model=model,
            participants=totals.count,
            received=_encode(totals.received),
            local=_encode(totals.local),
        )
    )


def of_model(tx: Connection, model: bytes) -> Measurement | None:
    """The released counts of a model, if there are any."""
    statement = select(measurements).where(measurements.c.model == model).order_by(measurements.c.round.desc())
    return _first(tx, statement.limit(1))


def of_round(tx: Connection, round_number: int) -> Measurement | None:
    """The counts that a round released, if any."""
    return _first(tx, select(measurements).where(measurements.c.round == round_number))


def shown(metrics: Metrics, classes: tuple[str, ...], participants: int, *, demo: bool) -> dict[str, Any]:
    """Figures as the owner may see them."""
    everything = metrics.as_dict(classes)
    if demo:
        return everything
    if participants < FEWEST_DEVICES:
        return {key: everything[key] for key in ("total", "correct", "accuracy", "loss")}
    everything["confusion"] = [
        [cell if cell >= SMALLEST_CELL else None for cell in row] for row in everything["confusion"]
    ]
    return everything


def _first(tx: Connection, statement: Any) -> Measurement | None:
    row = tx.execute(statement).first()
    if row is None:
        return None
    return Measurement(row.participants, _decode(row.received), _decode(row.local))


def _encode(measured: Measured) -> bytes:
    matrix: NDArray[np.int64] = measured.confusion
    return codec.encode([matrix.tolist(), round(measured.loss_sum * LOSS_SCALE)])


def _decode(data: bytes) -> Metrics:
    matrix, loss = codec.decode(data)  # type: ignore[misc]
    return Metrics.from_confusion(np.array(matrix, np.int64), loss / LOSS_SCALE)  # type: ignore[operator]
