"""For any devices and contributions: what main unmasks is the plain integer sum, bit for bit."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from fanlight.core.segments import packed_update, quantisation_steps
from fanlight.protocol.contribution import W_MAX, Contribution, Measured, check_sum
from fanlight.protocol.merkle import Entry, included, inclusion_proofs, set_root
from tests.protocol_world import Round, World, plan_of

WORLD = World(6, "property")
PLAN = plan_of()
CLASSES, D = len(PLAN.classes), PLAN.parameters

NUMBERS = st.floats(-1e6, 1e6) | st.floats(-1, 1) | st.sampled_from([0.0, 5e-324, -1e-300, 1e150])
COUNTS = st.integers(0, 20_000)
LOSSES = st.floats(0, 20_000) | st.just(float("inf"))


@st.composite
def measurements(draw: st.DrawFn) -> Measured:
    cells = draw(st.lists(COUNTS, min_size=CLASSES**2, max_size=CLASSES**2))
    return Measured(np.array(cells, np.int64).reshape(CLASSES, CLASSES), draw(LOSSES))


@st.composite
def contributions(draw: st.DrawFn) -> Contribution:
    return Contribution(
        examples=draw(st.integers(1, 2 * W_MAX)),
        update=np.array(draw(st.lists(NUMBERS, min_size=D, max_size=D)), np.float64),
        received=draw(measurements()),
        local=draw(measurements()),
        supporters=np.array(draw(st.lists(st.booleans(), min_size=CLASSES, max_size=CLASSES))),
    )


@given(
    said=st.lists(contributions(), min_size=2, max_size=6),
    n_max=st.sampled_from([6, 1000, 5000]),
    clip_micro=st.integers(1, 10**9),
    measure=st.booleans(),
    rejected=st.booleans(),
    update_bits=st.sampled_from([0, 10, 16]),
    most_pictures=st.sampled_from([1, 100, W_MAX]),
)
def test_the_released_sum_is_the_plain_sum(
    said: list[Contribution],
    n_max: int,
    clip_micro: int,
    measure: bool,
    rejected: bool,
    update_bits: int,
    most_pictures: int,
) -> None:
    plan = plan_of(kind="measure") if measure else PLAN
    widths: dict[str, Any] = {"update_bits": update_bits, "most_pictures": most_pictures}
    told = Round(WORLD, plan, n_max=n_max, clip_micro=clip_micro, r_max_percent=34, **widths).open()
    for owner, contribution in zip(WORLD.owners, said, strict=False):
        sent = told.commit(owner, dataclasses.replace(contribution, update=None) if measure else contribution)
        told.send(sent)
        told.beacon(sent)
    leave_out = told.reports[0].owner.id if rejected and len(said) > 2 else b""
    members = {device: key for device, key in WORLD.members.items() if device != leave_out}
    step = WORLD.main.judge(told.m, told.close(), members, told.beacons, told.main_round_key, bytes(32))
    told.m = step.record
    told.take_verdict(step.reply)

    release, vector = told.release()
    found = told.unmasked(vector)
    outcome = told.take_release(release, vector)
    summed = [sent for sent in told.reports if sent.owner.id != leave_out]
    plain = np.sum([sent.plain for sent in summed], axis=0)
    assert np.array_equal(found, plain)
    assert outcome.totals is not None
    assert outcome.totals.count == len(summed)
    assert check_sum(told.proposal.layout, plain, len(summed)) is None
    told.finish(outcome.reply)
    assert [told.end(sent).was_included for sent in told.reports] == [sent in summed for sent in told.reports]

    if outcome.totals.mean is not None:
        clip, weight = clip_micro / 1e6, outcome.totals.weight or 0
        steps = packed_update(n_max, update_bits)[0] if update_bits else quantisation_steps(n_max)
        unit = most_pictures * clip / (steps * weight)
        # A mean of clipped updates is no longer than C, but for less than a step a device and coordinate.
        assert np.linalg.norm(outcome.totals.mean) <= (clip + len(summed) * unit * np.sqrt(D)) * (1 + 1e-9)


@given(
    devices=st.sets(st.binary(min_size=16, max_size=16), min_size=1, max_size=40),
    mh=st.binary(min_size=32, max_size=32),
    data=st.data(),
)
def test_inclusion_proofs_prove_inclusion_only(devices: set[bytes], mh: bytes, data: st.DataObject) -> None:
    accepted = [Entry(device, device * 2) for device in devices]
    root = set_root(mh, accepted)
    entry = data.draw(st.sampled_from(accepted))
    found = inclusion_proofs(accepted).get(entry.device)
    assert found is not None
    index, path = found
    assert included(mh, root, len(accepted), index, path, entry)
    forged = Entry(entry.device, data.draw(st.binary(min_size=32, max_size=32).filter(lambda r: r != entry.report_id)))
    assert not included(mh, root, len(accepted), index, path, forged)
