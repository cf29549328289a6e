"""Shares as people read them: one way for pages, sentences, documents and terminals."""

from __future__ import annotations


def percent(fraction: float | None) -> str:
    """A fraction in [0, 1] as ``93.4 %``; a dash for None."""
    return "–" if fraction is None else f"{100 * fraction:.1f} %"
