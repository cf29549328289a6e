"""Which pictures of a class are for training, validation and testing.

A person takes ten pictures of a cat in a row. If some are learned from and others are test pictures, the figure says
how well the model knows these ten, not cats. So pictures that look alike (``alike``) form a group, and a group is on
one side.

Rules for n pictures of one class:

1. They are wanted 3n/5 : n/5 : n/5 (``split_points``), at least one for training. One picture trains, two give one to
   training and one to testing, three give one to each.
2. A group has one part. Where groups are, the shares can only be approximated: what is dealt out at once is off by less
   than twice the largest group.
3. *A picture keeps its part* when others come: who is new goes where some are missing, and to its group if that has a
   part. But for rule 4, only where a newcomer joins two groups of different parts, these become one, in the earlier of
   train, valid, test: so no picture is tested with that something like it was learned from.
4. A class of which nothing is left to train with gets its smallest group back for that; so does one whose first picture
   looks like another class's picture that validates or tests: both train from then on.
5. What is new at once is dealt out by size of the group, then by content: names, dates and order on disk change
   nothing. Without groups, the first 3n/5 by content hash train, those up to 4n/5 validate, and the rest test.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import Final

PARTS: Final = ("train", "valid", "test")

Room = Counter[tuple[Hashable, str]]
"""How many pictures of a class a part still wants."""


def split_points(count: int) -> tuple[int, int]:
    """Where validation and testing begin among ``count`` pictures: 60 %, 20 %, 20 %."""
    train_end = max(1, 3 * count // 5) if count else 0
    return train_end, max(train_end, 4 * count // 5)


def split(
    labels: Mapping[str, Hashable], groups: Iterable[Sequence[str]], before: Mapping[str, str] | None = None
) -> dict[str, str]:
    """The part of each picture.

    Args:
        labels: class by content hash, of n pictures.
        groups: content hashes of pictures that look alike; each is in one group at most. Others may be among them.
        before: parts that pictures had, of these and others.

    Returns:
        ``train``, ``valid`` or ``test`` by content hash, n of them.
    """
    room, known = _room(labels), before or {}
    parts: dict[str, str] = {}
    fresh: list[list[str]] = []
    units = _units(labels, groups)
    for unit in units:
        had = [known[content] for content in unit if content in known]
        if had:
            _put(unit, min(had, key=PARTS.index), labels, room, parts)
        else:
            fresh.append(unit)
    for unit in sorted(fresh, key=lambda unit: (-len(unit), unit)):
        _put(unit, _where(Counter(labels[content] for content in unit), room), labels, room, parts)
    _let_train(units, labels, parts)
    return parts


def _room(labels: Mapping[str, Hashable]) -> Room:
    room: Room = Counter()
    for label, count in Counter(labels.values()).items():
        train_end, valid_end = split_points(count)
        room.update(
            {(label, "train"): train_end, (label, "valid"): valid_end - train_end, (label, "test"): count - valid_end}
        )
    return room


def _units(labels: Mapping[str, Hashable], groups: Iterable[Sequence[str]]) -> list[list[str]]:
    """The groups, as far as they are among the pictures, and everybody else alone; each in order."""
    grouped = [sorted(content for content in group if content in labels) for group in groups]
    together = {content for group in grouped for content in group}
    return [group for group in grouped if group] + [[content] for content in labels if content not in together]


def _put(unit: Sequence[str], part: str, labels: Mapping[str, Hashable], room: Room, parts: dict[str, str]) -> None:
    for content in unit:
        parts[content] = part
        room[labels[content], part] -= 1


def _where(needed: Mapping[Hashable, int], room: Room) -> str:
    """The first part with room for so many of each class; without one, that with the most."""
    for part in PARTS:
        if all(room[label, part] >= count for label, count in needed.items()):
            return part
    return max(PARTS, key=lambda part: sum(room[label, part] for label in needed))


def _let_train(units: Sequence[Sequence[str]], labels: Mapping[str, Hashable], parts: dict[str, str]) -> None:
    for label in set(labels.values()) - {labels[content] for content, part in parts.items() if part == "train"}:
        own = [unit for unit in units if any(labels[content] == label for content in unit)]
        chosen = min(own, key=lambda unit: (len(unit), PARTS.index(parts[unit[0]]), unit))
        parts.update(dict.fromkeys(chosen, "train"))
