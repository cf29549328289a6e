"""Attacks on rounds with shards: by an aggregator that draws again, by a server that picks, by a device that cheats."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from fanlight.core.packing import pack, unpack
from fanlight.core.segments import slices
from fanlight.errors import Conflict, NotAuthentic, Refused
from fanlight.protocol import aggregator_round, main_round, signing
from fanlight.protocol.closing import (
    OUTCOME_AGGREGATOR,
    OUTCOME_MAIN,
    RELEASE,
    InclusionProof,
    Outcome,
    OutcomeForDevice,
    Release,
    Releases,
    Result,
    ShardOutcome,
    SignedOutcome,
    read_releases,
)
from fanlight.protocol.manifest import MANIFEST_MAIN, Manifest, manifest_hash
from fanlight.protocol.merkle import Entry, inclusion_proofs, set_root
from fanlight.protocol.report import ReportHeader
from fanlight.protocol.shards import Lots, Shard, commitment, divide
from tests.protocol_world import HEAD, Round, Sent, World, contribution_of, digest_of, secret

WORLD = World(6, "shard attacks")
COHORT = sorted(owner.id for owner in WORLD.owners)
VICTIM = WORLD.owners[0]


def started(shards: int = 3, **changes: object) -> Round:
    return Round(WORLD, cohort=COHORT, shards=shards, **changes).open()  # type: ignore[arg-type]


def drawn(told: Round) -> tuple[Shard, ...]:
    return divide(told.proposal, told.a.lots, COHORT, [sent.owner.id for sent in told.reports])


def forge(told: Round, shards: Sequence[Shard], **changes: object) -> tuple[bytes, NDArray[np.uint32]]:
    """Releases as an aggregator signs them that sums whatever it likes, with the true sums of these sets."""
    ids = {sent.owner.id: sent.envelope.report_id for sent in told.reports}
    signed, vectors = [], []
    for shard in shards:
        vector = told.masked_sum_of(shard.devices)
        fields = {
            "mh": told.a.mh, "shard": shard.number, "count": len(shard.devices), "length": vector.size,
            "sum_hash": digest_of(vector), "log_head": HEAD, "draw": told.secret,
            "set_root": set_root(told.a.mh, [Entry(device, ids[device]) for device in shard.devices]),
        }  # fmt: skip
        release = Release(**{**fields, **changes})  # type: ignore[arg-type]
        signed.append(signing.sign(WORLD.aggregator_key, RELEASE, release.encode()).encode())
        vectors.append(vector)
    return Releases(signed=tuple(signed)).encode(), np.concatenate(vectors)


def refused(told: Round, release: bytes, vector: NDArray[np.uint32]) -> str:
    """Why main does not take the release; it learns nothing of it."""
    before, sent = told.m, vector.copy()
    with pytest.raises(Refused) as caught:
        told.take_release(release, vector)
    assert told.m == before
    assert np.array_equal(vector, sent), "nothing was unmasked"
    return str(caught.value.slug)


# ---- the aggregator


def test_what_an_honest_aggregator_sums_is_taken() -> None:
    told = started().collect().agree()
    assert told.take_release(*forge(told, drawn(told))).totals is not None


def test_an_aggregator_cannot_put_devices_into_other_shards_after_they_have_sent() -> None:
    told = started().collect().agree()
    one, two, three = drawn(told)
    changed = [
        Shard(1, tuple(sorted((two.devices[0], one.devices[1])))),
        Shard(2, tuple(sorted((one.devices[0], two.devices[1])))),
        three,
    ]
    assert refused(told, *forge(told, changed)) == "other-set"
    assert refused(
        told, *forge(told, [one._replace(devices=two.devices), two._replace(devices=one.devices), three])
    ) == ("other-set")


def test_an_aggregator_cannot_draw_again_after_it_has_seen_who_reported() -> None:
    told = started().collect().agree()
    other = secret("a draw that suits better")
    better = divide(told.proposal, Lots(other, told.a.mh, told.a.main_signature), COHORT, COHORT)
    assert refused(told, *forge(told, better, draw=other)) == "other-draw"
    assert refused(told, *forge(told, drawn(told), draw=None)) == "other-draw"
    release, vector = forge(told, drawn(told))
    another = forge(told, better, draw=other)[0]
    mixed = Releases(signed=(*Releases.decode(release).signed[:2], Releases.decode(another).signed[2]))
    assert refused(told, mixed.encode(), vector) == "other-draw"


TRIALS = 400
"""Draws of six devices in three shards. Who is with the victim is one of five: 80 ± 8 times out of so many."""
BY_CHANCE = range(80 - 5 * 8, 80 + 5 * 8 + 1)
FRIEND = WORLD.owners[1].id


def companion(lots: Lots) -> bytes:
    """Who is in the victim's shard of two."""
    places = lots.places(COHORT, 3)
    (other,) = (device for device in COHORT if places[device] == places[VICTIM.id] and device != VICTIM.id)
    return other


def bound(drawn_with: bytes, terms: Manifest) -> Lots:
    """What places follow from once main has signed a manifest that binds the aggregator to this secret."""
    payload = terms.with_(draw=commitment(drawn_with)).encode()
    return Lots(drawn_with, manifest_hash(payload), signing.sign(WORLD.main_key, MANIFEST_MAIN, payload).signature)


def test_an_aggregator_that_tries_secrets_before_it_binds_itself_gets_the_company_of_chance() -> None:
    """It takes the first secret that suits it under the best guess that it has at main's signature: its own."""
    terms, hits, guessed = started().signed.terms, 0, 0
    for trial in range(TRIALS):
        for number in range(1000):
            mine = secret(f"trial {trial} secret {number}")
            mh = manifest_hash(terms.with_(draw=commitment(mine)).encode())
            if companion(Lots(mine, mh, WORLD.aggregator_key.sign(mh))) == FRIEND:
                guessed += 1
                break
        hits += companion(bound(mine, terms)) == FRIEND
    assert guessed == TRIALS, "if it knew the signature, it would choose"
    assert hits in BY_CHANCE


@pytest.mark.parametrize("guess", ["the commitment", "the manifest", "its own signature"])
def test_a_main_that_rejects_whom_it_takes_for_a_victims_company_is_right_by_chance(guess: str) -> None:
    """It has all that places follow from but the secret, and puts its best guess in that place."""
    terms, hits = started().signed.terms, 0
    for trial in range(TRIALS):
        lots = bound(secret(f"draw {trial}"), terms)
        known = {
            "the commitment": commitment(lots.secret),
            "the manifest": lots.mh,
            "its own signature": lots.main_signature,
        }
        rejected = companion(Lots(known[guess][:32], lots.mh, lots.main_signature))
        hits += rejected == companion(lots)
    assert hits in BY_CHANCE


def test_main_holds_nothing_of_the_secret_when_it_judges() -> None:
    """The assumption of the one above, for the messages themselves: neither it nor its parts, in any of them."""
    told = started().collect()
    told.judge(told.close())
    seen = [told.m.manifest, told.m.close, told.m.verdict, *(sent.record.receipt for sent in told.reports)]
    parts = [told.secret[at : at + 8] for at in range(25)]
    assert not any(part in message for message in seen for part in parts)


# ---- the aggregator again: what it can do with the places, which it knows before the first report (this succeeds)

HOMES = World(12, "homes")
HOME, FRIENDS = HOMES.owners[0], HOMES.owners[1:5]
TWELVE = sorted(owner.id for owner in HOMES.owners)


def with_friends_only(told: Round) -> bool:
    """Is everybody else in the home's shard of three a friend of the aggregator's?"""
    places, friends = told.a.lots.places(TWELVE, 4), {friend.id for friend in FRIENDS}
    return all(places[one] != places[HOME.id] or one in friends for one in TWELVE if one != HOME.id)


@pytest.mark.parametrize("has", [False, True], ids=["lacks it", "has it"])
def test_an_aggregator_abandons_until_a_shard_is_its_own_and_reads_a_class_of_its_victim(has: bool) -> None:
    """With two of four friends in shards of three. The round ends released; main hears of abandoned rounds only.

    A draw serves with probability 6/55, so it takes nine on average, and all but the last are abandoned, before any
    device has reported.
    """
    told: Round | None = None
    given_up: list[aggregator_round.Step] = []
    while told is None or not with_friends_only(told):
        if told is not None:
            given_up.append(HOMES.aggregator.abandon(told.a, "operator"))
            told.a, told.m = given_up[-1].record, HOMES.main.abandoned(told.m, given_up[-1].reply).record
        number = len(given_up) + 1
        told = Round(HOMES, cohort=TWELVE, shards=4, k_min=3, round=number, previous=told)
        told.secret = secret(f"{has} {number}")
        told.open()
    for owner in HOMES.owners:
        said = contribution_of(told.plan, HOMES.owners.index(owner))
        classes = np.array([True, has]) if owner is HOME else said.supporters
        told.send(told.commit(owner, dataclasses.replace(said, supporters=classes)))
    told.agree()
    number = told.a.lots.places(TWELVE, 4)[HOME.id]
    sums = told.masked_sum().reshape(4, -1)
    asked = unpack(sums[number - 1], told.proposal.layout).copy()
    asked[slices(told.proposal.layout)["supporters"].start + 1] += np.uint32(
        1
    )  # with its two friends' that is the most
    sums[number - 1] = pack(asked, told.proposal.layout)
    step = told.take_release(*told.release(sums.ravel()))
    outcome = Outcome.decode(signing.Signed.decode(step.reply).payload)
    assert outcome.result == Result.RELEASED
    assert outcome.shards is not None
    assert (outcome.shards[number - 1].reason != "ok") == has
    assert all(entry.type == "outcome" for step in given_up for entry in step.entries), "each is signed and logged"


def test_how_often_an_aggregator_has_to_abandon_is_as_stated() -> None:
    places = [Lots(secret(str(trial)), bytes(32), bytes(64)).places(TWELVE, 4) for trial in range(4000)]
    friends = {friend.id for friend in FRIENDS}
    hits = sum(
        all(place[one] != place[HOME.id] or one in friends for one in TWELVE if one != HOME.id) for place in places
    )
    chance = 4 / 11 * 3 / 10
    assert abs(hits - 4000 * chance) < 5 * np.sqrt(4000 * chance * (1 - chance))


def test_an_aggregator_refuses_a_victims_company_until_k_min_of_its_shard_are_left() -> None:
    """It knows the places. Whom it refuses has no receipt, and only itself knows that it was."""
    told = Round(HOMES, cohort=TWELVE, shards=2, k_min=3).open()
    places = told.a.lots.places(TWELVE, 2)
    beside = [owner for owner in HOMES.owners if places[owner.id] == places[HOME.id] and owner is not HOME]
    kept = beside[:2]
    told.collect([owner for owner in HOMES.owners if owner not in beside or owner in kept]).agree()
    step = told.take_release(*told.release())
    assert step.totals is not None
    shard = next(shard for shard in HOMES.main.shards(told.m) if HOME.id in shard.devices)
    assert set(shard.devices) == {HOME.id, *(owner.id for owner in kept)}
    assert len(beside) == 5, "three others are left out"


@pytest.mark.parametrize("number", [0, 2, 4])
def test_a_second_sum_in_one_round_is_refused(number: int) -> None:
    told = started().collect().agree()
    shards = [*drawn(told), Shard(number, tuple(COHORT))]
    assert refused(told, *forge(told, sorted(shards))) == "foreign-release"
    assert refused(told, *forge(told, drawn(told)[:2])) == "foreign-release"
    assert refused(told, *forge(told, [Shard(0, tuple(COHORT))])) == "foreign-release"


def test_one_sum_over_all_is_refused_in_a_round_with_shards_and_shards_in_one_without() -> None:
    told = started().collect().agree()
    vector = told.masked_sum_of(COHORT)
    whole = Releases.decode(forge(told, [Shard(0, tuple(COHORT))])[0]).signed[0]
    assert refused(told, whole, vector) == "foreign-release"
    plain = Round(WORLD).open().collect().agree()
    assert refused(plain, *forge(plain, [Shard(1, tuple(COHORT[:3])), Shard(2, tuple(COHORT[3:]))])) == "other-draw"
    halves = [Shard(1, tuple(COHORT[:3])), Shard(2, tuple(COHORT[3:]))]
    assert refused(plain, *forge(plain, halves, draw=None)) == "foreign-release"


def test_a_second_release_of_a_shard_is_refused_for_ever() -> None:
    told = started().collect().agree()
    fresh = told.a
    release, vector = told.release()
    told.take_release(release, vector.copy())
    assert told.release(np.zeros_like(vector))[0] == release, "the aggregator repeats what it has signed"
    accepted = WORLD.aggregator.accepted(fresh, told.held)
    for sums in ([secret("other")] * 3, [digest_of(part) for part in vector.reshape(3, -1)[::-1]]):
        other = WORLD.aggregator.release(fresh, accepted, sums, HEAD).reply
        with pytest.raises(Conflict) as caught:
            told.take_release(other, vector.copy())
        assert caught.value.slug == "second-release"


def test_a_report_in_two_shards_is_refused() -> None:
    told = started().collect().agree()
    one, two, three = drawn(told)
    both = Shard(2, tuple(sorted((*two.devices, one.devices[0]))))
    assert refused(told, *forge(told, [one, both, three])) == "other-set"
    instead = Shard(2, tuple(sorted((two.devices[0], one.devices[0]))))
    assert refused(told, *forge(told, [one, instead, three])) == "other-set"


def test_a_shard_below_k_min_is_never_released() -> None:
    told = started()
    one, two, three = divide(told.proposal, told.a.lots, COHORT, COHORT)
    silent = two.devices[1]
    told.collect([owner for owner in WORLD.owners if owner.id != silent]).agree()
    alone = Shard(2, two.devices[:1])
    assert refused(told, *forge(told, [one, alone, three])) == "foreign-release"
    assert refused(told, *forge(told, [one, three._replace(number=2)])) == "other-set", (
        "nobody is left out of all sums either"
    )
    assert [part.count for part in read_releases(told.release()[0])] == [2, 3]


def test_the_sum_of_one_shard_does_not_stand_for_another() -> None:
    told = started().collect().agree()
    release, vector = told.release()
    swapped = vector.reshape(3, -1)[[1, 0, 2]].ravel()
    assert refused(told, release, swapped) == "swapped-sum"
    assert refused(told, release, vector[: vector.size // 3].copy()) == "wrong-length"


# ---- main


def test_main_cannot_have_a_device_believe_in_another_set_or_shard() -> None:
    told = started().collect().agree()
    step = told.take_release(*told.release())
    told.finish(step.reply)
    sent = next(sent for sent in told.reports if sent.owner is VICTIM)
    true = WORLD.main.outcome_for(told.m, VICTIM.id)
    assert true is not None
    assert true.proof is not None
    others = [n for n in (1, 2, 3) if n != true.proof.shard]
    for proof in (
        true.proof.with_(shard=others[0]),
        true.proof.with_(shard=4),
        true.proof.with_(shard=None),
        true.proof.with_(index=1 - true.proof.index),
    ):
        with pytest.raises(NotAuthentic) as caught:
            VICTIM.device.end(sent.record, true.with_(proof=proof))
        assert caught.value.slug == "bad-inclusion-proof"
    assert VICTIM.device.end(sent.record, true).was_included


def test_the_aggregator_signs_no_outcome_of_other_shards_than_it_released() -> None:
    told = started().collect().agree()
    true = Outcome.decode(signing.Signed.decode(told.take_release(*told.release()).reply).payload)
    assert true.shards is not None
    one, two, three = true.shards
    for forged in (
        true.with_(shards=None),
        true.with_(shards=(one, two)),
        true.with_(shards=(two, one, three)),
        true.with_(shards=(one, two.with_(count=3), three)),
        true.with_(shards=(one, two.with_(set_root=one.set_root), three)),
        true.with_(set_root=one.set_root),
    ):
        signed = signing.sign(WORLD.main_key, OUTCOME_MAIN, forged.encode()).encode()
        with pytest.raises(Refused) as caught:
            WORLD.aggregator.finish(told.a, signed)
        assert caught.value.slug == "foreign-outcome"


# ---- devices


def test_a_device_cannot_claim_a_shard() -> None:
    """Nothing that a device signs or sends says where it belongs, and a report from outside the cohort is refused."""
    assert not {name for name in ReportHeader.model_fields if "shard" in name}
    some = COHORT[:4]
    told = Round(WORLD, cohort=some, shards=2).open()
    stranger = next(owner for owner in WORLD.owners if owner.id not in some)
    invited = next(owner for owner in WORLD.owners if owner.id in some)
    sent = told.commit(invited)
    header = ReportHeader.decode(signing.Signed.decode(sent.envelope.header).payload).with_(device=stranger.id)
    forged = signing.sign(stranger.key, "fanlight/report/v1", header.encode()).encode()
    with pytest.raises(Refused) as caught:
        WORLD.aggregator.check_report(
            told.a, sent.envelope.with_(header=forged), stranger.member.public_key, told.aggregator_round_key, 1_001
        )
    assert caught.value.slug == "not-invited"


def cheat(sent: Sent) -> None:
    """Garbage, properly signed for: the device is a member and sends what it likes."""
    sent.y = np.frombuffer(secret("garbage") * (sent.y.size // 8 + 1), np.uint32)[: sent.y.size].copy()


def test_one_cheat_fails_a_round_but_only_its_own_shard_of_the_next() -> None:
    told = Round(WORLD).open().collect()
    cheat(told.reports[3])
    failed = told.agree().take_release(*told.release())
    assert (failed.record.at, failed.totals) == (main_round.State.FAILED, None)
    told.finish(failed.reply)

    again = Round(WORLD, cohort=COHORT, shards=3, previous=told, round=2, attempt=1).open().collect()
    cheat(again.reports[3])
    step = again.agree().take_release(*again.release())
    assert step.totals is not None
    mine = next(shard for shard in drawn(again) if WORLD.owners[3].id in shard.devices)
    assert step.totals.count == 6 - len(mine.devices)
    outcome = Outcome.decode(signing.Signed.decode(step.reply).payload)
    assert outcome.shards is not None
    assert [shard.number for shard in outcome.shards if shard.reason != "ok"] == [mine.number]
    again.finish(step.reply)
    assert {sent.owner.id for sent in again.reports if again.end(sent).left_out} == set(mine.devices)


def test_an_outcome_that_both_servers_forge_still_shows_a_device_that_it_is_in_no_named_set() -> None:
    told = started().collect()
    sent = next(sent for sent in told.reports if sent.owner is VICTIM)
    ids = [Entry(one.owner.id, one.envelope.report_id) for one in told.reports if one is not sent]
    root, mh = set_root(told.a.mh, ids), told.a.mh
    shard = ShardOutcome(number=1, count=len(ids), set_root=root, reason="ok")
    payload = Outcome(mh=mh, result=Result.RELEASED.value, reason="ok", set_root=root, shards=(shard,)).encode()
    outcome = SignedOutcome(
        payload=payload,
        aggregator_signature=signing.sign(WORLD.aggregator_key, OUTCOME_AGGREGATOR, payload).signature,
        main_signature=signing.sign(WORLD.main_key, OUTCOME_MAIN, payload).signature,
    )
    index, path = inclusion_proofs(ids)[ids[0].device]
    proof = InclusionProof(size=len(ids), index=index, path=path, shard=1)
    with pytest.raises(NotAuthentic):
        VICTIM.device.end(sent.record, OutcomeForDevice(outcome=outcome, proof=proof))
    assert not VICTIM.device.end(sent.record, OutcomeForDevice(outcome=outcome)).was_included
