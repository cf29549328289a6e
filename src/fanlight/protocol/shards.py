"""Shards: the reports of a round summed in several disjoint sets, so that garbage spoils only the sum that it is in.

Rules, and why they hold.

1. *Nobody chooses.* The aggregator's part of the manifest holds the hash of a secret that it has drawn; main signs the
   manifest after that. Places follow from both, the secret and main's signature: the aggregator could not know the one
   when it fixed the other, main knows the secret only when it is opened (coin flipping; Blum 1981). So all places are
   fixed before the first report is sent, and neither server can have picked a device's company. But the aggregator
   knows them first: it may give the round up for another draw (Cleve 1986), or refuse reports while ``k_min`` remain.
2. *Main judges blindly.* The secret is opened in the releases. By then main has accepted or rejected each report, and
   cannot have rejected the others of one shard.
3. *Every report is in one sum.* Shards that too few reports are left of are joined before anything is summed: with the
   next one, by a rule that both servers follow. Joining only adds company, and no report is in two sums, or in none.
4. *Each is released once.* All releases of a round are signed, stored and sent at once; main takes all or none.

Shards are numbered from 1 as they are drawn; one that others were joined to keeps its number. A round without shards
is one sum over all, and is numbered 0.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from fanlight.protocol.digests import digest
from fanlight.protocol.manifest import Proposal

WHOLE: Final = 0
"""Number of the one sum of a round without shards."""


class Shard(NamedTuple):
    """Reports that are summed together: the shard's number, and the devices, sorted."""

    number: int
    devices: tuple[bytes, ...]


@dataclass(frozen=True)
class Lots:
    """What the places of a round follow from.

    Attributes:
        secret: what the aggregator has drawn, 32 bytes.
        mh: the manifest, which holds ``commitment(secret)``.
        main_signature: main's signature on the manifest.
    """

    secret: bytes
    mh: bytes
    main_signature: bytes

    def places(self, cohort: Collection[bytes], count: int) -> dict[bytes, int]:
        """The number of each device's shard, 1 to ``count``; sizes differ by one at most."""
        lot = digest("fanlight/lot/v1", self.secret, self.mh, self.main_signature)
        order = sorted(cohort, key=lambda device: digest("fanlight/place/v1", lot, device))
        return {device: 1 + index % count for index, device in enumerate(order)}


def commitment(secret: bytes) -> bytes:
    """What the manifest holds of the aggregator's secret, 32 bytes."""
    return digest("fanlight/draw/v1", secret)


def divide(terms: Proposal, lots: Lots, cohort: Collection[bytes], accepted: Collection[bytes]) -> tuple[Shard, ...]:
    """The sets in which a round's accepted reports are summed, each of ``k_min`` at least, by number.

    Args:
        terms: of the round; without shards it is one set.
        lots: what places follow from, if there are shards.
        cohort: the devices that places were drawn for.
        accepted: the devices whose reports are summed, ``k_min`` at least, all of the cohort if there are shards.
    """
    if terms.shards is None:
        return (Shard(WHOLE, tuple(sorted(accepted))),)
    drawn: dict[int, list[bytes]] = {number: [] for number in range(1, terms.shards + 1)}
    places = lots.places(cohort, terms.shards)
    for device in sorted(accepted):
        drawn[places[device]].append(device)
    return _joined([Shard(number, tuple(devices)) for number, devices in drawn.items()], terms.k_min)


def _joined(drawn: Sequence[Shard], k_min: int) -> tuple[Shard, ...]:
    """Neighbours joined until each has ``k_min`` devices; what is left in the end joins the last."""
    shards: list[Shard] = []
    for shard in drawn:
        if shards and len(shards[-1].devices) < k_min:
            shards[-1] = _join(shards[-1], shard)
        else:
            shards.append(shard)
    if len(shards) > 1 and len(shards[-1].devices) < k_min:
        last = shards.pop()
        shards[-1] = _join(shards[-1], last)
    return tuple(shards)


def _join(first: Shard, second: Shard) -> Shard:
    return Shard(first.number, tuple(sorted(first.devices + second.devices)))
