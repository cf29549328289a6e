"""How a vector is sent: as 32-bit words. Elements of fewer bits are packed, one after the other without gaps.

Rules, and why they hold:

1. A vector is worked on as (d,) uint32, whatever the rings of its segments. 2^b divides 2^32, so masks are added, taken
   off and vectors summed modulo 2^32, and only the low b bits of each word are sent: the same as working modulo 2^b.
2. *Packed*, a segment of n coordinates in b bits is a row of n·b bits: the low b bits of each coordinate, the lowest
   first, filled into 32-bit words from their lowest bit up. It ends with a whole word, of which the bits that are left
   over, the *padding*, are zero. So y is a vector of words whatever its layout, segments begin at a word, and 32 bits a
   coordinate are packed as they are.
3. In the ring of 64 bits, a vector is worked on as (d,) uint64, and an element is two words, the lower half first: the
   same memory on most machines, so nothing is copied.
4. 64 coordinates are 2·b words. What a piece of a packed vector holds is therefore known without what came before, if
   pieces are cut after a multiple of 64 coordinates of their segment.

To pack fast, two neighbours are put together in one 64-bit lane, as many lanes as fill whole 64-bit words are a row,
and rows are turned into columns: what is then shifted and put together are long contiguous arrays.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from fanlight.core.ring import LONG_BITS, WORD_BITS
from fanlight.core.segments import Segment, is_long, layout_length, layout_words, words_of
from fanlight.errors import MalformedMessage

_AT_ONCE: Final = 1 << 16  # coordinates whose lanes and words are in the cache together
_CYCLE: Final = 64  # coordinates that fill whole 64-bit words, in every ring
_LANES: Final = np.dtype("<u8")


@dataclass(frozen=True)
class Piece:
    """Neighbouring coordinates of one width, and the words that they are packed into.

    Attributes:
        start, stop: which coordinates of the vector.
        bits: of the ring.
    """

    start: int
    stop: int
    bits: int

    @property
    def words(self) -> int:
        """How many words they take."""
        return words_of(self.stop - self.start, self.bits)

    def unpack(self, words: NDArray[np.uint32]) -> NDArray[Any]:
        """The coordinates, (stop - start,) uint32 below 2^bits, of (``words``,) uint32; padding is passed over.

        Of 32 bits they are the words themselves, and of 64 bits, uint64, their memory, without a copy.
        """
        if self.bits == WORD_BITS:
            return words
        if self.bits == LONG_BITS:
            return words.astype("<u4", copy=False).view(_LANES).astype(np.uint64, copy=False)
        length, cycle = self.stop - self.start, _CYCLE * self.bits // WORD_BITS
        out = np.empty(-(-length // _CYCLE) * _CYCLE, np.uint32)
        for at in range(0, length, _AT_ONCE):
            part = words[at // _CYCLE * cycle : (at + _AT_ONCE) // _CYCLE * cycle]
            out[at : at + _AT_ONCE] = _unpack(_filled(part, cycle), self.bits)
        return out[:length]

    def pack(self, coordinates: NDArray[Any]) -> NDArray[np.uint32]:
        """(``words``,) uint32 of (stop - start,) uint32, whose higher bits do not matter, or uint64 if of 64 bits."""
        if self.bits == WORD_BITS:
            return coordinates
        if self.bits == LONG_BITS:
            return coordinates.astype(_LANES, copy=False).view("<u4").astype(np.uint32, copy=False)
        length, cycle = self.stop - self.start, _CYCLE * self.bits // WORD_BITS
        out = np.empty(-(-length // _CYCLE) * cycle, np.uint32)
        for at in range(0, length, _AT_ONCE):
            part = _filled(coordinates[at : at + _AT_ONCE], _CYCLE)
            out[at // _CYCLE * cycle :][: len(part) // _CYCLE * cycle] = _pack(part, self.bits)
        return out[: self.words]


def pieces(segments: Sequence[Segment], most_words: int | None = None) -> Iterator[Piece]:
    """A layout as pieces in the order of the vector; unpacked neighbours are one.

    Args:
        segments: the layout.
        most_words: about how many words a piece may take, at least 64; without it, pieces are as long as they can be.
    """
    for run in _runs(segments):
        step = run.stop - run.start
        if most_words is not None:
            step = max(_CYCLE, most_words * WORD_BITS // run.bits // _CYCLE * _CYCLE)
        for start in range(run.start, run.stop, step):
            yield Piece(start, min(start + step, run.stop), run.bits)


def pack(vector: NDArray[Any], segments: Sequence[Segment]) -> NDArray[np.uint32]:
    """A vector as it is sent: (d,) uint32, or uint64 in the ring of 64 bits, to (w,) uint32 words.

    With 32 or 64 bits a coordinate it is the memory of ``vector`` itself.

    Raises:
        MalformedMessage: the vector has another length or type than the layout.
    """
    _check_length(vector, layout_length(segments), "coordinates", np.uint64 if is_long(segments) else np.uint32)
    if not is_packed(segments):
        return Piece(0, len(vector), segments[0].bits).pack(vector)
    words = np.empty(layout_words(segments), np.uint32)
    at = 0
    for piece in pieces(segments, _AT_ONCE):
        words[at : at + piece.words] = piece.pack(vector[piece.start : piece.stop])
        at += piece.words
    return words


def unpack(words: NDArray[np.uint32], segments: Sequence[Segment]) -> NDArray[Any]:
    """The vector that was sent: (w,) uint32 words to (d,) uint32, or uint64 in the ring of 64 bits.

    With 32 or 64 bits a coordinate it is the memory of ``words`` itself.

    Raises:
        MalformedMessage: there are more or fewer words than the layout has, or a bit of the padding is set.
    """
    _check_length(words, layout_words(segments), "words")
    if not padding_is_zero(words, segments):
        raise MalformedMessage("the packed vector has bits behind the last of a segment")
    if not is_packed(segments):
        return Piece(0, layout_length(segments), segments[0].bits).unpack(words)
    vector = np.empty(layout_length(segments), np.uint32)
    at = 0
    for piece in pieces(segments, _AT_ONCE):
        vector[piece.start : piece.stop] = piece.unpack(words[at : at + piece.words])
        at += piece.words
    return vector


def is_packed(segments: Sequence[Segment]) -> bool:
    """Has any segment fewer bits than a word?"""
    return any(segment.bits < WORD_BITS for segment in segments)


def padding_is_zero(words: NDArray[np.uint32], segments: Sequence[Segment], start: int = 0) -> bool:
    """Is all padding zero in ``words``, those from ``start`` on of a packed vector, or some of them?

    A vector has one form only: what it says fixes each of its bits.
    """
    return not any(
        int(words[at - start]) >> used for at, used in _last_words(segments) if start <= at < start + len(words)
    )


def _last_words(segments: Sequence[Segment]) -> Iterator[tuple[int, int]]:
    """Index of each word with padding, and how many of its bits come before it."""
    end = 0
    for segment in segments:
        end += segment.words
        used = segment.length * segment.bits % WORD_BITS
        if used:
            yield end - 1, used


def _runs(segments: Sequence[Segment]) -> Iterator[Piece]:
    """Pieces as long as they can be."""
    start = end = 0
    whole = LONG_BITS if is_long(segments) else WORD_BITS
    for segment in segments:
        if segment.bits != whole:
            if end > start:
                yield Piece(start, end, whole)
            yield Piece(end, end + segment.length, segment.bits)
            start = end + segment.length
        end += segment.length
    if end > start:
        yield Piece(start, end, whole)


def _pack(coordinates: NDArray[np.uint32], bits: int) -> NDArray[Any]:
    """Words of whole cycles of coordinates."""
    lanes = _columns(coordinates, _lanes_in_a_row(bits))
    below = np.uint64((1 << bits) - 1)
    upper = lanes >> np.uint64(WORD_BITS - bits)
    upper &= below << np.uint64(bits)
    lanes &= below
    lanes |= upper
    width, rows = 2 * bits, lanes.shape[1]
    packed = np.zeros((len(lanes) * width // 64, rows), np.uint64)
    moved = np.empty(rows, np.uint64)
    for index, lane in enumerate(lanes):
        word, shift = divmod(index * width, 64)
        packed[word] |= np.left_shift(lane, np.uint64(shift), out=moved)
        if shift + width > 64:
            np.right_shift(lane, np.uint64(64 - shift), out=packed[word + 1])
    return _words(packed)


def _unpack(words: NDArray[np.uint32], bits: int) -> NDArray[Any]:
    """Coordinates of whole cycles of words."""
    count, width = _lanes_in_a_row(bits), 2 * bits
    packed = _columns(words, count * width // 64)
    lanes = np.empty((count, packed.shape[1]), np.uint64)
    moved = np.empty(packed.shape[1], np.uint64)
    for index in range(count):
        word, shift = divmod(index * width, 64)
        np.right_shift(packed[word], np.uint64(shift), out=lanes[index])
        if shift + width > 64:
            lanes[index] |= np.left_shift(packed[word + 1], np.uint64(64 - shift), out=moved)
    below = np.uint64((1 << bits) - 1)
    upper = lanes << np.uint64(WORD_BITS - bits)
    upper &= below << np.uint64(WORD_BITS)
    lanes &= below
    lanes |= upper
    return _words(lanes)


def _lanes_in_a_row(bits: int) -> int:
    return 64 // math.gcd(2 * bits, 64)


def _columns(words: NDArray[np.uint32], count: int) -> NDArray[np.uint64]:
    """Pairs of words as (``count``, rows) 64-bit numbers, the first word the lower half; a new array."""
    pairs = words.astype("<u4", copy=False).view(_LANES)
    return pairs.reshape(-1, count).T.astype(np.uint64, order="C")


def _words(columns: NDArray[np.uint64]) -> NDArray[Any]:
    return columns.T.astype(_LANES, order="C").reshape(-1).view("<u4")


def _filled(part: NDArray[np.uint32], cycle: int) -> NDArray[np.uint32]:
    """``part`` with zeros up to whole cycles."""
    rest = -len(part) % cycle
    return np.concatenate([part, np.zeros(rest, np.uint32)]) if rest else part


def _check_length(found: NDArray[Any], expected: int, what: str, word: type[np.unsignedinteger] = np.uint32) -> None:
    if found.dtype != word or found.shape != (expected,):
        raise MalformedMessage(f"the vector is {found.dtype} of shape {found.shape}; the layout has {expected} {what}")
