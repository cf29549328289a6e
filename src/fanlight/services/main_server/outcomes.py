"""What devices are told of a round that is over: its signed outcome, and the proof that their report was summed."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from typing import Final

from fanlight.errors import NotFound
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
        self._proofs: OrderedDict[bytes, Mapping[bytes, InclusionProof]] = OrderedDict()

    def told(self, mh: bytes, device: bytes) -> OutcomeForDevice:
        """What a device is told about a round that is over.

        Raises:
            NotFound: there is no such round, or it is not over yet.
        """
        with self._database.reading() as tx:
            record = round_table.by_hash(tx, mh).record
        answer = self._machine.outcome_for(record, device, self._proofs_of(record)) if record.outcome else None
        if answer is None:
            raise NotFound("This round is not over yet.", slug="round-not-over")
        return answer

    def _proofs_of(self, record: Record) -> Mapping[bytes, InclusionProof]:
        """All devices' proofs, computed once a round: every device of it asks for its own."""
        known = self._proofs.get(record.mh)
        if known is None:
            known = self._proofs[record.mh] = self._machine.proofs(record)
            while len(self._proofs) > _ROUNDS_WITH_PROOFS:
                self._proofs.popitem(last=False)
        return known
