"""A server that was put back from an older copy: what it takes over from the other one, and what it believes nobody."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from fanlight.errors import NotAuthentic
from fanlight.protocol import aggregator_round, main_round, signing
from fanlight.protocol.catching_up import (
    RESTORED,
    aggregator_catches_up,
    aggregator_words,
    main_catches_up,
    main_words,
)
from fanlight.protocol.closing import CLOSE, SignedOutcome, stored_close, stored_outcome
from fanlight.protocol.exchange import Words
from fanlight.protocol.manifest import SignedManifest
from tests.protocol_world import Round, World


@dataclass
class Copies:
    """A round and both servers' records of it, after each of its steps."""

    told: Round
    main: dict[str, main_round.Record]
    aggregator: dict[str, aggregator_round.Record]


def whole(world: World, **changes: Any) -> Copies:
    told = Round(world, **changes)
    offered = told.offer().record
    told.open()
    copies = Copies(told, {}, {"offered": offered})

    def keep(step: str) -> None:
        copies.main[step], copies.aggregator[step] = told.m, told.a

    keep("open")
    told.collect().agree()
    keep("agreed")
    release, vector = told.release()
    keep("released")
    outcome = told.take_release(release, vector).reply
    keep("summed")
    told.finish(outcome)
    told.m = world.main.publish(told.m).record
    keep("over")
    return copies


@pytest.fixture(scope="module")
def copies() -> Copies:
    return whole(World(3))


@pytest.mark.parametrize("copy", [None, "offered", "open", "agreed", "released"])
def test_the_aggregator_takes_over_how_a_round_ended(copies: Copies, copy: str | None) -> None:
    machine, before = copies.told.world.aggregator, copies.aggregator[copy] if copy else None
    step = aggregator_catches_up(machine, before, main_words(copies.main["over"]))
    now = copies.aggregator["over"]
    assert step.record.at is now.at
    parts = ("mh", "manifest", "main_signature", "close", "verdict", "release", "outcome")
    assert all(getattr(step.record, part) == getattr(now, part) for part in parts)
    assert step.entries[0].type == RESTORED


@pytest.mark.parametrize("copy", [None, "offered", "open", "agreed"])
def test_what_it_had_released_it_gives_again_and_does_not_give_up(copies: Copies, copy: str | None) -> None:
    machine, before = copies.told.world.aggregator, copies.aggregator[copy] if copy else None
    step = aggregator_catches_up(machine, before, main_words(copies.main["summed"]))
    assert step.record.at is aggregator_round.State.RELEASED
    assert step.record.release == copies.aggregator["released"].release
    assert machine.finish(step.record, copies.main["summed"].signed_outcome).reply == copies.aggregator["over"].outcome


@pytest.mark.parametrize("knows", ["open", "agreed"])
def test_a_round_that_it_does_not_know_and_main_has_no_sum_of_is_given_up(copies: Copies, knows: str) -> None:
    step = aggregator_catches_up(copies.told.world.aggregator, None, main_words(copies.main[knows]))
    assert step.record.at is aggregator_round.State.ABANDONED
    assert stored_outcome(step.record.outcome).reason == RESTORED
    main = copies.told.world.main.abandoned(copies.main[knows], step.reply)
    assert main.record.at is main_round.State.ABANDONED


@pytest.mark.parametrize("copy", ["offered", "open"])
def test_a_close_that_it_has_forgotten_is_not_made_again(copies: Copies, copy: str) -> None:
    step = aggregator_catches_up(
        copies.told.world.aggregator, copies.aggregator[copy], main_words(copies.main["agreed"])
    )
    assert step.record.at is aggregator_round.State.ABANDONED
    assert step.record.close == copies.main["agreed"].close


@pytest.mark.parametrize("step", ["open", "agreed", "released", "over"])
def test_who_has_forgotten_nothing_changes_nothing(copies: Copies, step: str) -> None:
    world, theirs = copies.told.world, copies.aggregator[step]
    for ours in copies.main.values():
        pairs = (ours.close, theirs.close), (ours.release, theirs.release), (ours.outcome, theirs.outcome)
        if all(word in (b"", known) for word, known in pairs):
            assert aggregator_catches_up(world.aggregator, theirs, main_words(ours)).record == theirs
    assert main_catches_up(world.main, copies.main[step], aggregator_words(theirs)).entries == ()


@pytest.mark.parametrize("copy", [None, "open", "agreed"])
def test_main_takes_over_that_a_round_ended_but_its_sum_is_lost(copies: Copies, copy: str | None) -> None:
    machine, before = copies.told.world.main, copies.main[copy] if copy else None
    step = main_catches_up(machine, before, aggregator_words(copies.aggregator["over"]))
    now = copies.main["over"]
    assert step.record.at is main_round.State.FAILED
    assert step.totals is None
    parts = ("mh", "manifest", "close", "verdict", "release", "signed_outcome", "outcome")
    assert all(getattr(step.record, part) == getattr(now, part) for part in parts)
    device = copies.told.world.owners[0].id
    assert machine.outcome_for(step.record, device) == machine.outcome_for(now, device), "devices are told the same"


def test_main_takes_its_verdict_over_and_the_release_after_it(copies: Copies) -> None:
    machine, told = copies.told.world.main, copies.told
    step = main_catches_up(machine, copies.main["open"], aggregator_words(copies.aggregator["released"]))
    assert step.record.at is main_round.State.JUDGED
    assert step.record.verdict == copies.main["agreed"].verdict
    taken = machine.take_release(
        step.record, copies.aggregator["released"].release, told.masked_sum(), told.main_round_key
    )
    assert taken.totals is not None


def test_a_round_that_is_over_stays_as_it_is(copies: Copies) -> None:
    """The other server's word on how it ended is given already, whatever it shows now."""
    world = copies.told.world
    given_up = world.aggregator.abandon(copies.aggregator["open"], "restored")
    told = main_words(copies.main["summed"])
    assert aggregator_catches_up(world.aggregator, given_up.record, told).record == given_up.record
    over = world.main.abandoned(copies.main["open"], given_up.reply).record
    assert main_catches_up(world.main, over, aggregator_words(copies.aggregator["released"])).record == over


def forged(world: World, words: Words, part: str) -> dict[str, Any]:
    """The part as the server that tells it could make it up: with its own key, for want of the other's."""
    if part == "manifest":
        key, signed = world.main_key, SignedManifest.decode(words.manifest)
        return {
            part: signed.with_(
                aggregator_signature=signing.sign(key, "manifest-agg", signed.payload).signature
            ).encode()
        }
    payload = stored_close(words.close).with_(reports=()).encode()
    return {part: signing.sign(world.main_key, CLOSE, payload).encode()}


@pytest.mark.parametrize("part", ["manifest", "close"])
def test_the_aggregator_believes_nothing_but_its_own_signature(copies: Copies, part: str) -> None:
    world, words = copies.told.world, main_words(copies.main["agreed"])
    with pytest.raises(NotAuthentic):
        aggregator_catches_up(world.aggregator, None, words.with_(**forged(world, words, part)))


def test_main_believes_no_outcome_that_it_has_not_signed(copies: Copies) -> None:
    world, words = copies.told.world, aggregator_words(copies.aggregator["over"])
    bare = SignedOutcome.decode(words.outcome).with_(main_signature=None).encode()
    with pytest.raises(NotAuthentic):
        main_catches_up(world.main, copies.main["agreed"], words.with_(outcome=bare))


def test_words_of_another_round_are_refused(copies: Copies) -> None:
    world = copies.told.world
    other = whole(world, window_s=601).main["over"]
    words = main_words(copies.main["open"]).with_(close=other.close)
    with pytest.raises(NotAuthentic):
        aggregator_catches_up(world.aggregator, None, words)
