"""What the owner should know of the pictures before training from them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from fanlight.services.device.library.conditions import TINY_BELOW
from fanlight.services.device.library.layout import normal
from fanlight.services.device.library.records import Filter, Finding, Problem, State

FEW = 10
"""Pictures of a class under which it is said to have few."""
IMBALANCE = 3
"""The largest class may have this many times the pictures of the smallest."""


def of_classes(labels: dict[str, int], classes: Sequence[str]) -> Iterator[Finding]:
    """Too few of a class, too different numbers, classes that the task does not know."""
    known = [normal(name) for name in classes] or sorted(labels)
    for name in sorted(set(labels) - set(known)):
        text = f"The task does not know the class {name}; nothing can be learned until its folder is renamed or moved."
        yield Finding("unknown-class", text, labels[name], Filter(State.LABELLED, name))
    here = {name: labels.get(name, 0) for name in known}
    if not any(here.values()):
        return
    for name, count in here.items():
        if 0 < count < FEW:
            pictures = "picture" if count == 1 else "pictures"
            text = f"{name} has only {count} {pictures}. With {FEW} or more, it is learned far better."
            yield Finding("few", text, count, Filter(State.LABELLED, name))
    present = {name: count for name, count in here.items() if count}
    most, least = max(present, key=present.__getitem__), min(present, key=present.__getitem__)
    if present[most] > IMBALANCE * present[least]:
        text = f"{most} has {present[most]:,} pictures, {least} only {present[least]:,}. Add pictures of {least}."
        yield Finding("imbalance", text, present[least], Filter(State.LABELLED, least))


def of_untested(classes: Sequence[tuple[str, int]]) -> Iterator[Finding]:
    """Classes with several pictures, so many of them, of which none can be a test: they look alike."""
    for name, count in classes:
        text = f"The pictures of {name} look too alike to keep one apart as a test. Add some of another day."
        yield Finding("untested", text, count, Filter(State.LABELLED, name))


def of_pictures(blurred: int, tiny: int, duplicates: int, unreadable: int) -> Iterator[Finding]:
    """What may be wrong with pictures."""
    if blurred:
        text = f"{_are(blurred)} blurred. Mark as not usable what you could not tell apart yourself."
        yield Finding(Problem.BLURRED, text, blurred, Filter(problem=Problem.BLURRED))
    if tiny:
        text = f"{_are(tiny)} smaller than {TINY_BELOW} pixels."
        yield Finding(Problem.TINY, text, tiny, Filter(problem=Problem.TINY))
    if duplicates:
        text = f"{_look(duplicates)} like another one. Look whether they are copies: those teach nothing new."
        yield Finding(Problem.DUPLICATES, text, duplicates, Filter(problem=Problem.DUPLICATES))
    if unreadable:
        files = "1 file is" if unreadable == 1 else f"{unreadable:,} files are"
        yield Finding("unreadable", f"{files} damaged or no picture, and left out.", unreadable, None)


def _are(count: int) -> str:
    return "1 picture is" if count == 1 else f"{count:,} pictures are"


def _look(count: int) -> str:
    return "1 picture looks" if count == 1 else f"{count:,} pictures look"
