"""What main does with the sums that the aggregator releases: compare, take its masks off, check, and add up.

Without shards there is one sum, and the round is what it is. With shards, those whose sums cannot be right are left
out, each for itself, and the others add up to what the round has learned, if they are half of them at least.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from numpy.typing import NDArray

from fanlight.core import ring
from fanlight.core.masks import unmask_sum
from fanlight.core.packing import padding_is_zero, unpack
from fanlight.core.segments import Segment, layout_words
from fanlight.errors import Refused
from fanlight.protocol.closing import SHARD_LEFT_OUT, SUM_NOT_USABLE, Listed, Release
from fanlight.protocol.contribution import Totals, centre, check_sum, read_totals
from fanlight.protocol.digests import vector_digest
from fanlight.protocol.extras import Integers
from fanlight.protocol.main_round import Record
from fanlight.protocol.merkle import Entry, set_root
from fanlight.protocol.report import report_id
from fanlight.protocol.sealing import MASK_MAIN, mask_key, open_seed
from fanlight.protocol.shards import Lots, Shard, commitment, divide

SUM_LOST: Final = "sum-lost"
"""Why a round fails whose sum the aggregator has signed and then lost. It is spent: nothing else is ever released."""
KEY_LOST: Final = "round-key-lost"
"""The same, whose key main has lost."""
TOO_FEW_GOOD: Final = "too-few-good-shards"
"""Why a round with shards fails: fewer than half of their sums can be right. Who could spoil all but one would choose
whose sum becomes the new version."""
_TOLD: Final = frozenset({"ok", SUM_LOST, KEY_LOST})
"""What says nothing about a sum but that it can be used."""


Check = Callable[[Totals], str | None]
"""Why a sum cannot be used, by what is known beside it (a slug); None if it can."""


@dataclass(frozen=True)
class Unmasked:
    """What became of the sums of a round.

    Attributes:
        flaws: of each, why it cannot be used, ``ok`` if it can: which check failed is for main alone.
        totals: over those that can be used; None if there are too few.
    """

    flaws: tuple[str, ...]
    totals: Totals | None

    @property
    def reasons(self) -> tuple[str, ...]:
        """Of each, what both servers sign: one word for all failed checks."""
        return tuple(flaw if flaw in _TOLD else SUM_NOT_USABLE for flaw in self.flaws)

    @property
    def reason(self) -> str:
        """Why the round fails, or that a shard is left out of it; ``ok`` otherwise."""
        if len(set(self.reasons)) == 1:
            return self.reasons[0]
        return TOO_FEW_GOOD if self.totals is None else SHARD_LEFT_OUT


def shards_released(record: Record, releases: Sequence[Release], accepted: Sequence[Listed]) -> tuple[Shard, ...]:
    """The sets that had to be summed, by what the aggregator has opened of its draw.

    Raises:
        Refused: it is not what it was bound to before the first report.
    """
    manifest = record.signed_manifest
    draw, secrets = manifest.terms.draw, {release.draw for release in releases}
    if len(secrets) != 1 or {secret and commitment(secret) for secret in secrets} != {draw}:
        raise Refused("The aggregator opens another draw than it was bound to.", slug="other-draw")
    (secret,) = secrets
    lots = Lots(secret or b"", record.mh, manifest.main_signature)
    return divide(record.terms, lots, record.cohort, [listed.device for listed in accepted])


def check_releases(
    record: Record,
    releases: Sequence[Release],
    shards: Sequence[Shard],
    accepted: Sequence[Listed],
    vector: NDArray[np.uint32],
) -> NDArray[np.uint32]:
    """Compare what was released with what had to be; Y of each shard, (s, w) uint32, or (s, 0) if all are lost.

    Raises:
        Refused: another round, set or length, or not the bytes that were signed.
    """
    if [(release.mh, release.shard) for release in releases] != [(record.mh, shard.number) for shard in shards]:
        raise Refused("The release is for another round, or for other shards.", slug="foreign-release")
    length = layout_words(record.terms.layout)
    if any(release.length != length for release in releases) or vector.shape not in ((0,), (length * len(shards),)):
        raise Refused(f"The sums have {vector.size} words, the round {length} for each.", slug="wrong-length")
    report_ids = {listed.device: report_id(listed.header) for listed in accepted}
    vectors = vector.reshape(len(shards), -1) if vector.size else np.zeros((len(shards), 0), np.uint32)
    for release, shard, sent in zip(releases, shards, vectors, strict=True):
        _check_release(record, release, [Entry(device, report_ids[device]) for device in shard.devices], sent)
    return vectors


def _check_release(record: Record, release: Release, entries: Sequence[Entry], vector: NDArray[np.uint32]) -> None:
    if release.count != len(entries) or release.set_root != set_root(record.mh, entries):
        raise Refused("The release sums another set than was accepted.", slug="other-set")
    if vector.size and release.sum_hash != vector_digest(ring.to_bytes(vector)):
        raise Refused("The sum is not the one that was signed.", slug="swapped-sum")
    if vector.size and not padding_is_zero(vector, record.terms.layout):
        raise Refused("The sum says something behind its last number.", slug="padding-set")


def unmask(
    record: Record,
    shards: Sequence[Shard],
    accepted: Sequence[Listed],
    vectors: NDArray[np.uint32],
    round_key: X25519PrivateKey | None,
    check: Check | None = None,
) -> Unmasked:
    """Take our masks off each sum (in place, unless it is packed), check it, and add up those that may be used.

    Args:
        record: the round.
        shards: what was summed. accepted: the reports.
        vectors: Y of each, (s, w) uint32; w = 0 if they are lost.
        round_key: main's X25519 key of this round; None if it has been lost.
        check: of what they add up to.
    """
    sealed = {listed.device: listed.sealed_main for listed in accepted}
    flaws, good = [], list[tuple[int, Integers]]()
    for shard, vector in zip(shards, vectors, strict=True):
        flaw, numbers = _unmask(record, shard, sealed, vector, round_key)
        flaws.append(flaw)
        if numbers is not None:
            good.append((len(shard.devices), numbers))
    if not good or 2 * len(good) < len(flaws):
        return Unmasked(tuple(flaws), None)
    totals = _add_up(record.terms.layout, good)
    flaw_of_all = check(totals) if check else None
    if flaw_of_all is not None:
        return Unmasked((flaw_of_all,) * len(flaws), None)
    return Unmasked(tuple(flaws), totals)


def _add_up(layout: Sequence[Segment], good: Sequence[tuple[int, Integers]]) -> Totals:
    """Over all shards, and of each, if there is more than one; those lie where they were unmasked."""
    if len(good) == 1:
        ((count, total),) = good
        return read_totals(layout, total, count)
    total = good[0][1].copy()
    for _, numbers in good[1:]:
        total += numbers
    shards = tuple(read_totals(layout, numbers, count) for count, numbers in good)
    return replace(read_totals(layout, total, sum(count for count, _ in good)), shards=shards)


def _unmask(
    record: Record,
    shard: Shard,
    sealed: Mapping[bytes, bytes],
    vector: NDArray[np.uint32],
    round_key: X25519PrivateKey | None,
) -> tuple[str, Integers | None]:
    if vector.size == 0:
        return SUM_LOST, None
    if round_key is None:
        return KEY_LOST, None
    layout = record.terms.layout
    seeds = {device: open_seed(sealed[device], round_key, MASK_MAIN, record.mh, device) for device in shard.devices}
    vector = unpack(vector, layout)
    unmask_sum(vector, [mask_key(seed, MASK_MAIN, record.mh, device) for device, seed in seeds.items()])
    total = centre(layout, vector)
    flaw = check_sum(layout, total, len(shard.devices))
    return ("ok", total) if flaw is None else (flaw, None)
