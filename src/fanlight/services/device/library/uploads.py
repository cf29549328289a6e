"""What became of the last uploads, for the page that says so.

A browser sends a large upload in several requests, under one name that the page gave it; what became of them is added
up here.  It is kept in memory only: nothing but that page depends on it.
"""

from __future__ import annotations

import re
import secrets
import threading
from collections import OrderedDict

from fanlight.services.device.library.records import Added

KEPT = 16
"""Uploads that are remembered."""
_NAME = re.compile(r"[0-9a-f]{32}")


class Uploads:
    """The last uploads by their names of 32 hexadecimal digits."""

    def __init__(self) -> None:
        self._found: OrderedDict[str, Added] = OrderedDict()
        self._changing = threading.Lock()

    @staticmethod
    def new_name() -> str:
        """A name for an upload that is about to begin."""
        return secrets.token_hex(16)

    def note(self, name: str, added: Added) -> tuple[str, Added]:
        """Remember what became of one request; the upload's name, a new one if it had none, and all of it so far."""
        if not _NAME.fullmatch(name):
            name = self.new_name()
        with self._changing:
            total = self._found.pop(name, Added(0)) + added
            self._found[name] = total
            if len(self._found) > KEPT:
                self._found.popitem(last=False)
        return name, total

    def get(self, name: str) -> Added | None:
        """What became of an upload so far; None if it is forgotten or never was."""
        return self._found.get(name)
