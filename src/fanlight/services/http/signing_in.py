"""Tell the owner in the terminal how to log in, once, when a process has started."""

from __future__ import annotations

import sys

from fanlight.core.printable import printable
from fanlight.services.http.address import local_url
from fanlight.services.http.sessions import OwnerSessions


def announce_login(name: str, host: str, port: int, sessions: OwnerSessions) -> None:
    """Print the one-time login link to standard error; a device's name is the operator's, who may be anybody."""
    sys.stderr.write(f"Fanlight {printable(name)}: log in at {local_url(host, port)}{sessions.new_link()}\n")
    sys.stderr.flush()
