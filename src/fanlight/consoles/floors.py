"""How few devices a sum may have, in words: what this device's owner allows, and what a round asks for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def floor_words(floors: Mapping[str, Any]) -> str:
    """The owner's floor, from ``status.status``'s ``floors``."""
    normal = f"sums of {floors['k_min']:,} devices or more"
    return f"{normal}; in a demonstration, of 2" if floors["accept_demo"] else f"{normal}; no demonstrations"


def round_words(offered: Mapping[str, Any] | None) -> str:
    """What the open round asks for, from ``status.status``'s ``round``; None: there is none."""
    if offered is None:
        return "none now; what it asks for stands here when one opens"
    kind = ", a demonstration," if offered["demo"] else ""
    return f"round {offered['round']}{kind} sums {offered['k_min']:,} devices or more"
