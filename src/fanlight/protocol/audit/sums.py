"""The sums of a round as one log tells them, one or one of each shard: do they fit the terms, the draw and the set?

Main's log has all that shards follow from: the cohort, main's signature on the manifest and, in the releases, the
secret of the aggregator. So they are drawn again. The aggregator's log lacks the first two: there the releases are
counted, and held against what it was bound to.

Each check gives what is wrong as the rest of a sentence about the round, or None.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from fanlight.protocol.closing import Outcome, Release, Result
from fanlight.protocol.manifest import Manifest
from fanlight.protocol.merkle import Entry, set_root
from fanlight.protocol.shards import WHOLE, Lots, commitment, divide


@dataclass
class Sums:
    """What one log says of the sums of a round.

    Attributes:
        manifest, mh: the round's.
        cohort: the devices that shards were drawn of; empty if there are none, and in the aggregator's log.
        main_signature: main's, on the manifest; empty in the aggregator's log.
        releases: by number of the shard.
        left_out: why main leaves a shard out (a slug), by number.
    """

    manifest: Manifest
    mh: bytes
    cohort: tuple[bytes, ...] = ()
    main_signature: bytes = b""
    releases: dict[int, Release] = field(default_factory=dict)
    left_out: dict[int, str] = field(default_factory=dict)
    _drawn: dict[int, tuple[bytes, ...]] | None = None

    @property
    def in_order(self) -> list[Release]:
        """The releases, by number."""
        return [release for _, release in sorted(self.releases.items())]

    def take(self, release: Release) -> str | None:
        """One more release, held against the terms."""
        self.releases[release.shard] = release
        if release.length != self.manifest.length:
            return f"releases {release.length} words; the terms say {self.manifest.length}"
        if (release.draw and commitment(release.draw)) != self.manifest.draw:
            return "opens another draw than its terms are bound to"
        shards = self.manifest.proposal.shards
        if release.shard not in (range(1, shards + 1) if shards else (WHOLE,)):
            return f"releases shard {release.shard}; the terms know {shards or 'no shards'}"
        return None

    def check_set(self, release: Release, accepted: Sequence[Entry]) -> str | None:
        """Is a release, which fits the terms, over the reports that it has to be over?"""
        self._draw(release, accepted)
        if self._drawn is None:
            fits = self.manifest.proposal.k_min <= release.count <= len(accepted)
            return None if fits else f"releases a sum over {release.count} reports (shard {release.shard})"
        devices = set(self._drawn.get(release.shard, ()))
        entries = [entry for entry in accepted if entry.device in devices]
        if not entries or release.count != len(entries) or release.set_root != set_root(self.mh, entries):
            return f"releases the sum of another set than was accepted (Merkle root, shard {release.shard})"
        return None

    def check_left_out(self, number: int, devices: Sequence[bytes]) -> str | None:
        """Are these the devices of a shard that is left out?"""
        if self._drawn is not None and self._drawn.get(number, ()) != tuple(devices):
            return f"has other devices in shard {number} than were drawn"
        return None

    def check_outcome(self, outcome: Outcome, accepted: Sequence[Entry]) -> str | None:
        """Does an outcome name the sets that were released, all of them, and the result that follows?"""
        told, released = outcome.shards or (), self.in_order
        if self.manifest.proposal.shards is None:
            same = not told and [release.set_root for release in released] == [outcome.set_root]
            return None if same else "ends with another set than was released"
        if [(shard.number, shard.count, shard.set_root) for shard in told] != [
            (release.shard, release.count, release.set_root) for release in released
        ]:
            return "ends with other shards than were released"
        if sum(shard.count for shard in told) != len(accepted) or outcome.set_root != set_root(self.mh, accepted):
            return "ends with another set than was accepted"
        good = sum(shard.reason == "ok" for shard in told)
        if (outcome.result == Result.RELEASED) != (2 * good >= len(told)):
            return f"is {outcome.result}, with {good} of {len(told)} shards in order"
        return None

    def _draw(self, release: Release, accepted: Sequence[Entry]) -> None:
        """Draw the shards again, once, if this log tells enough."""
        terms, devices = self.manifest.proposal, [entry.device for entry in accepted]
        if self._drawn is None and (terms.shards is None or (self.main_signature and {*devices} <= {*self.cohort})):
            lots = Lots(release.draw or b"", self.mh, self.main_signature)
            self._drawn = {shard.number: shard.devices for shard in divide(terms, lots, self.cohort, devices)}
