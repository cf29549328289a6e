"""Fetch a file that its SHA-256 names, over as many tries as it takes, and believe nothing but the hash."""

from __future__ import annotations

import hashlib
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
        pieces = _Pieces(begun)
        _continue(remote, path, sha256, pieces, limit)
        if pieces.digest.digest() == sha256:
            return b"".join(pieces.all)
        begun.clear()  # the beginning may have been spoilt here: everything anew
    raise NotAuthentic(
        f"{remote.title} sent another file than the one with the hash {sha256.hex()[:16]}…, twice.",
        slug="model-altered",
        next="It is tried again with the next offer; if it stays so, ask the operator of the main server.",
    )


class _Pieces:
    """What has arrived, on the disk, in memory, and hashed."""

    def __init__(self, begun: Unfinished) -> None:
        self._begun = begun
        self._start_with(list(begun.pieces(_PIECE)))

    def _start_with(self, pieces: list[bytes]) -> None:
        self.all = pieces
        self.size = sum(map(len, pieces))
        self.digest = hashlib.sha256()
        for piece in pieces:
            self.digest.update(piece)

    def append(self, piece: bytes) -> None:
        self._begun.write(self.size, piece)
        self.all.append(piece)
        self.size += len(piece)
        self.digest.update(piece)

    def clear(self) -> None:
        self._begun.clear()
        self._start_with([])


def _continue(remote: Remote, path: str, sha256: bytes, here: _Pieces, limit: int) -> None:
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
