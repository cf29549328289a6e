"""What devices are told of a round that is over: its signed outcome, and the proof that their report was summed."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Mapping
from contextlib import suppress
from typing import Final

from fanlight.errors import FanlightError, NotFound
from fanlight.protocol.closing import InclusionProof, OutcomeForDevice
from fanlight.protocol.main_round import Record
from fanlight.protocol.main_server import MainServer
from fanlight.services.main_server import round_table
from fanlight.storage.database import Database

_ROUNDS_WITH_PROOFS: Final = 4


class Outcomes:
    """Those of one task's rounds.

    Args:
        database: where rounds are kept.
        machine: main's identity.
    """

    def __init__(self, database: Database, machine: MainServer) -> None:
        self._database = database
        self._machine = machine
        self._looking = threading.Lock()
        self._over: OrderedDict[bytes, tuple[Record, Mapping[bytes, InclusionProof]]] = OrderedDict()

    def told(self, mh: bytes, device: bytes) -> OutcomeForDevice:
        """What a device is told about a round that is over.

        Raises:
            NotFound: there is no such round, or it is not over yet.
        """
        answer = self.told_again(mh, device)
        if answer is None:
            self._look(mh)
            answer = self.told_again(mh, device)
        if answer is None:
            raise NotFound("This round is not over yet.", slug="round-not-over")
        return answer

    def told_again(self, mh: bytes, device: bytes) -> OutcomeForDevice | None:
        """As ``told``, from memory: for a round whose end somebody was told of lately."""
        record, proofs = self._over.get(mh, (None, {}))
        return self._machine.outcome_for(record, device, proofs) if record else None

    def prepare(self, mh: bytes) -> None:
        """Have ready what devices are told of a round that has just ended: all of them are about to ask."""
        with suppress(FanlightError):  # whoever asks is told
            self._look(mh)

    def _look(self, mh: bytes) -> None:
        """Keep how a round ended, which does not change, and all devices' proofs: each of them asks for its own."""
        with self._looking:  # all devices of the round may come at once
            if mh in self._over:
                return
            with self._database.reading() as tx:
                record = round_table.by_hash(tx, mh).record
            if not record.outcome:
                return
            self._over[mh] = record, self._machine.proofs(record)
            while len(self._over) > _ROUNDS_WITH_PROOFS:
                self._over.popitem(last=False)
