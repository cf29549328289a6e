"""File names as a terminal may see them."""

from __future__ import annotations


def printable(text: str) -> str:
    r"""``text`` in one line, with what cannot be printed (escape sequences, line ends, stray bytes) as ``\x1b``."""
    return "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape").decode("ascii") for letter in text
    )
