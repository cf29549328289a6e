"""One thread for linear algebra, in this process and in those that it forks.

As many workers as cores, each with as many threads as cores, would be in each other's way. And a product that is split
among threads may be rounded otherwise than one that is not: results must not depend on the machine.
"""

from __future__ import annotations

import ctypes
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

from fanlight.learning.module_training import one_thread

_PREFIXES = ("scipy_openblas", "openblas")
_SUFFIXES = ("64_", "")
_LIBRARY = re.compile(r"\S*openblas\S*\.so\S*")


@contextmanager
def single_threaded(*, modules: bool = False) -> Iterator[None]:
    """Hold NumPy's OpenBLAS to one thread; where there is none, or it cannot be found, nothing happens.

    Args:
        modules: PyTorch, too.
    """
    controls = [found for path in _libraries() if (found := _controls(path)) is not None]
    before = [ask() for ask, _ in controls]
    for _, tell in controls:
        tell(1)
    try:
        with one_thread() if modules else nullcontext():
            yield
    finally:
        for (_, tell), threads in zip(controls, before, strict=True):
            tell(threads)


def _libraries() -> list[str]:
    try:
        mapped = Path("/proc/self/maps").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return []
    return sorted(set(_LIBRARY.findall(mapped)))


def _controls(path: str) -> tuple[Callable[[], int], Callable[[int], None]] | None:
    try:
        library = ctypes.CDLL(path)
    except OSError:
        return None
    for prefix in _PREFIXES:
        for suffix in _SUFFIXES:
            ask = getattr(library, f"{prefix}_get_num_threads{suffix}", None)
            tell = getattr(library, f"{prefix}_set_num_threads{suffix}", None)
            if ask is not None and tell is not None:
                return ask, tell
    return None
