"""What a round asks of the workers, and what they answer: values that travel as JSON, to whatever process."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from fanlight.core import ring
from fanlight.protocol.plan import Kind

Words = NDArray[np.uint32] | NDArray[np.uint64]


@dataclass(frozen=True)
class Order:
    """One round.

    Attributes:
        round: its number.
        kind: what devices do.
        clip_micro: bound on the norm of updates, in millionths.
        groups: the devices, in groups that one worker works on together; most have one device.
        shards: number of the sum that a device goes into, from 0; of those that are not named it is 0.
        sums: how many sums there are.
        staleness: versions that were made since the one that its devices began from.
        remembered: the round that a device's memory is of, of those that have one.
        manifest: signed by both servers, hexadecimal; empty where there is no protocol.
        invitations: of each device, hexadecimal.
    """

    round: int
    kind: Kind
    clip_micro: int
    groups: Sequence[Sequence[int]]
    shards: Mapping[int, int] = field(default_factory=dict)
    sums: int = 1
    staleness: int = 0
    remembered: Mapping[int, int] = field(default_factory=dict)
    manifest: str = ""
    invitations: Mapping[int, str] = field(default_factory=dict)

    def encode(self) -> bytes:
        """As JSON."""
        return json.dumps(asdict(self)).encode()

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """What ``encode`` gave."""
        fields = json.loads(data)
        for name in ("shards", "remembered", "invitations"):
            fields[name] = {int(device): value for device, value in fields[name].items()}
        return cls(**{**fields, "kind": Kind(fields["kind"])})


class Note(NamedTuple):
    """What a worker says of a device, beside its vector.

    Attributes:
        device: which.
        examples: it trained on.
        seconds: that it took.
        remembers: has it left a memory?
        report: its record, hexadecimal; empty where there is no protocol.
    """

    device: int
    examples: int
    seconds: float
    remembers: bool
    report: str = ""


@dataclass(frozen=True)
class Done:
    """What a round brought: (sums, d) words, summed in the ring in whatever order, and a note of each device."""

    sums: Words
    notes: tuple[Note, ...]

    @classmethod
    def of_parts(cls, parts: Sequence[Done]) -> Done:
        """Of several orders of the same round, at least one."""
        sums = parts[0].sums.copy()
        for part in parts[1:]:
            ring.add_into(sums.reshape(-1), part.sums.reshape(-1))
        return cls(sums, tuple(sorted(note for part in parts for note in part.notes)))


def encode_notes(notes: Sequence[Note]) -> bytes:
    """As JSON."""
    return json.dumps(notes).encode()


def decode_notes(data: bytes) -> list[Note]:
    """What ``encode_notes`` gave."""
    rows: list[list[Any]] = json.loads(data)
    return [Note(*row) for row in rows]
