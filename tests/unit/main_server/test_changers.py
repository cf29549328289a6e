"""Who reports changes: what makes a round of them worth opening, and what it leaves."""

from __future__ import annotations

from fanlight.protocol.exchange import Change
from fanlight.services.main_server.changers import Changers

A, B, C, D = (bytes([number]) * 16 for number in range(4))


def said(**changes: Change) -> Changers:
    found, devices = Changers(), {"a": A, "b": B, "c": C, "d": D}
    for name, change in changes.items():
        found.say(devices[name], 1, change)
    return found


def test_only_members_that_are_there_and_mean_these_sums_count() -> None:
    changers = said(a=Change.JOINS, b=Change.LEAVES, c=Change.CHANGES)
    changers.say(D, 7, Change.JOINS)
    found = changers.of(1, {A, B, D}, lambda device: device != B)
    assert found == {A}
    assert changers.of(None, {A}, lambda _device: True) == set()
    assert changers.many == 4
    assert dict(changers.counts({A, B, C})) == {Change.JOINS: 1, Change.CHANGES: 1, Change.LEAVES: 1}


def test_it_is_news_only_once_and_can_be_taken_back() -> None:
    changers = Changers()
    assert changers.say(A, 1, Change.CHANGES)
    assert not changers.say(A, 1, Change.CHANGES)
    assert changers.say(A, 1, Change.LEAVES)
    assert changers.say(A, 1, None)
    assert not changers.say(A, 1, None)
    assert changers.many == 0
    changers.say(A, 1, Change.JOINS)
    changers.say(B, 1, Change.JOINS)
    changers.forget(A)
    assert changers.many == 1
    changers.begin_anew()
    assert changers.many == 0


def test_how_many_are_left_at_least() -> None:
    changers = said(a=Change.JOINS, b=Change.LEAVES, c=Change.CHANGES)
    assert changers.left_after(5, 1, [A, B, C]) == 5
    assert changers.left_after(5, 1, [A]) == 6
    assert changers.left_after(5, 1, [B]) == 4
    assert changers.left_after(5, 1, [D]) == 4, "of whom nothing is known may leave"
    assert changers.left_after(5, 2, [A, C]) == 3, "what was said of other sums says nothing"
