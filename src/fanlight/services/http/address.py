"""Where a running role answers, in a file of its state folder, for ``fanlight status`` on the same machine.

A role that is told to end takes the file away; a file at whose address nobody answers tells of one that has died.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from ipaddress import ip_address
from pathlib import Path
from typing import Final

import structlog

log = structlog.get_logger(__name__)

ADDRESS_FILE: Final = "address"
_LOOPBACK: Final = frozenset({"127.0.0.1", "localhost"})


@contextmanager
def known_address(state: Path, host: str, port: int) -> Iterator[None]:
    """While it lasts, ``state`` says where this process answers. A disk on which that fails is no reason to stop."""
    path = state / ADDRESS_FILE
    try:
        path.write_text(f"{local_url(host, port)}\n", encoding="utf-8")
    except OSError as error:
        log.warning("fanlight status will not find this process", reason=error.strerror)
    try:
        yield
    finally:
        with suppress(OSError):
            path.unlink()


def local_url(host: str, port: int) -> str:
    """The address at which a program on this machine reaches what listens on ``host``."""
    if host in _LOOPBACK or _is_every_address(host):
        host = "localhost"
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"


def _is_every_address(host: str) -> bool:
    """Does this mean all addresses of this machine, as ``::`` does?"""
    try:
        return ip_address(host).is_unspecified
    except ValueError:  # a name
        return False
