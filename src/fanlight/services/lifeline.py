"""A process that ends with the one that started it, however that ended: its standard input is a pipe from there."""

from __future__ import annotations

import os
import signal
import threading
from typing import Final

END_WITH_STDIN: Final = "FANLIGHT_END_WITH_STDIN"
"""With this variable set, a role or a simulation ends when its standard input does."""


def end_with_stdin_if_asked() -> None:
    """Watch standard input from a thread of its own, if the variable is set."""
    if os.environ.get(END_WITH_STDIN):
        threading.Thread(target=_watch, name="end-with-stdin", daemon=True).start()


def _watch() -> None:
    while os.read(0, 1024):
        pass
    os.kill(os.getpid(), signal.SIGTERM)
