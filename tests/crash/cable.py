"""A cable that can be pulled: a virtual one (veth) to a network namespace of its own, which takes root.

Whoever listens behind it is reached as over any network, and when the far end is down, packets are lost both ways and
nobody is told: no reset, no end, no refusal. Plugged in again, TCP goes on where it was, if nobody has given up.

Cables are laid in a network that is not the machine's (``own_network``): a browser that sees one come and go there
gives up what it is loading.
"""

from __future__ import annotations

import ctypes
import os
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

_CLONE_NEWNET: Final = 0x40000000
_NET: Final = f"198.18.{os.getpid() % 256}"
"""A network that nobody has (RFC 2544, for measuring), and hardly another run of these tests."""
MOST: Final = 64


class Cable:
    """One cable.

    Args:
        number: below ``MOST``, another one for each cable of this process.

    Attributes:
        host: the address at the far end.
    """

    def __init__(self, number: int) -> None:
        self.host = f"{_NET}.{4 * number + 2}"
        self._here = f"{_NET}.{4 * number + 1}"
        self._name = f"fl{os.getpid()}-{number}"

    def lay(self) -> None:
        """Make it, plugged in."""
        _ip("netns", "add", self._name)
        _ip("link", "add", self._name, "type", "veth", "peer", "name", "far", "netns", self._name)
        _ip("addr", "add", f"{self._here}/30", "dev", self._name)
        _ip("link", "set", self._name, "up")
        _ip("-n", self._name, "addr", "add", f"{self.host}/30", "dev", "far")
        self.plug()

    def plug(self) -> None:
        """Let packets through, if they were not."""
        _ip("-n", self._name, "link", "set", "far", "up")

    def pull(self) -> None:
        """Lose all packets from now on."""
        _ip("-n", self._name, "link", "set", "far", "down")

    def listen(self, port: int) -> socket.socket:
        """A socket at the far end, bound; who takes its connections may be anywhere."""
        with self._inside():
            return socket.create_server((self.host, port))

    def remove(self) -> None:
        """Take away what there is of it."""
        _ip("netns", "del", self._name, check=False)

    @contextmanager
    def _inside(self) -> Iterator[None]:
        """This thread makes its sockets at the far end: a socket stays where it was made."""
        here, there = Path("/proc/thread-self/ns/net"), Path("/run/netns", self._name)
        with here.open("rb") as home, there.open("rb") as far:
            _enter(far.fileno())
            try:
                yield
            finally:
                _enter(home.fileno())


@contextmanager
def own_network() -> Iterator[None]:
    """This thread, and what it starts meanwhile, is in a network with nothing but a loopback.

    Raises:
        OSError, subprocess.CalledProcessError: this process may not.
    """
    with Path("/proc/thread-self/ns/net").open("rb") as home:
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.unshare(_CLONE_NEWNET) != 0:
            raise OSError(ctypes.get_errno(), "unshare")
        try:
            _ip("link", "set", "lo", "up")
            yield
        finally:
            _enter(home.fileno())


@contextmanager
def laid(number: int) -> Iterator[Cable]:
    """A cable, for as long as the block takes.

    Raises:
        subprocess.CalledProcessError: this process may not lay one.
    """
    cable = Cable(number)
    try:
        cable.lay()
        yield cable
    finally:
        cable.remove()


def _ip(*words: str, check: bool = True) -> None:
    subprocess.run(["ip", *words], check=check, capture_output=True)


def _enter(namespace: int) -> None:
    """``os.setns``, which Python has from 3.12 on."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.setns(namespace, _CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "setns")
