"""Fetch a file that its SHA-256 names, over as many tries as it takes, and believe nothing but the hash."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterable
from typing import Final

from fanlight.errors import MessageTooLarge, NotAuthentic, Unreachable
from fanlight.services.http.remote import Remote
from fanlight.storage.unfinished import Unfinished

_PIECE: Final = 1 << 20
_TRIES: Final = 2


def download(remote: Remote, path: str, sha256: bytes, begun: Unfinished, limit: int) -> bytes:
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
    raise NotAuthentic(
        f"{remote.title} sent another file than the one with the hash {sha256.hex()[:16]}…, twice.",
        slug="model-altered",
        next="It is tried again with the next offer; if it stays so, ask the operator of the main server.",
    )


class _Arrived:
    """What has arrived: on the disk, hashed, and once in memory, for new memory takes as long as its hash."""

    def __init__(self, begun: Unfinished) -> None:
        self._begun = begun
        self._start_with(begun.pieces(_PIECE))

    def _start_with(self, pieces: Iterable[bytes]) -> None:
        self._memory, self._digest = io.BytesIO(), hashlib.sha256()
        for piece in pieces:
            self._note(piece)

    def _note(self, piece: bytes) -> None:
        self._memory.write(piece)
        self._digest.update(piece)

    @property
    def size(self) -> int:
        return self._memory.tell()

    def append(self, piece: bytes) -> None:
        self._begun.write(self.size, piece)
        self._note(piece)

    def clear(self) -> None:
        self._begun.clear()
        self._start_with(())

    def sha256(self) -> bytes:
        return self._digest.digest()

    def content(self) -> bytes:
        return self._memory.getvalue()


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
        for piece in answer.pieces:
            if here.size + len(piece) > limit:
                raise MessageTooLarge(f"{remote.title} sent more than the {limit:,} bytes that are accepted here.")
            here.append(piece)
