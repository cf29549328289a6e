"""Names and messages from outside, as a terminal, a log or a document may see them."""

from __future__ import annotations


def printable(text: str, keep: str = "") -> str:
    r"""``text`` with what cannot be printed as ``\x1b``: escape sequences, line ends, turned text, stray bytes.

    Args:
        text: from anybody.
        keep: unprintable letters that may stay, such as line ends where several lines are meant.
    """
    if text.isprintable():  # as nearly all are
        return text
    return "".join(
        letter
        if letter.isprintable() or letter in keep
        else letter.encode("unicode_escape", "backslashreplace").decode("ascii")
        for letter in text
    )
