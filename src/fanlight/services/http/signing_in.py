"""Tell the owner in the terminal how to log in, once, when a process has started."""

from __future__ import annotations

import sys

from fanlight.core.printable import printable
from fanlight.services.http.sessions import OwnerSessions


def announce_login(name: str, host: str, port: int, sessions: OwnerSessions) -> None:
    """Print the one-time login link to standard error; a device's name is the operator's, who may be anybody."""
    shown = "localhost" if host in ("0.0.0.0", "::", "127.0.0.1") else host  # noqa: S104 - compared, not bound
    sys.stderr.write(f"Fanlight {printable(name)}: log in at http://{shown}:{port}{sessions.new_link()}\n")
    sys.stderr.flush()
