"""Hashes in the paths of protocol routes."""

from __future__ import annotations

import re

from fanlight.errors import MalformedMessage

_HASH = re.compile(r"[0-9a-f]{64}")


def hash_in_path(text: str) -> bytes:
    """The 32 bytes of 64 lower-case hexadecimal digits.

    Raises:
        MalformedMessage: anything else.
    """
    if not _HASH.fullmatch(text):
        raise MalformedMessage("A hash is 64 hexadecimal digits.")
    return bytes.fromhex(text)
