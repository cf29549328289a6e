"""The rules of ``learning.split``, for any pictures, groups and arrivals."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from fanlight.learning.split import PARTS, split, split_points

CONTENT = st.text("0123456789abcdef", min_size=6, max_size=6)
Groups = list[list[str]]


@st.composite
def labelled(draw: st.DrawFn) -> tuple[dict[str, int], Groups]:
    """Pictures of up to three classes, and groups; most of a group have one class."""
    contents = sorted(draw(st.sets(CONTENT, min_size=1, max_size=40)))
    drawn = draw(st.permutations(contents))
    groups: Groups = []
    while len(drawn) > 1 and draw(st.booleans()):
        count = draw(st.integers(2, min(len(drawn), 9)))
        groups.append(drawn[:count])
        drawn = drawn[count:]
    labels = {content: draw(st.integers(0, 2)) for content in contents}
    for group in groups:
        if draw(st.integers(0, 3)):
            labels |= dict.fromkeys(group, labels[group[0]])
    return labels, groups


def sides(parts: dict[str, str], group: Sequence[str]) -> set[str]:
    return {parts[content] for content in group if content in parts}


@given(labelled())
def test_no_group_is_on_two_sides_and_every_class_trains(pictures: tuple[dict[str, int], Groups]) -> None:
    labels, groups = pictures
    parts = split(labels, groups)
    assert parts.keys() == labels.keys()
    assert all(len(sides(parts, group)) == 1 for group in groups)
    assert {labels[content] for content, part in parts.items() if part == "train"} == set(labels.values())


@given(labelled())
def test_shares_are_off_by_less_than_twice_the_largest_group(pictures: tuple[dict[str, int], Groups]) -> None:
    labels, groups = dict.fromkeys(pictures[0], 0), pictures[1]
    parts, largest = Counter(split(labels, groups).values()), max(map(len, groups), default=1)
    train_end, valid_end = split_points(len(labels))
    wanted = {"train": train_end, "valid": valid_end - train_end, "test": len(labels) - valid_end}
    assert all(abs(parts[part] - wanted[part]) <= 2 * (largest - 1) for part in PARTS)


def in_order(contents: list[str]) -> tuple[list[str], list[str], list[str]]:
    train_end, valid_end = split_points(len(contents))
    return contents[:train_end], contents[train_end:valid_end], contents[valid_end:]


@given(st.dictionaries(CONTENT, st.integers(0, 2), max_size=60))
def test_without_groups_it_is_each_class_in_the_order_of_hashes(labels: dict[str, int]) -> None:
    wanted = {
        content: part
        for label in range(3)
        for part, some in zip(PARTS, in_order(sorted(c for c in labels if labels[c] == label)), strict=True)
        for content in some
    }
    assert split(labels, []) == wanted


@given(labelled(), st.randoms(use_true_random=False), st.integers(1, 6))
def test_a_picture_keeps_its_part_when_others_come(
    pictures: tuple[dict[str, int], Groups], chance: st.DataObject, times: int
) -> None:
    """Whatever comes together; but not where the class of a newcomer has nothing else to train with."""
    labels, groups = pictures
    order = list(labels)
    chance.shuffle(order)  # type: ignore[attr-defined]
    here: dict[str, int] = {}
    parts: dict[str, str] = {}
    for step in range(times):
        here |= {content: labels[content] for content in order[step::times]}
        before, parts = parts, split(here, groups, parts)
        assert all(len(sides(parts, group)) <= 1 for group in groups)
        needed = [
            group for group in groups if sides(parts, group) == {"train"} and is_needed(group, here, parts, before)
        ]
        moved = {content for content in before if parts[content] != before[content]}
        assert moved <= {content for group in needed for content in group}, "a newcomer goes to the side of its group"
        for group in groups:
            if sides(before, group) and group not in needed:
                assert sides(parts, group) == sides(before, group)


def is_needed(group: list[str], here: dict[str, int], parts: dict[str, str], before: dict[str, str]) -> bool:
    """Does the class of one of its newcomers train with nothing but this group?"""
    elsewhere = {here[content] for content, part in parts.items() if part == "train" and content not in group}
    return any(here[content] not in elsewhere for content in group if content in here and content not in before)


def test_a_class_whose_first_picture_looks_like_one_that_tests_trains_with_both() -> None:
    """Found by the test above: no group on two sides, and every class trains; so the older picture moves."""
    before = {"000000": "train", "000001": "test", "000002": "valid"}
    labels = {"000000": 1, "000001": 1, "000002": 1, "000003": 0}
    alike = [["000001", "000003"]]
    first = split(labels, alike, before)
    assert first == {**before, "000001": "train", "000003": "train"}
    assert split({**labels, "000004": 0, "000005": 0}, alike, first).items() >= first.items(), "and it stays there"


def test_a_newcomer_that_joins_what_was_apart_makes_it_one_in_the_earlier_part() -> None:
    apart = split(dict.fromkeys("abcdefghij", 0), [])
    assert (apart["a"], apart["j"]) == ("train", "test")
    joined = split(dict.fromkeys("abcdefghijk", 0), [["a", "j", "k"]], apart)
    assert {joined[content] for content in "ajk"} == {"train"}
    assert {content: joined[content] for content in "bcdefghi"} == {content: apart[content] for content in "bcdefghi"}


def test_a_class_that_has_lost_all_its_training_pictures_gets_one_back() -> None:
    before = {"a": "valid", "b": "test", "c": "test", "d": "train"}
    assert split({"a": 0, "b": 0, "c": 0, "d": 1}, [["b", "c"]], before) == {**before, "a": "train"}


def test_a_burst_alone_is_all_for_training() -> None:
    assert set(split(dict.fromkeys("abcdef", 0), ["abcdef"]).values()) == {"train"}
