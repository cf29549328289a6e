"""A member that sends garbage: properly signed, and nothing that masks could be taken off."""

from __future__ import annotations

from collections.abc import Sequence
from multiprocessing.connection import Connection
from typing import Any

import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from numpy.typing import NDArray

from fanlight.core import ring
from fanlight.core.packing import is_packed, pack
from fanlight.core.randomness import Keystream
from fanlight.core.segments import Segment, layout_length
from fanlight.protocol.device import Device
from fanlight.protocol.device_round import Record
from fanlight.protocol.digests import VectorDigest
from fanlight.protocol.report import Envelope, ReportHeader, sign_report
from fanlight.protocol.signing import Signed
from tests.crash.launcher import Life, launch


def as_garbage(
    private: Ed25519PrivateKey, record: Record, layout: Sequence[Segment] = ()
) -> tuple[Record, NDArray[np.uint32]]:
    """The report with a y that says nothing, signed by its sender; given a ``layout``, with padding as it must be."""
    envelope = Envelope.decode(record.envelope)
    y = Keystream(record.mh).uint32(record.length)
    if is_packed(layout):
        y = pack(Keystream(record.mh).uint32(layout_length(layout)), layout)
    header = ReportHeader.decode(Signed.decode(envelope.header).payload)
    hashed = VectorDigest()
    hashed.update(ring.to_bytes(y))
    header = header.with_(y_hash=hashed.digest())
    envelope = sign_report(private, header, envelope.sealed_main, envelope.sealed_aggregator)
    return record.with_(envelope=envelope.encode(), chunks=b"".join(hashed.chunks())), y


def launch_cheat(life: Life, commands: Connection) -> None:
    """Become a device whose reports are garbage; see ``tests.crash.launcher``."""
    commit = Device.commit

    def commit_garbage(device: Device, *told: Any) -> tuple[Record, NDArray[np.uint32]]:
        record, _ = commit(device, *told)
        return as_garbage(device.private, record)

    Device.commit = commit_garbage  # type: ignore[assignment, method-assign]
    launch(life, commands)
