"""Rounds with shards: drawn by both servers before the first report, summed each for itself, a bad one left out."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from fanlight.core.quantise import norm
from fanlight.errors import Conflict, NotAuthentic, Refused
from fanlight.protocol import signing
from fanlight.protocol.closing import SHARD_LEFT_OUT, LeftOut, Outcome, Release, Result, read_releases
from fanlight.protocol.device_round import History
from fanlight.protocol.manifest import MANIFEST_MAIN, MOST_SHARDS, Cohort, SignedManifest, read_manifest
from fanlight.protocol.shards import Lots, Shard, commitment, divide
from tests.protocol_world import MODEL, NOW, Round, Sent, World, floors, plan_of, secret

WORLD = World(7, "shards")
COHORT = sorted(owner.id for owner in WORLD.owners)
LOTS = Lots(secret("draw"), secret("manifest"), b"signature")


def started(shards: int = 3, **changes: object) -> Round:
    return Round(WORLD, cohort=COHORT, shards=shards, **changes).open()  # type: ignore[arg-type]


def groups_of(told: Round) -> list[tuple[Sent, ...]]:
    """The reports of each shard, by number."""
    sent = {one.owner.id: one for one in told.reports}
    accepted = WORLD.aggregator.accepted(told.a, told.held)
    return [tuple(sent[held.device] for held in shard) for shard in WORLD.aggregator.shards(told.a, accepted)]


def spoilt(told: Round, vector: NDArray[np.uint32], shard: int) -> NDArray[np.uint32]:
    """Y with garbage in the sum of one shard, as a device that takes no mask off makes it."""
    vector = vector.copy()
    rows = vector.reshape(len(groups_of(told)), -1)
    rows[shard] = np.frombuffer(secret("garbage") * (4 * rows.shape[1] // 32 + 1), np.uint32)[: rows.shape[1]]
    return vector


# ---- the draw


def test_sizes_differ_by_one_at_most_and_every_device_has_one_place() -> None:
    places = LOTS.places(COHORT, 3)
    assert sorted(places) == COHORT
    assert sorted(np.bincount(list(places.values()))[1:]) == [2, 2, 3]


@pytest.mark.parametrize("changed", ["secret", "mh", "main_signature"])
def test_places_follow_from_what_each_server_could_not_know_of_the_other(changed: str) -> None:
    other = Lots(**{**vars(LOTS), changed: secret("other")})
    assert other.places(COHORT, 3) != LOTS.places(COHORT, 3)


def test_the_order_in_which_a_cohort_is_told_does_not_matter() -> None:
    assert LOTS.places(COHORT[::-1], 3) == LOTS.places(COHORT, 3)


def test_small_shards_are_joined_with_the_next_and_the_last_with_the_one_before() -> None:
    terms = WORLD.proposal(plan_of(), COHORT, shards=3)
    by_shard: dict[int, list[bytes]] = {1: [], 2: [], 3: []}
    for device, number in sorted(LOTS.places(COHORT, 3).items()):
        by_shard[number].append(device)
    one, two, three = by_shard[1], by_shard[2], by_shard[3]

    def divided(*accepted: bytes) -> list[Shard]:
        return list(divide(terms, LOTS, COHORT, accepted))

    def shard(number: int, *devices: bytes) -> Shard:
        return Shard(number, tuple(sorted(devices)))

    assert divided(*COHORT) == [shard(1, *one), shard(2, *two), shard(3, *three)]
    assert divided(*one, two[0], *three) == [shard(1, *one), shard(2, two[0], *three)]
    assert divided(*one, *two, three[0]) == [shard(1, *one), shard(2, *two, three[0])]
    assert divided(*two, *three) == [shard(1, *two), shard(3, *three)]  # nobody of the first: it is the second's
    assert divided(*one, *three) == [shard(1, *one), shard(2, *three)]
    assert divided(one[0], two[0], three[0]) == [shard(1, one[0], two[0], three[0])]


def test_a_round_without_shards_is_one_set_and_says_nothing_of_shards() -> None:
    told = Round(WORLD).open().collect().agree()
    release, vector = told.release()
    assert [part.shard for part in read_releases(release)] == [0]
    outcome = Outcome.decode(signing.Signed.decode(told.take_release(release, vector).reply).payload)
    assert outcome.shards is None
    for message in (told.proposal, told.manifest(), Release.decode(signing.Signed.decode(release).payload), outcome):
        fields = type(message).model_fields
        assert len(message.to_wire()) < len(fields), "what is new is absent"


# ---- terms


@pytest.mark.parametrize("shards", [0, 1, MOST_SHARDS + 1])
def test_there_are_two_to_sixteen_shards(shards: int) -> None:
    with pytest.raises(ValueError, match="shards"):
        WORLD.proposal(plan_of(), COHORT, shards=shards)


def test_shards_need_a_cohort_that_is_named_and_large_enough() -> None:
    with pytest.raises(Refused) as nobody:
        Round(WORLD, shards=2).offer()
    with pytest.raises(Refused) as few:
        Round(WORLD, cohort=COHORT, shards=4).offer()
    with pytest.raises(Refused) as twice:
        Round(WORLD, cohort=[*COHORT[:3], *COHORT[:3]], shards=3).offer()
    assert [caught.value.slug for caught in (nobody, few, twice)] == ["bad-manifest", "bad-cohort", "bad-cohort"]


def test_a_manifest_has_both_shards_and_draw_or_neither() -> None:
    with_shards, without = WORLD.proposal(plan_of(), COHORT, shards=2), WORLD.proposal(plan_of())
    for signed in (WORLD.sign_manifest(with_shards), with_draw(WORLD.sign_manifest(without))):
        with pytest.raises(Refused) as caught:
            read_manifest(WORLD.trust, signed)
        assert caught.value.slug == "bad-manifest"


def with_draw(signed: SignedManifest) -> SignedManifest:
    payload = signed.terms.with_(draw=commitment(bytes(32))).encode()
    return SignedManifest(
        payload=payload,
        aggregator_signature=signing.sign(WORLD.aggregator_key, "manifest-agg", payload).signature,
        main_signature=signing.sign(WORLD.main_key, "manifest-main", payload).signature,
    )


def test_a_device_asks_for_its_floor_of_every_shard() -> None:
    told = Round(WORLD, cohort=COHORT, shards=2, k_min=3, demo=False).open()
    owner = WORLD.owners[0]
    with pytest.raises(Refused) as caught:
        owner.device.check_manifest(
            told.signed, told.plan, MODEL, told.invitation(owner), floors(k_min=4), History({}, 0), NOW
        )
    assert caught.value.slug == "below-floor"


# ---- a whole round


def test_main_learns_the_exact_sum_of_each_shard_and_of_the_round() -> None:
    told = started().collect().agree()
    release, vector = told.release()
    groups = groups_of(told)
    releases = read_releases(release)
    assert [(part.shard, part.count) for part in releases] == [(n + 1, len(sent)) for n, sent in enumerate(groups)]
    step = told.take_release(release, vector)
    for found, sent in zip(vector.reshape(3, -1).view(np.int32), groups, strict=True):  # unmasked in place
        assert np.array_equal(found, np.sum([one.plain for one in sent], axis=0))
    assert step.totals is not None
    assert (step.totals.count, step.totals.weight) == (7, sum(10 * n for n in range(1, 8)))
    told.finish(step.reply)
    told.m = WORLD.main.publish(told.m).record
    ends = [told.end(sent) for sent in told.reports]
    assert [(end.result, end.was_included, end.left_out) for end in ends] == [(Result.RELEASED, True, "")] * 7


def test_a_round_with_shards_learns_what_it_would_have_learned_without() -> None:
    whole, sharded = (Round(WORLD, cohort=COHORT, shards=n).open().collect().agree().complete() for n in (None, 3))
    assert whole.mean is not None
    assert sharded.mean is not None
    assert (whole.count, whole.weight, whole.within_clip) == (sharded.count, sharded.weight, sharded.within_clip)
    steps = whole.mean - sharded.mean  # rounded anew in each round
    assert norm(np.rint(steps * 1e9).astype(np.int64)) < 7 * 1e9 / 2**20


def test_a_bad_shard_is_left_out_and_named_and_the_others_count() -> None:
    told = started().collect().agree()
    groups = groups_of(told)
    release, vector = told.release(spoilt(told, told.masked_sum(), 1))
    step = told.take_release(release, vector)
    good = [sent for sent in told.reports if sent not in groups[1]]
    assert step.totals is not None
    assert step.totals.count == len(good)
    assert step.totals.weight == sum(sent.plain[0] for sent in good)
    assert [entry.type for entry in step.entries] == ["release"] * 3 + [SHARD_LEFT_OUT, "outcome"]
    named = LeftOut.decode(step.entries[3].payload)
    outcome = Outcome.decode(signing.Signed.decode(step.reply).payload)
    assert outcome.shards is not None
    reasons = [shard.reason for shard in outcome.shards]
    assert (outcome.result, outcome.reason) == (Result.RELEASED, SHARD_LEFT_OUT)
    assert reasons[0] == reasons[2] == "ok" != reasons[1]
    assert (named.mh, named.shard, named.reason) == (told.m.mh, 2, reasons[1])
    assert named.devices == tuple(sorted(sent.owner.id for sent in groups[1]))
    told.finish(step.reply)
    for sent in told.reports:
        end = told.end(sent)
        left_out = sent in groups[1]
        assert (end.was_included, end.left_out) == (not left_out, reasons[1] if left_out else "")


@pytest.mark.parametrize(("shards", "bad"), [(2, (0, 1)), (3, (0, 2)), (3, (0, 1, 2))])
def test_a_round_fails_if_fewer_than_half_of_its_shards_are_good(shards: int, bad: tuple[int, ...]) -> None:
    told = started(shards).collect().agree()
    vector = told.masked_sum()
    for shard in bad:
        vector = spoilt(told, vector, shard)
    step = told.take_release(*told.release(vector))
    outcome = Outcome.decode(signing.Signed.decode(step.reply).payload)
    assert step.totals is None
    assert outcome.result == Result.FAILED
    assert outcome.shards is not None
    assert [n for n, shard in enumerate(outcome.shards) if shard.reason != "ok"] == list(bad)
    left_out = [LeftOut.decode(entry.payload).shard for entry in step.entries if entry.type == SHARD_LEFT_OUT]
    assert left_out == [shard + 1 for shard in bad]
    told.finish(step.reply)
    spoilt_too = [sent for shard in bad for sent in groups_of(told)[shard]]
    assert [bool(told.end(sent).left_out) for sent in told.reports] == [sent in spoilt_too for sent in told.reports]


def test_half_of_the_shards_are_enough() -> None:
    told = started(2).collect().agree()
    step = told.take_release(*told.release(spoilt(told, told.masked_sum(), 0)))
    assert step.totals is not None
    assert step.totals.count == len(groups_of(told)[1])


@pytest.mark.parametrize("lost", ["sum", "key"])
def test_what_a_server_has_lost_fails_the_round(lost: str) -> None:
    told = started(2).collect().agree()
    release, vector = told.release()
    step = told.take_release(release, vector if lost == "key" else np.zeros(0, np.uint32), key_lost=lost == "key")
    outcome = Outcome.decode(signing.Signed.decode(step.reply).payload)
    assert (outcome.result, outcome.reason) == (Result.FAILED, "sum-lost" if lost == "sum" else "round-key-lost")
    told.finish(step.reply)


def test_devices_that_are_missing_leave_no_sum_below_k_min_and_nobody_out() -> None:
    for silent in WORLD.owners:
        told = started().collect([owner for owner in WORLD.owners if owner is not silent]).agree()
        groups = groups_of(told)
        assert all(len(sent) >= 2 for sent in groups)
        assert sorted(sent.owner.id for group in groups for sent in group) == sorted({*COHORT} - {silent.id})
        assert told.complete().count == 6


def test_every_reply_is_repeated_word_for_word() -> None:
    told = started().collect().agree()
    release, vector = told.release()
    assert told.release(np.zeros_like(vector))[0] == release
    outcome = told.take_release(release, vector.copy()).reply
    again = told.take_release(release, vector)
    assert (again.reply, again.entries, again.totals) == (outcome, (), None)
    assert told.finish(outcome) == told.finish(outcome)


def test_the_cohort_is_logged_so_that_the_draw_can_be_checked_later() -> None:
    told = Round(WORLD, cohort=COHORT, shards=2)
    entries = WORLD.main.propose(None, told.proposal, COHORT).entries
    assert [entry.type for entry in entries] == ["proposal", "cohort"]
    assert Cohort.decode(entries[1].payload).devices == tuple(COHORT)


def test_the_aggregator_takes_one_signature_of_mains() -> None:
    told = started()
    payload = told.signed.payload
    label = MANIFEST_MAIN.encode() + b"\x00"
    other = SignedManifest.decode(told.m.manifest).with_(main_signature=bytes(64))
    with pytest.raises(NotAuthentic):
        WORLD.aggregator.open(told.a, other)
    assert WORLD.main_key.sign(label + payload) == told.signed.main_signature
    changed = told.a.with_(main_signature=secret("another way to sign") * 2)
    with pytest.raises(Conflict) as caught:
        WORLD.aggregator.open(changed, told.signed)
    assert caught.value.slug == "second-manifest"
