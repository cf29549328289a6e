"""Attacks on rounds with shards: by an aggregator that draws again, by a server that picks, by a device that cheats."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from fanlight.errors import Conflict, NotAuthentic, Refused
from fanlight.protocol import main_round, signing
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
from fanlight.protocol.merkle import Entry, inclusion_proofs, set_root
from fanlight.protocol.report import ReportHeader
from fanlight.protocol.shards import Lots, Shard, commitment, divide
from tests.protocol_world import HEAD, Round, Sent, World, digest_of, secret

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


def test_an_aggregator_does_not_know_the_places_when_it_binds_itself() -> None:
    """For one secret, another signature of main's gives others: to try secrets beforehand tells nothing."""
    told = started()
    lots = told.a.lots
    assert commitment(told.secret) == told.signed.terms.draw
    signed_by_another = Lots(lots.secret, lots.mh, WORLD.root.sign(told.signed.payload))
    assert signed_by_another.places(COHORT, 3) != lots.places(COHORT, 3)


def test_main_cannot_know_the_places_when_it_judges() -> None:
    """What main has seen by then holds the hash of the secret and nothing else that follows from it."""
    told = started().collect()
    told.judge(told.close())
    seen = [told.m.manifest, told.m.close, told.m.verdict, *(sent.record.receipt for sent in told.reports)]
    assert not any(told.secret in message for message in seen)


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
