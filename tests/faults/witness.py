"""What can be seen of a world from outside: every vector and seed before they disappear, every answer of a server.

The witness also makes devices cheat: a report that is to be garbage is replaced where its device builds it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from unittest import mock

import numpy as np
from numpy.typing import NDArray

from fanlight.core.masks import subtract_mask
from fanlight.core.packing import unpack
from fanlight.core.segments import Segment
from fanlight.protocol import device as device_protocol
from fanlight.protocol.contribution import centre, encode
from fanlight.protocol.device import Device
from fanlight.protocol.manifest import Manifest, SignedManifest
from fanlight.protocol.report import Envelope
from fanlight.protocol.sealing import mask_key, seal_seed
from tests.faults.request import Refusal, Request
from tests.garbage import as_garbage


@dataclass(frozen=True)
class Report:
    """A report as its device built it: the (d,) plain integers before any mask, and the two seeds of its masks.

    Of garbage, the plain integers are what both masks leave of it.
    """

    mh: bytes
    device: bytes
    plain: NDArray[np.int64] = field(repr=False)
    seeds: dict[str, bytes] = field(repr=False)


@dataclass
class Witness:
    """Of one world.

    Attributes:
        reports: all that were ever built, by report id; also those that a death kept from being stored.
        seeds: all that were ever sealed, in order.
        answers: what servers answered to each request, in order.
        refusals: what they said to one, instead, that they had answered before.
        logs: the heads of each server's log, when it was last looked at.
        cheats: the devices whose next report is garbage.
    """

    reports: dict[bytes, Report] = field(default_factory=dict)
    seeds: list[bytes] = field(default_factory=list)
    answers: dict[Request, list[bytes]] = field(default_factory=lambda: defaultdict(list))
    refusals: dict[Request, list[Refusal]] = field(default_factory=lambda: defaultdict(list))
    logs: dict[str, list[bytes]] = field(default_factory=lambda: defaultdict(list))
    cheats: set[bytes] = field(default_factory=set)

    def hear(self, request: Request, reply: bytes) -> None:
        """A server has answered."""
        self.answers[request].append(reply)

    def hear_refusal(self, request: Request, refusal: Refusal) -> None:
        """A server has refused a request."""
        if request in self.answers:
            self.refusals[request].append(refusal)

    @contextmanager
    def watching(self) -> Generator[None, None, None]:
        """Look over the shoulders of all devices that build reports meanwhile."""
        commit = Device.commit
        plain: list[NDArray[np.int64]] = []
        seeds: dict[str, bytes] = {}

        def encoded(layout: Sequence[Segment], *arguments: Any) -> NDArray[Any]:
            vector = encode(layout, *arguments)
            plain[:] = [centre(layout, vector.copy()).astype(np.int64)]
            return vector

        def sealed(seed: bytes, round_key: bytes, label: str, *arguments: Any) -> bytes:
            self.seeds.append(seed)
            seeds[label] = seed
            return seal_seed(seed, round_key, label, *arguments)

        def committed(device: Device, signed: SignedManifest, manifest: Manifest, *arguments: Any) -> Any:
            record, y = commit(device, signed, manifest, *arguments)
            if device.device in self.cheats:
                self.cheats.remove(device.device)
                layout = manifest.proposal.layout
                record, y = as_garbage(device.private, record, layout)
                plain[:] = [_left_of(y, layout, record.mh, device.device, seeds)]
            report = Envelope.decode(record.envelope).report_id
            self.reports[report] = Report(record.mh, device.device, plain[0], dict(seeds))
            return record, y

        with (
            mock.patch.object(device_protocol, "encode", encoded),
            mock.patch.object(device_protocol, "seal_seed", sealed),
            mock.patch.object(Device, "commit", committed),
        ):
            yield


def _left_of(
    y: NDArray[np.uint32], layout: Sequence[Segment], mh: bytes, device: bytes, seeds: dict[str, bytes]
) -> NDArray[np.int64]:
    vector = unpack(y.copy(), layout)
    for label, seed in seeds.items():
        subtract_mask(vector, mask_key(seed, label, mh, device))
    return centre(layout, vector).astype(np.int64)
