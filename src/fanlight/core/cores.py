"""Work on long vectors in threads, one for each core that this process may use.

NumPy, hashing and ciphers let other threads run while they work on a piece of some hundred kilobytes, so pieces of one
vector can be worked on at once. A vector of one piece is worked on where it is: a thread would cost more than it saves.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")


def usable_cores() -> int:
    """How many cores this process may use, at least 1."""
    if hasattr(os, "sched_getaffinity"):  # not on macOS
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def on_all_cores(work: Callable[[T], R], items: Sequence[T]) -> list[R]:
    """What ``work`` returns for each of the items, in their order; it is called from several threads at once.

    Raises:
        whatever ``work`` raises: of several, what it raised for the first item.
    """
    threads = min(usable_cores(), len(items))
    if threads < 2:
        return [work(item) for item in items]
    with ThreadPoolExecutor(threads, thread_name_prefix="fanlight-core") as pool:
        return list(pool.map(work, items))
