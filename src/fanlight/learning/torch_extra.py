"""Is the extra ``torch`` installed? Asking does not import it."""

from __future__ import annotations

from importlib.util import find_spec


def has_torch() -> bool:
    """Can a backbone learn here?"""
    return find_spec("torch") is not None
