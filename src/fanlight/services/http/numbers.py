"""Numbers that strangers write into queries and header fields of plain routes."""

from __future__ import annotations

from fanlight.errors import MalformedMessage

LARGEST = (1 << 63) - 1


def whole_number(name: str, text: str) -> int:
    """The number that ``text`` is, in [0, 2⁶³).

    Raises:
        MalformedMessage: it is none; the message says which (``name``).
    """
    if text.isascii() and text.isdigit() and len(text) < 20 and int(text) <= LARGEST:
        return int(text)
    raise MalformedMessage(f"{name} is not a whole number from 0 to {LARGEST}.")


def seconds(name: str, text: str, most: float) -> float:
    """The number of seconds that ``text`` is, in [0, ``most``]; errors as in ``whole_number``."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if 0 <= value <= most:  # false of NaN
        return value
    raise MalformedMessage(f"{name} is not a number of seconds from 0 to {most:g}.")
