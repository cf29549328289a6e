"""What secure aggregation does not protect, shown by doing it: each of these attacks succeeds.

The sum is exact, and it is meant to be known; whatever a sum gives away, such a protocol gives away. What helps stands
in ``docs/threat-model.md`` beside each test: more devices, owners who do not collude, and against all of it only noise
(differential privacy), which Fanlight does not have yet. When one of these tests fails, that page is to be changed.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from fanlight.core import triangle
from fanlight.core.adaptive_clip import LEARNING_RATE, QUANTILE, next_clip
from fanlight.core.masks import subtract_mask
from fanlight.core.packing import pack, unpack
from fanlight.core.ring import centre
from fanlight.core.segments import slices
from fanlight.errors import Refused
from fanlight.learning import analytic
from fanlight.learning.heads import SoftmaxHead, unit, zero_head
from fanlight.learning.held_back import HeldBack
from fanlight.protocol import aggregator_round, codec, main_round, signing
from fanlight.protocol.audit.both import Audit
from fanlight.protocol.audit.findings import Flaw
from fanlight.protocol.catching_up import aggregator_catches_up, main_words
from fanlight.protocol.closing import (
    OUTCOME_MAIN,
    SUM_NOT_USABLE,
    VERDICT,
    Outcome,
    OutcomeForDevice,
    Release,
    Result,
    SignedOutcome,
    Verdict,
)
from fanlight.protocol.contribution import Contribution, Totals, clip_of
from fanlight.protocol.device_round import History, answer_key
from fanlight.protocol.identities import Role
from fanlight.protocol.log import LogEntry
from fanlight.protocol.sealing import MASK_AGGREGATOR, MASK_MAIN, mask_key, open_seed
from fanlight.protocol.signing import Signed
from fanlight.protocol.statistics import Sums
from fanlight.services.main_server.algorithm_choice import AlgorithmChoice
from fanlight.services.main_server.next_version import move
from fanlight.services.main_server.promotion import CURRENT_MODEL
from tests.attacks.picture_attacks import Pictures, Reals, columns_of
from tests.cheats import adding, rewritten
from tests.logged_world import Logged, LoggedRound, source
from tests.protocol_world import HEAD, MODEL, NOW, Owner, Round, World, contribution_of, floors, plan_of, secret

WORLD = World(6, "remains")
VICTIM, OTHERS = WORLD.owners[0], WORLD.owners[1:]


def cosine(a: NDArray[Any], b: NDArray[Any]) -> float:
    return float(a @ b / (np.linalg.norm(a) * np.linalg.norm(b)))


def place(told: Round, kind: str) -> slice:
    return slices(told.proposal.layout)[kind]


def summed(told: Round, said: dict[Owner, Contribution]) -> Totals:
    """A whole round, in which these owners say this."""
    for owner, one in said.items():
        told.send(told.commit(owner, one))
    totals = told.agree().take_release(*told.release()).totals
    assert totals is not None
    return totals


# ---- a state that is put back


def verdict_over(told: Round, owners: Sequence[Owner]) -> bytes:
    """Main's, over these: it needs nobody's leave to sign another one."""
    accepted = tuple(sorted(owner.id for owner in owners))
    verdict = Verdict(mh=told.a.mh, accepted=accepted, rejected=(), proceed=True, reason="ok", log_head=HEAD)
    return signing.sign(WORLD.main_key, VERDICT, verdict.encode()).encode()


def test_an_aggregator_that_is_put_back_with_the_rounds_key_releases_a_second_sum_and_both_together_one_device() -> (
    None
):
    """As ``test_main_cannot_isolate_a_device_with_two_verdicts``; but the aggregator has forgotten the first one."""
    told = Round(WORLD).open().collect()
    told.judge(told.close())
    copy, sums = told.a, []
    for owners in (WORLD.owners, OTHERS):
        told.a = copy
        told.take_verdict(verdict_over(told, owners))
        signed, vector = told.release()
        assert Release.decode(Signed.decode(signed).payload).mh == copy.mh
        sums.append(told.unmasked_of(vector, [owner.id for owner in owners]))
    assert np.array_equal(sums[0] - sums[1], told.reports[0].plain), "of the same round, so also what is drawn by lot"


@pytest.mark.parametrize("copy", ["with the round", "from before it"])
def test_a_main_server_that_holds_a_release_back_has_the_aggregator_that_is_put_back_call_its_sum_abandoned(
    copy: str,
) -> None:
    """The aggregator does as it should: it asks, and is shown an open round. Devices would send the same anew."""
    told = Round(WORLD).open().collect()
    before, sent = told.a, [report.record for report in told.reports]
    totals = told.agree().take_release(*told.release()).totals
    assert totals is not None, "main has the sum"
    known = before if copy == "with the round" else None
    shown = main_words(told.m).with_(close=b"", verdict=b"", release=b"", outcome=b"")
    step = aggregator_catches_up(WORLD.aggregator, known, shown)
    if known is not None:  # it goes on, and finds that it has no key any more
        step = WORLD.aggregator.abandon(step.record, "round-key-lost")
    told_devices = OutcomeForDevice(outcome=SignedOutcome.decode(step.reply))
    for owner, record in zip(WORLD.owners, sent, strict=True):
        end = owner.device.end(record, told_devices)
        assert end.result == Result.ABANDONED
    honest = aggregator_catches_up(WORLD.aggregator, known, main_words(told.m))
    assert honest.record.at is aggregator_round.State.RELEASED, "a main server that shows it gets nothing of the kind"


# ---- histories: two sums that differ in one device


def difference(first: Round, second: Round) -> NDArray[np.int64]:
    """Of the updates that main has of two rounds."""
    both = (told.unmasked(told.masked_sum())[place(told, "update")] for told in (first, second))
    return np.subtract(*both)


def feigned_failure(told: Round) -> None:
    """Main has the sum, says that the round has failed, and gets the aggregator's signature on that."""
    release, vector = told.release()
    told.take_release(release, vector)
    assert told.m.at is main_round.State.RELEASED, "nothing was wrong with it"
    root = Release.decode(Signed.decode(release).payload).set_root
    lie = Outcome(mh=told.a.mh, result=Result.FAILED.value, reason=SUM_NOT_USABLE, set_root=root).encode()
    told.a = WORLD.aggregator.finish(told.a, signing.sign(WORLD.main_key, OUTCOME_MAIN, lie).encode()).record
    told.m = told.m.with_(state=main_round.State.FAILED.value)


def test_a_failure_that_main_feigns_gets_it_a_second_sum_and_both_together_one_device() -> None:
    """Nobody but main can know that a sum was in order. Fresh rounding is all that differs: a step for each device."""
    first = Round(WORLD, most_pictures=60).open().collect().agree()
    before = first.unmasked(first.masked_sum())
    feigned_failure(first)
    again = [owner.id for owner in OTHERS]
    second = Round(WORLD, previous=first, cohort=again, round=2, attempt=1, most_pictures=60).open()
    second.collect(OTHERS).agree()
    found = (before - second.unmasked(second.masked_sum()))[place(first, "update")]
    own = first.reports[0].plain[place(first, "update")]
    assert np.abs(found - own).max() <= len(OTHERS)
    assert cosine(found, own) > 0.9999


def test_a_feigned_failure_costs_main_an_attempt_that_devices_and_operators_see() -> None:
    """Under the same attempt nobody answers; the next one is signed by both servers, logged, and capped by the day."""
    told = Round(WORLD).open().collect().agree()
    feigned_failure(told)
    answered = {answer_key(told.plan.hash, 0, MODEL): told.signed.hash}
    for attempt, sent_today, slug in ((0, 1, "answered-before"), (1, 500, "answers-per-day")):
        again = Round(WORLD, previous=told, round=2, attempt=attempt).open()
        with pytest.raises(Refused) as caught:
            VICTIM.device.check_manifest(
                again.signed, again.plan, MODEL, None, floors(), History(answered, sent_today), NOW
            )
        assert caught.value.slug == slug


@pytest.mark.parametrize("explained", [False, True])
def test_an_attempt_that_is_raised_after_a_release_gets_main_a_second_sum_and_the_audit_says_so(
    explained: bool,
) -> None:
    """No failure is needed: to devices and aggregator it looks like a roll-back to where the last round started.

    Unless main notes one, which its operator sees, the audit finds that nothing explains the attempt. In any case it
    tells that a plan and model are asked again whose sum was released.
    """
    logged = Logged(6, "remains").run()
    first, others = logged.rounds[0], logged.world.owners[1:]
    assert first.m.at is main_round.State.COMPLETE
    if explained:
        logged.main.append(LogEntry(CURRENT_MODEL, codec.encode([1, 0])))
    again = [owner.id for owner in others]
    second = LoggedRound(logged.world, cohort=again, previous=first, round=2, attempt=1).begin(logged)
    second.collect(others)
    second.settle().let_go().end_well()
    found, own = difference(first, second), first.reports[0].plain[place(first, "update")]
    assert np.abs(found - own).max() <= len(others)
    found_by_audit = logged.audit()
    assert [(finding.flaw, finding.against) for finding in found_by_audit] == (
        [] if explained else [(Flaw.AGAINST_RULES, Role.MAIN)]
    )
    audit = Audit(logged.trust, [source(Role.MAIN, logged.main.entries)])
    assert [told.best.asks_again for told in audit.rounds()] == [0, 1]


def test_a_plan_or_model_that_differs_in_one_bit_is_another_question_that_nothing_marks() -> None:
    """What is answered once is a hash. A weight of 10⁻⁶ more, or a model file with another version in its header."""
    first = Round(WORLD, most_pictures=60).open().collect().agree()
    own = first.reports[0].plain[place(first, "update")]
    first.complete()
    answered = {answer_key(first.plan.hash, 0, MODEL): first.signed.hash}
    again = [owner.id for owner in OTHERS]
    for plan, model in ((plan_of(l2_micro=101), MODEL), (first.plan, secret("equal weights, another version"))):
        second = Round(WORLD, plan, again, first, round=2, model=model, most_pictures=60).open()
        for owner in OTHERS:
            invitation, history = second.invitation(owner), History(answered, 1)
            owner.device.check_manifest(second.signed, plan, model, invitation, floors(), history, NOW)
            second.send(second.commit(owner))
        found = difference(first, second.agree())
        assert np.abs(found - own).max() <= len(OTHERS)


def test_counts_of_two_cohorts_that_differ_in_one_device_are_that_devices_counts() -> None:
    """Counts are exact and are not rounded: its confusion matrices on held-out pictures, cell by cell."""
    plan = plan_of(kind="measure")
    everybody, without = (Round(WORLD, plan).open().collect(owners).agree() for owners in (WORLD.owners, OTHERS))
    found = everybody.unmasked(everybody.masked_sum()) - without.unmasked(without.masked_sum())
    assert np.array_equal(found, everybody.reports[0].plain)


def sums_of(x: NDArray[Any], y: NDArray[Any], classes: int) -> Sums:
    """What a device with these training pictures, and as many to validate by, sends in a round of statistics."""
    own = analytic.collect(x, y, classes)
    return Sums.rounded(*((own.gram, own.sums, own.examples),) * 2)


def test_statistics_of_two_cohorts_that_differ_in_one_device_are_that_devices_to_the_last_bit() -> None:
    """Nothing is drawn for rounding to the nearest, so the others' numbers repeat; of those that a head is solved from
    main has one device's after two rounds, of which it calls the first one failed."""
    plan, draws = plan_of(head="analytic", kind="statistics"), np.random.default_rng(6)
    said = {
        owner: dataclasses.replace(
            contribution_of(plan, 0), update=None, sums=sums_of(draws.normal(size=(9, 3)), np.arange(9) % 2, 2)
        )
        for owner in WORLD.owners
    }
    first = Round(WORLD, plan).open()
    for owner in WORLD.owners:
        first.send(first.commit(owner, said[owner]))
    before = first.agree().unmasked(first.masked_sum())
    feigned_failure(first)
    second = Round(
        WORLD, plan, previous=first, cohort=[owner.id for owner in OTHERS], round=2, attempt=first.proposal.attempt + 1
    ).open()
    for owner in OTHERS:
        second.send(second.commit(owner, said[owner], seed="another rounding"))
    found = before - second.agree().unmasked(second.masked_sum())
    assert np.array_equal(found, first.reports[0].plain)
    victims = said[VICTIM].sums
    assert victims is not None
    assert np.array_equal(found[place(first, "statistics")], victims.gram)


def test_shards_of_several_rounds_give_main_every_update_that_repeats() -> None:
    """The sums of shards, drawn anew in each round, are equations for the updates. Rounding is fresh each time."""
    cohort = sorted(owner.id for owner in WORLD.owners)
    sets, sums = [], []
    for number in range(5):
        told = Round(WORLD, cohort=cohort, shards=3, most_pictures=60)
        told.secret = secret(f"draw {number}")
        told.open()
        for owner in WORLD.owners:
            told.send(told.commit(owner, seed=f"rounding {number}"))
        told.agree()
        shards = WORLD.main.shards(told.m.with_(release=told.release()[0]))
        for shard, masked in zip(shards, told.masked_sum().reshape(3, -1), strict=True):
            sets.append([owner.id in shard.devices for owner in WORLD.owners])
            sums.append(told.unmasked_of(masked, shard.devices)[place(told, "update")])
    found, *_ = np.linalg.lstsq(np.array(sets, float), np.array(sums, float), rcond=None)
    for update, sent in zip(found, told.reports, strict=True):
        assert np.abs(update - sent.plain[place(told, "update")]).max() <= len(WORLD.owners)


# ---- small cohorts, and company that is none


def test_all_other_members_and_main_know_the_last_one_exactly() -> None:
    told = Round(WORLD).open().collect().agree()
    total = told.unmasked(told.masked_sum())
    known = np.sum([sent.plain for sent in told.reports[1:]], axis=0)
    assert np.array_equal(total - known, told.reports[0].plain)


@pytest.mark.parametrize("other", [1, 7, 40])
def test_of_two_devices_each_owner_works_out_the_others_update_from_two_versions(other: int) -> None:
    """From the published model alone, and how many pictures the other has: that follows from the versions, too, see
    ``test_two_versions_tell_everybody_how_many_pictures_were_learned_from_and_which_class_is_held_back``."""
    told = Round(WORLD, plan_of(features=50), most_pictures=40).open()
    draws = np.random.default_rng(other)
    updates = draws.normal(size=(2, told.plan.parameters)) / 10
    said = [
        dataclasses.replace(contribution_of(told.plan, i), update=updates[i], examples=count)
        for i, count in enumerate((20, other))
    ]
    totals = summed(told, {WORLD.owners[0]: said[0], WORLD.owners[1]: said[1]})
    mean, own = totals.mean, updates[0]
    assert mean is not None
    guesses = [mean + 20 / count * (mean - own) for count in range(1, 41)]
    assert cosine(guesses[other - 1], updates[1]) > 0.999
    assert np.linalg.norm(guesses[other - 1] - updates[1]) < 0.05 * np.linalg.norm(updates[1])


def test_whoever_holds_the_root_and_main_surrounds_a_device_with_members_of_its_own() -> None:
    """The floor counts devices, and devices are what the root certifies. A careful device sees nothing amiss."""
    told = Round(WORLD, k_min=5, demo=False).open()
    nothing = dataclasses.replace(contribution_of(told.plan, 0), update=np.zeros(told.plan.parameters), examples=1)
    for sybil in OTHERS[:4]:
        told.send(told.commit(sybil, nothing))
    sent = told.commit(VICTIM)
    told.send(sent)
    total = told.agree().unmasked(told.masked_sum())
    assert np.array_equal(total[place(told, "update")], sent.plain[place(told, "update")])


def test_main_names_a_victim_and_four_members_that_collude_with_it_as_the_cohort() -> None:
    """Of twenty, with devices whose floor is five: whom the round is offered to, main says."""
    world = World(20, "twenty")
    few = world.owners[:5]
    told = Round(world, k_min=5, demo=False, cohort=sorted(owner.id for owner in few)).open().collect(few).agree()
    known = np.sum([sent.plain for sent in told.reports[1:]], axis=0)
    assert np.array_equal(told.unmasked(told.masked_sum()) - known, told.reports[0].plain)


# ---- what a sum of many still says: classes of one home, and models that are made to ask


@pytest.fixture(scope="module")
def theirs(tmp_path_factory: pytest.TempPathFactory) -> Pictures:
    """The pictures of homes."""
    return Pictures.drawn(tmp_path_factory.mktemp("backbone"), "homes")


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Pictures:
    """Some that the operator has."""
    return Pictures.drawn(tmp_path_factory.mktemp("backbone"), "attacker")


def round_over(theirs: Pictures, start: SoftmaxHead, homes: list[NDArray[np.intp]], name: str) -> Totals:
    """A round of homes with these pictures; what main learns."""
    world = World(len(homes), name)
    plan = plan_of(features=start.features, classes=("circle", "square", "triangle", "star"))
    told = Round(world, plan, k_min=len(homes), demo=False, most_pictures=40).open()
    said = {}
    for owner, which in zip(world.owners, homes, strict=True):
        update = theirs.update(start, which, f"{name} {owner.id.hex()}")
        said[owner] = dataclasses.replace(contribution_of(plan, 0), update=update, examples=which.size)
    return summed(told, said)


def nearest(theirs: Pictures, seen: Reals) -> tuple[int, float]:
    """The picture along which this points, and how exactly."""
    likeness = theirs.x @ seen / (np.linalg.norm(theirs.x, axis=1) * (np.linalg.norm(seen) + 1e-30))
    return int(np.argmax(likeness)), float(likeness.max())


def test_a_class_that_one_home_has_is_read_from_the_sum_of_thirty(theirs: Pictures) -> None:
    """Main alone, honest but curious, in the first round: the home's one picture of that class.

    All others pull the column of a class that they do not have in the same way, whichever it is; a class that nobody
    has shows by how much. What is left is the home's.
    """
    start, draws = zero_head(theirs.x.shape[1], 4), np.random.default_rng(4)
    alone = theirs.some((0,), 1, draws)
    homes = [np.concatenate([alone, theirs.some((1, 2), 4, draws)])]
    homes += [theirs.some((1, 2), 8, draws) for _ in range(29)]
    mean = round_over(theirs, start, homes, "thirty").mean
    assert mean is not None
    weight, _ = columns_of(mean)
    found, likeness = nearest(theirs, weight[:, 0] - weight[:, 3])
    assert found == alone[0]
    assert likeness > 0.99


def test_the_sum_of_squares_says_of_every_picture_whether_it_was_learned_from(theirs: Pictures) -> None:
    """Of fewer pictures than features ΣΦᵀΦ is the span of their features: who is in it was there, whoever has it.

    Main alone, honest but curious, in one round of ten devices, as many as a careful owner wants. It asks of each
    picture of a gallery of which half was there.
    """
    there = np.random.default_rng(7).permutation(len(theirs.x))[: len(theirs.x) // 2]
    world, features = World(10, "membership"), theirs.x.shape[1]
    plan = plan_of(head="analytic", kind="statistics", features=features)
    assert there.size < features
    told = Round(world, plan, k_min=10, demo=False).open()
    for owner, which in zip(world.owners, np.array_split(there, 10), strict=True):
        own = sums_of(theirs.x[which], np.zeros(which.size, np.int64), 2)
        told.send(told.commit(owner, dataclasses.replace(contribution_of(plan, 0), update=None, sums=own)))
    totals = told.agree().take_release(*told.release()).totals
    assert totals is not None
    assert totals.sums is not None
    matrix = np.empty((features, features))
    triangle.spread(totals.sums.parts[0][0], matrix)
    values, vectors = np.linalg.eigh(matrix)
    span = vectors[:, values > 1e-5]
    gallery = unit(theirs.x).astype(np.float64)
    outside = np.linalg.norm(gallery - (gallery @ span) @ span.T, axis=1)
    was_there = np.isin(np.arange(len(gallery)), there)
    assert outside[was_there].max() < 1e-6
    assert outside[~was_there].min() > 0.15


ASKED = 24
"""Rounds of the fishing main."""


def test_a_model_that_is_made_to_fish_brings_single_pictures_out_of_the_sum_of_ten(
    theirs: Pictures, own: Pictures
) -> None:
    """Main writes the model. One whose head fires for hardly any picture gets a sum in which hardly any picture is.

    After Wen et al. 2022 (arXiv:2202.00580) and Boenisch et al. 2023 (arXiv:2112.02918): a class that nobody has, with
    a threshold on one feature, set by the operator's own pictures so that about one of the cohort's is beyond it. All
    devices get the same model, both servers have signed its hash, and the rest of the protocol is followed.
    """
    draws, caught = np.random.default_rng(5), 0
    for number in range(ASKED):
        homes = [theirs.some((0, 1, 2), 2, draws) for _ in range(10)]
        held = np.concatenate(homes)
        feature = int(draws.integers(theirs.x.shape[1]))
        threshold = np.quantile(own.x[own.y != 3, feature], 1 - 1 / held.size)
        weight, bias = np.zeros((theirs.x.shape[1], 4), np.float32), np.zeros(4, np.float32)
        weight[feature, 3], bias[3] = 200, -200 * threshold
        mean = round_over(theirs, SoftmaxHead(weight, bias), homes, f"fish {number}").mean
        assert mean is not None
        seen = -columns_of(mean)[0][:, 3]
        seen[feature] = 0
        picture, likeness = nearest(theirs, seen)
        caught += likeness > 0.95 and picture in held
    assert caught >= ASKED // 8


def test_the_sum_of_an_honest_model_shows_no_picture_so_plainly(theirs: Pictures) -> None:
    """The control of the one above: the same homes, the same column, the head that a task begins with."""
    draws = np.random.default_rng(5)
    for number in range(4):
        homes = [theirs.some((0, 1, 2), 2, draws) for _ in range(10)]
        mean = round_over(theirs, zero_head(theirs.x.shape[1], 4), homes, f"honest {number}").mean
        assert mean is not None
        assert nearest(theirs, -columns_of(mean)[0][:, 3])[1] < 0.9


# ---- a server that lies, and two that collude


def test_the_aggregator_can_add_what_it_likes_to_the_sum_within_main_s_bounds() -> None:
    """Nobody checks its addition. It is bound as one cheating member is, and no tighter."""
    told = Round(WORLD, most_pictures=60).open().collect().agree()
    vector = unpack(told.masked_sum(), told.proposal.layout)
    honest = told.unmasked(pack(vector, told.proposal.layout))
    vector[place(told, "update")] += np.uint32(1000)
    step = told.take_release(*told.release(pack(vector, told.proposal.layout)))
    assert step.totals is not None
    assert step.totals.mean is not None
    unit = 60 * 10.0 / (told.proposal.layout[1].hi * step.totals.weight)  # type: ignore[operator]
    shifted = step.totals.mean / unit - honest[place(told, "update")]
    assert np.allclose(shifted, 1000)


def answer_to(told: Round, kind: str, number: int, most: int) -> tuple[bool, str]:
    """The aggregator asks whether a number of the sum is above ``most``: the sum fails if it is. And what it hears."""
    layout = told.proposal.layout
    vector, segment = unpack(told.masked_sum(), layout), next(one for one in layout if one.kind == kind)
    vector[place(told, kind).start + number] += np.uint32(len(told.reports) * segment.hi - most)
    outcome = Outcome.decode(Signed.decode(told.take_release(*told.release(pack(vector, layout))).reply).payload)
    return outcome.result == Result.FAILED, outcome.reason


QUESTIONS = [("weight", 0), ("counts", 0), ("counts", 7), ("supporters", 1), ("within_clip", 0)]


def test_the_aggregator_asks_of_a_sum_whether_a_part_of_its_choice_is_above_a_number_of_its_choice() -> None:
    """Yes or no for each sum and no more: whichever part it asks about, the word is the same (``sum-not-usable``)."""
    heard = set()
    for kind, number in QUESTIONS:
        known = Round(WORLD, most_pictures=60).open().collect().agree()
        value = int(known.unmasked(known.masked_sum())[place(known, kind)][number])
        for most in (value - 1, value):
            above, reason = answer_to(Round(WORLD, most_pictures=60).open().collect().agree(), kind, number, most)
            assert above == (value > most)
            heard.add((above, reason))
    assert heard == {(True, SUM_NOT_USABLE), (False, "ok")}


def test_the_aggregator_finds_an_exact_number_of_a_sum_that_repeats_by_halves() -> None:
    """Whose pictures: Σn out of 361 values in nine rounds, of which those that end released look like any other."""
    rounds, low, high = 0, 0, 6 * 60
    while low < high:
        rounds, middle = rounds + 1, (low + high) // 2
        above, _ = answer_to(Round(WORLD, most_pictures=60).open().collect().agree(), "weight", 0, middle)
        low, high = (middle + 1, high) if above else (low, middle)
    assert (low, rounds) == (sum(10 * (number + 1) for number in range(6)), 9)


@pytest.mark.parametrize("examples", [10, 11])
def test_with_members_of_its_own_the_aggregator_asks_about_one_device(examples: int) -> None:
    """Four that tell it what they sent; from all others but the victim it takes no report. Has that more than ten?"""
    told = Round(WORLD, k_min=5, most_pictures=60).open()
    told.send(told.commit(VICTIM, dataclasses.replace(contribution_of(told.plan, 0), examples=examples)))
    told.collect(OTHERS[:4]).agree()
    known = sum(int(sent.plain[place(told, "weight")][0]) for sent in told.reports[1:])
    assert answer_to(told, "weight", 0, known + 10)[0] == (examples > 10)


def asked_by_a_member(number_of: Callable[[int], Contribution], kind: str, number: int, most: int) -> bool:
    """The last member asks whether the others' number of the sum is above ``most``, by what it adds to its own report.

    What it hears is what every device hears: whether the round was released.
    """
    told = Round(WORLD, most_pictures=60).open()
    segment, place = next(one for one in told.proposal.layout if one.kind == kind), slices(told.proposal.layout)[kind]
    at = slice(place.start + number, place.start + number + 1)
    for index, owner in enumerate(WORLD.owners):
        sent = told.commit(owner, number_of(index))
        if owner is WORLD.owners[-1]:
            own = int(sent.plain[at][0])
            rewritten(told, sent, adding(at, len(WORLD.owners) * segment.hi - most - own))
        told.send(sent)
    step = told.agree().take_release(*told.release())
    told.finish(step.reply)
    ends = {told.end(sent).result for sent in told.reports}
    return ends == {Result.FAILED}


@pytest.mark.parametrize("has_it", [False, True])
@pytest.mark.parametrize("others", range(5))
def test_a_member_asks_of_a_sum_whether_the_one_home_in_doubt_has_a_class(others: int, has_it: bool) -> None:
    """It needs no server for that: it adds to its own report, and hears whether the round failed. It knows how many of
    the other homes have the class, or has made them up; one is in doubt."""

    def said(index: int) -> Contribution:
        has = np.array([True, has_it if index == 0 else 0 < index < others])
        return dataclasses.replace(contribution_of(plan_of(), index), supporters=has)

    known = max(others - 1, 0)
    assert asked_by_a_member(said, "supporters", 1, known) == has_it


@pytest.mark.parametrize("examples", [10, 11])
def test_a_member_asks_about_the_number_of_pictures_as_well(examples: int) -> None:
    def said(index: int) -> Contribution:
        return dataclasses.replace(contribution_of(plan_of(), index), examples=examples if index == 0 else 20)

    assert asked_by_a_member(said, "weight", 0, 4 * 20 + 10) == (examples > 10)


@pytest.mark.parametrize("counts", [(1, 2), (7, 40, 40), (20, 21, 22, 23), (3, 60, 60, 60, 60, 59)])
def test_two_versions_tell_everybody_how_many_pictures_were_learned_from_and_which_class_is_held_back(
    counts: tuple[int, ...],
) -> None:
    """FedAvg's new model less the old one is (W_max·C)/(Q·Σn) times whole numbers, and a manifest says all but Σn.

    Version files are float32; that leaves enough. A class that few have has the very row that it had; the others then
    differ by whole numbers.
    """
    plan = plan_of(features=30, classes=("a", "b", "c"))
    told = Round(WORLD, plan, most_pictures=60).open()
    draws = np.random.default_rng(8)
    for owner, examples in zip(WORLD.owners, counts, strict=False):
        update = draws.normal(size=plan.parameters) / 10
        told.send(told.commit(owner, dataclasses.replace(contribution_of(plan, 0), update=update, examples=examples)))
    totals = told.agree().take_release(*told.release()).totals
    assert totals is not None
    weight, bias = ((draws.normal(size=size) / 10).astype(np.float32) for size in ((30, 3), (3,)))
    before = SoftmaxHead(weight, bias)
    held_back = np.array([False, False, True])
    after = move(before, {}, AlgorithmChoice(), totals, held_back=HeldBack(held_back), members=6).head

    moved = after.weight.astype(np.float64) - before.weight
    assert (~moved.any(axis=0)).tolist() == held_back.tolist()
    layout = told.proposal.layout
    of_one_picture = clip_of(layout) / 1e6 * layout[0].hi / layout[1].hi
    whole = [
        (moved[:, 0] - moved[:, 1]) * count / of_one_picture for count in range(1, layout[0].hi * len(WORLD.owners) + 1)
    ]
    off = [float(np.abs(steps - np.rint(steps)).max()) for steps in whole]
    assert 1 + next(index for index, most in enumerate(off) if most < 0.1) == sum(counts)


def test_a_picture_of_a_class_that_is_held_back_shows_in_the_row_of_what_it_is_mistaken_for(theirs: Pictures) -> None:
    """Some rounds on, when pictures of other classes teach little more: whoever has two versions, and the picture.

    The head does not know the class, and takes the home's one picture of it for another one. So it pushes that one's
    row away, while ten homes' pictures, which the head knows, hardly move it.
    """
    draws = np.random.default_rng(9)
    known = Pictures(theirs.x[theirs.y != 0], theirs.y[theirs.y != 0]).head()
    others = np.array([False, True, True, True])
    start = SoftmaxHead(known.weight * others, known.bias * others)
    alone = theirs.some((0,), 1, draws)
    homes = [np.concatenate([alone, theirs.some((1, 2), 4, draws)])]
    homes += [theirs.some((1, 2, 3), 6, draws) for _ in range(9)]
    totals = round_over(theirs, start, homes, "some rounds on")
    after = move(start, {}, AlgorithmChoice(), totals, held_back=HeldBack(~others), members=10).head
    moved = after.weight.astype(np.float64) - start.weight
    assert not moved[:, 0].any()
    mistaken_for = int(start.logits(theirs.x[alone]).argmax())
    found, likeness = nearest(theirs, -moved[:, mistaken_for])
    assert found == alone[0]
    assert likeness > 0.9


@pytest.mark.parametrize("count", [2, 5, 30])
def test_the_next_manifest_tells_the_aggregator_how_many_updates_were_within_the_clip(count: int) -> None:
    """Exactly, in every round: the clip of the next one follows from it, and the aggregator signs that."""
    for within in range(count + 1):
        clip_micro = round(next_clip(10.0, within / count) * 1e6)
        clip = clip_of(WORLD.proposal(plan_of(), round=2, clip_micro=clip_micro).layout)
        assert round(count * (QUANTILE - math.log(clip / 10e6) / LEARNING_RATE)) == within


def test_two_servers_that_collude_read_every_report() -> None:
    """The assumption that all else rests on. One organisation that runs both can do this whenever it likes."""
    told = Round(WORLD).open().collect()
    for sent in told.reports:
        vector = unpack(sent.y, told.proposal.layout).copy()
        for label, sealed, private in (
            (MASK_MAIN, sent.envelope.sealed_main, told.main_round_key),
            (MASK_AGGREGATOR, sent.envelope.sealed_aggregator, told.aggregator_round_key),
        ):
            seed = open_seed(sealed, private, label, told.a.mh, sent.owner.id)
            subtract_mask(vector, mask_key(seed, label, told.a.mh, sent.owner.id))
        assert np.array_equal(centre(vector), sent.plain)


def test_either_server_can_leave_a_device_out_before_its_receipt_and_the_device_knows_only_that() -> None:
    """The aggregator does not answer it, or main does not offer it the round. The rest is a round like any other."""
    told = Round(WORLD).open()
    sent = told.commit(VICTIM)
    told.collect(OTHERS).agree().complete()
    answer = WORLD.main.outcome_for(told.m, VICTIM.id)
    assert answer is not None
    end = VICTIM.device.end(sent.record, answer)
    assert (end.result, end.was_included) == (Result.RELEASED, False)
