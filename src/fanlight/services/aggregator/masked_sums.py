"""The one sum of a round, or that of each shard: computed from the reports' files, kept in one until main has it.

The sum is worked out piece by piece, on all cores: the piece's words of each report are read and added, then the masks
come off. So memory does not grow with the number of reports, and a piece stays in the cache until it is done.

A report whose file ends too early is ``report-damaged``. Whether it is the vector whose hash its device has signed, is
looked at when it arrives, and not again: with hashing a sum takes two to three times as long (100 reports of 3.5M
parameters, 1.4 GB), and it guards nobody against this server, which can add to a sum what it likes. What a file altered
at its length adds to the sum, main's checks bound; of random bytes the round fails (``sum-not-usable``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import BinaryIO, Final

import numpy as np
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from numpy.typing import NDArray

from fanlight.core import ring
from fanlight.core.cores import on_all_cores
from fanlight.core.masks import subtract_masks
from fanlight.core.packing import Piece, pieces
from fanlight.core.segments import layout_words
from fanlight.errors import NotFound, StorageError
from fanlight.protocol.aggregator_round import Held, Record
from fanlight.protocol.digests import vector_digest
from fanlight.protocol.sealing import MASK_AGGREGATOR, mask_key, open_seed
from fanlight.services.aggregator.held_reports import Place
from fanlight.services.server.round_keys import RoundKeys
from fanlight.storage.blobs import BlobFolder

PIECE_BYTES: Final = 1 << 19
SUM: Final = ".sum"
"""How the name of a sum's file ends."""
DEAD_ROUND: Final = frozenset({"round-key-lost", "report-damaged", "report-lost"})
"""Why a sum can never be released: slugs of the errors of ``MaskedSums.compute``. Damaged means: too short."""


@dataclass(frozen=True)
class MaskedSums:
    """Sums over the files of a folder.

    Attributes:
        files: the folder, with the reports' vectors.
        keys: of the rounds.
    """

    files: BlobFolder
    keys: RoundKeys

    def compute(
        self, record: Record, shards: Sequence[Sequence[Held]], places: Mapping[bytes, Place]
    ) -> NDArray[np.uint32]:
        """Y = Σy − Σmask_A as it is sent, of each shard, one after the other: (s·w,) uint32.

        Args:
            record: the round.
            shards: the reports in each sum.
            places: where each one's vector lies, by device.

        Raises:
            StorageError: a report or the round's key is lost (slugs ``DEAD_ROUND``), or the disk failed.
        """
        key = self.keys.load(record.number)
        if key is None:
            raise StorageError("The round's key is gone; its reports cannot be opened.", slug="round-key-lost")
        sums = [self._sum(record, shard, places, key) for shard in shards]
        return sums[0] if len(sums) == 1 else np.concatenate(sums)

    def _sum(
        self, record: Record, shard: Sequence[Held], places: Mapping[bytes, Place], key: X25519PrivateKey
    ) -> NDArray[np.uint32]:
        layout = record.terms.proposal.layout
        total = np.zeros(layout_words(layout), np.uint32)
        files = [places[held.device] for held in shard]
        keys = []
        for held in shard:
            seed = open_seed(held.envelope.sealed_aggregator, key, MASK_AGGREGATOR, record.mh, held.device)
            keys.append(mask_key(seed, MASK_AGGREGATOR, record.mh, held.device))

        def sum_piece(work: tuple[Piece, int]) -> None:
            piece, at = work
            coordinates = ring.zeros(piece.stop - piece.start, piece.bits)
            for place in files:
                ring.add_into(coordinates, piece.unpack(self._words(place, at, piece.words)))
            subtract_masks(coordinates, keys, piece.start)
            total[at : at + piece.words] = piece.pack(coordinates)

        some = list(pieces(layout, PIECE_BYTES // ring.WORD_BYTES))
        starts = accumulate((piece.words for piece in some), initial=0)
        on_all_cores(sum_piece, list(zip(some, starts, strict=False)))
        return total

    def keep(self, record: Record, total: NDArray[np.uint32]) -> None:
        """Write Y to the disk. Not durably: after a power cut the reports, which are, give the same bytes."""
        data = ring.to_bytes(total)
        self.files.write_stream(sum_file(record), [data], len(data), len(data), durably=False)

    def kept(self, record: Record) -> NDArray[np.uint32]:
        """Y from the disk, as it is there.

        Raises:
            NotFound: it is not there. StorageError: the disk failed.
        """
        return ring.from_bytes(self.files.read(sum_file(record)))

    def _words(self, place: Place, at: int, count: int) -> NDArray[np.uint32]:
        """``count`` words of a report from word ``at`` on; not to be changed."""
        with self._open(place.file) as stream:
            stream.seek(place.start + ring.WORD_BYTES * at)
            data = stream.read(ring.WORD_BYTES * count)
        if len(data) != ring.WORD_BYTES * count:
            raise StorageError(f"The report file {place.file} ends too early.", slug="report-damaged")
        return np.frombuffer(data, "<u4").astype(np.uint32, copy=False)

    def _open(self, file: str) -> BinaryIO:
        try:
            return self.files.open(file)
        except NotFound as error:
            raise StorageError(f"The report file {file} is gone.", slug="report-lost") from error


def sum_hashes(record: Record, total: NDArray[np.uint32]) -> list[bytes]:
    """The vector digest of each shard's Y."""
    length = record.terms.length
    return [vector_digest(ring.to_bytes(total[at : at + length])) for at in range(0, total.size, length)]


def sum_file(record: Record) -> str:
    """The name of the file of a round's sum."""
    return f"{record.mh.hex()}{SUM}"
