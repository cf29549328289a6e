"""An aggregator's reception that checks and signs as the real one does, and stores nothing."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from fanlight.errors import FanlightError
from fanlight.services.aggregator.held_reports import Place
from fanlight.services.aggregator.reception import Arrived, Reception


class ForgetfulReception(Reception):
    """Every report is the first one of its device."""

    def take(
        self,
        arrived: Sequence[Arrived],
        place: Callable[[Sequence[Arrived]], Sequence[Place]],  # noqa: ARG002 nothing is put anywhere
    ) -> list[bytes | FanlightError]:
        """Receipts with nothing behind them."""
        now = int(self._clock())
        records = [self._record(report.header.mh) for report in arrived]
        return [
            self._machine.take_report(record, None, 0, *report, now).reply
            for record, report in zip(records, arrived, strict=True)
        ]
