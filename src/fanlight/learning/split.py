"""Which pictures of a class are for training, validation and testing.

Rules for n pictures of one class, put in order by content hash (or drawn at random):

1. The first floor(3n/5), but at least one, train; those up to floor(4n/5) validate; the rest test.
2. One picture trains, two give one to training and one to testing, three give one to each: a class has test pictures
   only when it was given nothing else.
3. Both borders move by at most one place when a picture is added, and validation lies between training and testing.
   So a new picture changes the part of at most two others, and names, dates and order on disk change nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

ItemT = TypeVar("ItemT")


def split_points(count: int) -> tuple[int, int]:
    """Where validation and testing begin among ``count`` pictures: 60 %, 20 %, 20 %."""
    train_end = max(1, 3 * count // 5) if count else 0
    return train_end, max(train_end, 4 * count // 5)


def split_in_order(items: Sequence[ItemT]) -> tuple[Sequence[ItemT], Sequence[ItemT], Sequence[ItemT]]:
    """Cut an ordered sequence into the pictures for training, validation and testing."""
    train_end, valid_end = split_points(len(items))
    return items[:train_end], items[train_end:valid_end], items[valid_end:]
