"""The file in which the small reports of a round lie, one after the other.

A new file would have to be synced together with its folder; what is added to one that is there needs only itself to be
synced. Where each report begins is kept in the database, in the transaction that takes it: bytes in between, which a
failure has left, mean nothing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from itertools import accumulate

from fanlight.services.aggregator.held_reports import Place
from fanlight.storage.blobs import BlobFolder


class SharedFile:
    """Used by one thread at a time. After a start, and after a failure, it is another one.

    Args:
        files: the folder that it lies in.
    """

    def __init__(self, files: BlobFolder) -> None:
        self._files = files
        self._mh = b""
        self._name = ""
        self._is_needed = False

    def add(self, mh: bytes, vectors: Mapping[bytes, bytes]) -> list[Place]:
        """Add the vectors of some reports of the round with manifest ``mh``, durably; where each one lies.

        Args:
            mh: of the round.
            vectors: by the reports' ids. A file's name is made of the first ids in it, which will never be in another.

        Raises:
            StorageError: the disk is full or failed.
        """
        if mh != self._mh:
            self._mh, self._is_needed = mh, False
            self._name = hashlib.sha256(b"".join(vectors)).hexdigest()
        sizes = [len(vector) for vector in vectors.values()]
        start = self._files.append(self._name, vectors.values(), sum(sizes))
        return [Place(self._name, at) for at in accumulate(sizes[:-1], initial=start)]

    def keep(self) -> None:
        """What was added is taken."""
        self._is_needed = True

    def give_up(self) -> None:
        """What was added last, if anything, is not taken: nothing more is added to this file."""
        if self._name and not self._is_needed:
            self._files.delete(self._name)
        self._mh, self._name = b"", ""
