"""What a member can do whose software is its own: send any vector, properly masked, sealed and signed."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from fanlight.core.packing import pack, unpack
from fanlight.protocol.report import ReportHeader, sign_report
from fanlight.protocol.signing import Signed
from tests.protocol_world import Owner, Round, Sent, digest_of

Words = NDArray[np.uint32]


def rewritten(told: Round, sent: Sent, change: Callable[[Words], None]) -> Sent:
    """The report with another vector: ``change`` alters the masked one in place, coordinate by coordinate."""
    layout = told.proposal.layout
    vector = unpack(sent.y, layout).copy()
    change(vector)
    sent.y = pack(vector, layout)
    header = ReportHeader.decode(Signed.decode(sent.envelope.header).payload).with_(y_hash=digest_of(sent.y))
    envelope = sign_report(sent.owner.key, header, sent.envelope.sealed_main, sent.envelope.sealed_aggregator)
    sent.record = sent.record.with_(envelope=envelope.encode())
    return sent


def cheated(told: Round, cheat: Owner, change: Callable[[Words], None]) -> Round:
    """All report, the cheat last and with what it likes; both servers agree on the set."""
    for owner in [*(owner for owner in told.world.owners if owner is not cheat), cheat]:
        sent = told.commit(owner)
        told.send(rewritten(told, sent, change) if owner is cheat else sent)
    return told.agree()


def adding(place: slice, amount: int | NDArray[np.int64]) -> Callable[[Words], None]:
    """Add ``amount`` to some coordinates, in the ring: one number to all of them, or one to each."""

    def change(vector: Words) -> None:
        vector[place] += np.asarray(amount % 2**32, np.uint32)

    return change
