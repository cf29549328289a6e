"""How long an answer is waited for: a line that dies without a word must not hold up a round.

A cable that was pulled and a router that has forgotten a connection send nothing: who waits on such a line learns it
only from a clock. Three of them run, and whichever is first ends the wait; every request may be repeated, since what a
server has answered is stored.

- *A send* that makes no progress for ``ANSWER_S``, however long the whole of it takes.
- *An answer* that has not begun when it must have: ``ANSWER_S`` after a small request, later after one that leaves much
  to do (``patience``), and ``LATE_S`` after the end of a long-poll (``patience_for``).
- *The kernel's*: what was sent and is not acknowledged, or a connection that has been quiet and whose probes nobody
  answers, is given up after ``GONE_S`` (``SOCKET_OPTIONS``; RFC 9293, section 3.8.3 and 3.8.4, and RFC 5482). So a
  long-poll on a dead line ends before its time.
"""

from __future__ import annotations

import socket
from typing import Final

import httpx

ANSWER_S: Final = 8.0
"""Connecting, each send, and beginning to answer a small request take no longer, with a disk that is slow to sync."""
LATE_S: Final = 5.0
"""By so much may the answer to a long-poll be late."""
GONE_S: Final = 10
_SENT_PER_S: Final = 1 << 20
_WORKED_PER_S: Final = 200_000_000
_QUIET_S: Final = 4
_PROBES: Final = 3


def patience(sent_bytes: int = 0, work_bytes: int = 0) -> httpx.Timeout:
    """How long to wait for the answer to a request.

    Args:
        sent_bytes: how long it is. Much of it may still be on its way when the last of it is handed to the kernel, and
            it is written to a disk.
        work_bytes: how many bytes the other side computes from it before it answers.
    """
    return httpx.Timeout(ANSWER_S, read=ANSWER_S + sent_bytes / _SENT_PER_S + work_bytes / _WORKED_PER_S)


def patience_for(wait_s: float) -> httpx.Timeout:
    """How long to wait for the answer to a long-poll that is held for at most ``wait_s`` seconds."""
    return httpx.Timeout(ANSWER_S, read=wait_s + LATE_S)


def _known(*options: tuple[str, int]) -> tuple[tuple[int, int, int], ...]:
    """Those of the TCP options that this system has."""
    found = [(getattr(socket, name, None), value) for name, value in options]
    return tuple((socket.IPPROTO_TCP, option, value) for option, value in found if option is not None)


def _watched(quiet_s: int, gone_s: int) -> tuple[tuple[int, int, int], ...]:
    """A connection is given up after ``gone_s`` seconds without an answer, the first ``quiet_s`` of them unprobed."""
    return (
        (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
        *_known(
            ("TCP_KEEPIDLE", quiet_s),
            ("TCP_KEEPINTVL", (gone_s - quiet_s) // _PROBES),
            ("TCP_KEEPCNT", _PROBES),
            ("TCP_USER_TIMEOUT", 1000 * gone_s),
        ),
    )


SOCKET_OPTIONS: Final = _watched(_QUIET_S, GONE_S)
"""Of every connection to a server. Idle ones are closed before long, so it is long-polls that are probed."""
LISTENING_OPTIONS: Final = _watched(3 * GONE_S, 6 * GONE_S)
"""Of a server's sockets, whose connections inherit them (on Linux): half a request holds memory, and is in no hurry."""
