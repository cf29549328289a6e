"""For any cohort, shards and silent devices: every report is in one sum, and no sum is of fewer than k_min."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from fanlight.core.packing import pack
from fanlight.core.randomness import Keystream
from fanlight.core.segments import layout_length
from fanlight.protocol.closing import read_releases
from fanlight.protocol.merkle import Entry, set_root
from fanlight.protocol.shards import Lots, divide
from tests.protocol_world import Round, World, plan_of, secret

WORLD = World(9, "shard property")
IDS = [owner.id for owner in WORLD.owners]


@given(
    cohort=st.sets(st.binary(min_size=16, max_size=16), min_size=4, max_size=60),
    k_min=st.integers(2, 5),
    shards=st.integers(2, 16),
    draw=st.binary(min_size=32, max_size=32),
    data=st.data(),
)
def test_every_accepted_report_is_in_one_shard_of_k_min_at_least(
    cohort: set[bytes], k_min: int, shards: int, draw: bytes, data: st.DataObject
) -> None:
    accepted = data.draw(st.sets(st.sampled_from(sorted(cohort)), min_size=min(k_min, len(cohort))))
    terms = WORLD.proposal(plan_of(), sorted(cohort), k_min=k_min, shards=shards)
    lots = Lots(draw, secret("mh"), b"signature")
    found, places = divide(terms, lots, cohort, accepted), lots.places(cohort, shards)
    assert sorted(device for shard in found for device in shard.devices) == sorted(accepted)
    assert len({shard.number for shard in found}) == len(found)
    if len(accepted) >= k_min:
        assert all(len(shard.devices) >= k_min for shard in found)
    for shard in found:  # joined, never parted: who was drawn together is summed together
        drawn = {places[device] for device in shard.devices}
        assert {device for device in accepted if places[device] in drawn} == set(shard.devices)
    assert found == divide(terms, lots, sorted(cohort, reverse=True), sorted(accepted))


def garbage(told: Round, device: bytes) -> NDArray[np.uint32]:
    """A vector that says nothing, as one whose masks cannot be taken off."""
    stream = Keystream(secret(device.hex()))
    return pack(stream.uint32(layout_length(told.proposal.layout)), told.proposal.layout)


@given(
    number=st.integers(2, 4),
    silent=st.sets(st.sampled_from(IDS), max_size=5),
    cheats=st.sets(st.sampled_from(IDS), max_size=2),
    draw=st.binary(min_size=32, max_size=32),
    update_bits=st.sampled_from([0, 16]),
)
def test_the_released_sums_are_the_plain_sums_and_each_shard_is_released_once(
    number: int, silent: set[bytes], cheats: set[bytes], draw: bytes, update_bits: int
) -> None:
    told = Round(WORLD, cohort=IDS, shards=number, update_bits=update_bits, r_max_percent=34)
    told.secret = draw
    told.open().collect([owner for owner in WORLD.owners if owner.id not in silent]).agree()
    for sent in told.reports:
        if sent.owner.id in cheats:
            sent.y = garbage(told, sent.owner.id)
    release, vector = told.release()
    releases = read_releases(release)
    rows = vector.copy().reshape(len(releases), -1)
    step = told.take_release(release, vector)
    groups = WORLD.main.shards(told.m)
    sent_by = {sent.owner.id: sent for sent in told.reports}

    assert [part.shard for part in releases] == [shard.number for shard in groups]
    assert len({part.shard for part in releases}) == len(releases)
    good: list[bytes] = []
    for part, shard, row in zip(releases, groups, rows, strict=True):
        entries = [Entry(device, sent_by[device].envelope.report_id) for device in shard.devices]
        assert (part.count, part.set_root) == (len(entries), set_root(told.m.mh, entries))
        if not cheats & set(shard.devices):
            good.extend(shard.devices)
            plain = np.sum([sent_by[device].plain for device in shard.devices], axis=0)
            assert np.array_equal(told.unmasked_of(row, shard.devices), plain)
    good_shards = [shard for shard in groups if not cheats & set(shard.devices)]
    if 2 * len(good_shards) < len(groups):
        assert step.totals is None
        return
    assert step.totals is not None
    assert step.totals.count == len(good)
    assert step.totals.weight == sum(sent_by[device].plain[0] for device in good)
    told.finish(step.reply)
    ends = {sent.owner.id: told.end(sent) for sent in told.reports}
    assert {device for device, end in ends.items() if end.was_included} == set(good)
    assert all(end.left_out for device, end in ends.items() if device not in good)
