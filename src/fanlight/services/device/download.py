"""Fetch a file that its SHA-256 names, over as many tries as it takes, and believe nothing but the hash."""

from __future__ import annotations

import hashlib
from typing import Final

import numpy as np

from fanlight.errors import MessageTooLarge, NotAuthentic, Unreachable
from fanlight.services.http.remote import Remote
from fanlight.storage.unfinished import Unfinished

_PIECE: Final = 1 << 20
_TRIES: Final = 2


def download(remote: Remote, path: str, sha256: bytes, begun: Unfinished, limit: int) -> memoryview:
    """The file at ``path`` whose SHA-256 is ``sha256``.

    Args:
        remote: the server.
        path: where the file is.
        sha256: 32 bytes.
        begun: what an earlier try has got of it; what this one gets is kept there, also if it fails.
        limit: most bytes to take.

    Raises:
        NotAuthentic: twice, the whole of another file came.
        RemoteError: as ``Remote.send``; what has arrived is kept for the next try.
        StorageError: the disk is full or failed.
    """
    for _ in range(_TRIES):
        here = _Arrived(begun)
        _continue(remote, path, sha256, here, limit)
        if here.sha256() == sha256:
            return here.content()
        begun.clear()  # the beginning may have been spoilt here: everything anew
    raise other_file(remote, sha256)


def other_file(remote: Remote, sha256: bytes) -> NotAuthentic:
    """What came is not what the hash names, and no more will be tried now."""
    return NotAuthentic(
        f"{remote.title} sent another file than the one with the hash {sha256.hex()[:16]}….",
        slug="model-altered",
        next="It is tried again with the next offer; if it stays so, ask the operator of the main server.",
    )


class _Arrived:
    """What has arrived: on the disk, hashed, and once in memory.

    The memory for what is announced is taken at once and is no more than an address until it comes. NumPy asks for it
    in large pages; in small ones it would take as long as the hash.
    """

    def __init__(self, begun: Unfinished) -> None:
        self._begun = begun
        self._begin(begun.size)
        for piece in begun.pieces(_PIECE):
            self._note(piece[: self._memory.size - self.size])  # another try may be adding to it

    def _begin(self, room: int) -> None:
        self.size, self._digest, self._memory = 0, hashlib.sha256(), np.empty(room, np.uint8)

    def _note(self, piece: bytes) -> None:
        start, self.size = self.size, self.size + len(piece)
        self._memory.data[start : self.size] = piece
        self._digest.update(piece)

    def expect(self, more: int) -> None:
        """So many bytes are still to come, at most."""
        before, self._memory = self._memory[: self.size], np.empty(self.size + more, np.uint8)
        self._memory[: self.size] = before

    def append(self, piece: bytes) -> None:
        self._begun.write(self.size, piece)
        self._note(piece)

    def clear(self) -> None:
        self._begun.clear()
        self._begin(0)

    def sha256(self) -> bytes:
        return self._digest.digest()

    def content(self) -> memoryview:
        return self._memory.data[: self.size].toreadonly()


def _continue(remote: Remote, path: str, sha256: bytes, here: _Arrived, limit: int) -> None:
    start = here.size
    headers = {"Range": f"bytes={start}-", "If-Range": f'"{sha256.hex()}"'} if start else {}
    with remote.download(path, headers, limit) as answer:
        if answer.status == 416:  # all of it is here
            return
        if answer.status == 206 and not answer.headers.get("content-range", "").startswith(f"bytes {start}-"):
            raise Unreachable(f"{remote.title} sent another part than was asked for.", slug="bad-answer")
        if answer.status != 206:
            here.clear()
        announced = int(answer.headers.get("content-length", limit))  # checked before: a number, at most the limit
        most = max(here.size, min(here.size + announced, limit))
        here.expect(most - here.size)
        for piece in answer.pieces:
            if here.size + len(piece) > most:
                raise MessageTooLarge(f"{remote.title} sent more than the {limit:,} bytes that are accepted here.")
            here.append(piece)
