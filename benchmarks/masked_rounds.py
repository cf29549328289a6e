"""Whole rounds of devices that do nothing but mask and report: both servers and the members are real processes.

A round is from the opening of its manifest to the opening of the next one: every member fetches and verifies the model,
masks, uploads, and shows its receipt; close, verdict, sum, release, unmasking, outcome, new version, and the next
manifest, signed twice. Everything is durable before it is acknowledged. Rounds follow one another by themselves.
"""

from __future__ import annotations

import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from benchmarks.federation import LIMIT_S, Federation, federation
from benchmarks.idle import PLAIN_VARIABLE
from benchmarks.member_processes import Members, members
from fanlight.errors import LocalError

MOST_FEATURES = 1 << 16
_FEWEST_CLASSES = 10
_TICK_S = 0.005
_OPENED = "SELECT opened_at FROM rounds WHERE number = ? AND opened_at IS NOT NULL"
_ENDED = "SELECT state, participants FROM rounds WHERE number = ?"
_LAST_BEACON = "SELECT MAX(received_at) FROM beacons JOIN rounds ON rounds.mh = beacons.mh WHERE number = ?"


@dataclass(frozen=True)
class Size:
    """How many devices there are, parameters, and how many devices drop out of every round."""

    devices: int
    parameters: int
    dropouts: int = 0

    @property
    def classes(self) -> int:
        """Of a head with so many parameters, the fewest with which its features are not too many."""
        whole = (count for count in range(_FEWEST_CLASSES, self.parameters) if self.parameters % count == 0)
        return next(count for count in whole if self.parameters // count <= MOST_FEATURES)

    @property
    def features(self) -> int:
        """Of that head."""
        return self.parameters // self.classes - 1


@dataclass(frozen=True)
class Seen:
    """What was seen of one round.

    Attributes:
        whole_s: from its opening to that of the next.
        ending_s: of that, what came after the last report had been acknowledged.
        sent_bytes: by a device that reported, on the average, heads of requests included.
    """

    whole_s: float
    ending_s: float
    sent_bytes: float


def watch_rounds(
    size: Size, rounds: int, *, plain: bool = False, update_bits: int = 0, n_max: int = 1000
) -> list[Seen]:
    """Live through ``rounds`` rounds after a first one, which does not count.

    Args:
        size: of the federation.
        rounds: how many.
        plain: without masks.
        update_bits, n_max: see the policy.

    Raises:
        LocalError: a round did not end complete, with every report in the sum.
    """
    reporters = size.devices - size.dropouts
    policy = {
        "k_min": reporters,
        "n_max": n_max,
        "rounds": 0,
        "window_s": 3_600,
        "update_bits": update_bits,
        "expected_percent": 100 * reporters // size.devices,
    }
    with (
        tempfile.TemporaryDirectory(prefix="fanlight-rounds-") as name,
        federation(
            Path(name),
            devices=0,
            features=size.features,
            classes=size.classes,
            policy=policy,
            more={PLAIN_VARIABLE: "1"} if plain else {},
        ) as running,
        members(running, size.devices, size.features, plain=plain) as crowd,
    ):
        return [_watch(running, crowd, size, number) for number in range(1, rounds + 2)][1:]


def _watch(running: Federation, crowd: Members, size: Size, number: int) -> Seen:
    reporters = size.devices - size.dropouts
    opened_at = wait_until_open(running, number)
    sent = crowd.report(size.dropouts)
    next_at = wait_until_open(running, number + 1)
    ((state, participants),) = running.read(_ENDED, number)
    if (state, participants) != ("complete", reporters):
        raise LocalError(f"round {number} is {state} with {participants} of {reporters} reports")
    ((last,),) = running.read(_LAST_BEACON, number)
    return Seen(next_at - opened_at, next_at - last, sent / reporters)


def wait_until_open(running: Federation, number: int) -> float:
    """When round ``number`` was opened, unix seconds; the database is asked, so that the servers need not answer.

    Raises:
        LocalError: a server has ended, or it takes too long.
    """
    deadline = time.monotonic() + LIMIT_S
    while time.monotonic() < deadline:
        found = running.read(_OPENED, number)
        if found:
            return float(found[0][0])
        for death in running.processes.ended().values():
            raise death
        time.sleep(_TICK_S)
    raise LocalError(f"round {number} did not open within {LIMIT_S:.0f} s")
