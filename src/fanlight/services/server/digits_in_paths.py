"""Hashes and ids of devices in the paths of protocol routes, in hexadecimal digits."""

from __future__ import annotations

import re

from fanlight.errors import MalformedMessage

_HASH = re.compile(r"[0-9a-f]{64}")
_DEVICE = re.compile(r"[0-9a-f]{32}")


def hash_in_path(text: str) -> bytes:
    """The 32 bytes of 64 lower-case hexadecimal digits.

    Raises:
        MalformedMessage: anything else.
    """
    return _bytes(_HASH, text, "A hash is 64 hexadecimal digits.")


def device_in_path(text: str) -> bytes:
    """A device's id: the 16 bytes of 32 lower-case hexadecimal digits; errors as in ``hash_in_path``."""
    return _bytes(_DEVICE, text, "A device's id is 32 hexadecimal digits.")


def _bytes(form: re.Pattern[str], text: str, rule: str) -> bytes:
    if not form.fullmatch(text):
        raise MalformedMessage(rule)
    return bytes.fromhex(text)
