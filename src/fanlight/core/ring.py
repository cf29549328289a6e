"""The rings Z_2^b in which vectors are masked and summed: b from 2 to 32, or 64.

An integer q is carried as q modulo 2^bits in an unsigned word (two's complement). Of fewer than 32 bits, it is the low
ones of a 32-bit word, and what stands above them does not matter: 2^b divides 2^32, so to add and subtract whole words
is to add and subtract in the ring. Sums wrap around, which is what lets a uniformly random mask hide a summand
perfectly. A sum comes back exactly if its true value lies in [-2^(bits-1), 2^(bits-1)): numbers from half the ring up
stand for negative ones. ``segments.check_layout`` makes sure that no sum over a cohort can leave that range.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from fanlight.errors import MalformedMessage

WORD_BITS: Final = 32
"""Bits of the words in which vectors are stored and sent."""
WORD_BYTES: Final = WORD_BITS // 8
LONG_BITS: Final = 64
"""Bits of the ring whose elements take two words, the lower half first."""
PACKED_BITS: Final = range(2, WORD_BITS)
"""Rings whose elements take less than a word."""
_WORDS: Final[dict[int, np.dtype[Any]]] = {
    **dict.fromkeys((*PACKED_BITS, WORD_BITS), np.dtype(np.uint32)),
    LONG_BITS: np.dtype(np.uint64),
}


def to_ring(q: NDArray[np.int64], bits: int) -> NDArray[Any]:
    """The ring elements of (d,) integers: (d,) uint32 for ``bits`` up to 32, uint64 for 64.

    Raises:
        MalformedMessage: no such ring, not int64, or a value outside [-2^(bits-1), 2^(bits-1)).
    """
    word = _word(bits)
    if q.dtype != np.int64:
        raise MalformedMessage(f"only int64 goes into the ring, not {q.dtype}")
    half = 1 << (bits - 1)
    if q.size and not (-half <= int(q.min()) and int(q.max()) < half):
        raise MalformedMessage(f"a value does not fit the ring of {bits} bits: {int(q.min())} to {int(q.max())}")
    return q.astype(word)


def centre(x: NDArray[Any], bits: int | None = None) -> NDArray[np.int64]:
    """The integers in [-2^(bits-1), 2^(bits-1)) that (d,) ring elements stand for; a new (d,) int64 array.

    Args:
        x: uint32 or uint64.
        bits: of the ring, if they are fewer than those of a word of x: 2 to 31.

    Raises:
        MalformedMessage: the array is neither uint32 nor uint64, or no such ring has its words.
    """
    if bits is not None and x.dtype != _word(bits):
        raise MalformedMessage(f"elements of a ring of {bits} bits are {_word(bits)}, not {x.dtype}")
    if x.dtype == np.uint32:
        above = WORD_BITS - (bits or WORD_BITS)
        if above:
            return ((x << np.uint32(above)).view(np.int32) >> np.int32(above)).astype(np.int64)
        return x.view(np.int32).astype(np.int64)
    if x.dtype == np.uint64:
        return x.astype(np.int64)
    raise MalformedMessage(f"ring elements are uint32 or uint64, not {x.dtype}")


def centre_in_place(x: NDArray[Any], bits: int) -> None:
    """The same where they lie: the words of (d,) become two's complement; ``bits`` from 2 to 32, or 64.

    Raises:
        MalformedMessage: as in ``check_vector``; or no such ring has its words.
    """
    check_vector(x, bits)
    if bits in PACKED_BITS:
        above = WORD_BITS - bits
        x <<= np.uint32(above)
        signed = x.view(np.int32)
        signed >>= np.int32(above)


def zeros(length: int, bits: int) -> NDArray[Any]:
    """``length`` zeros of the ring of ``bits`` bits: (length,) uint32, or uint64 for 64."""
    return np.zeros(length, _word(bits))


def add_into(acc: NDArray[Any], x: NDArray[Any]) -> None:
    """Add x to acc in the ring, in place and without a copy; both (d,) of one word type.

    Raises:
        MalformedMessage: types or lengths differ; ``acc`` is then as it was.
    """
    _check_pair(acc, x)
    np.add(acc, x, out=acc)


def subtract_into(acc: NDArray[Any], x: NDArray[Any]) -> None:
    """Subtract x from acc in the ring, in place and without a copy; errors as in ``add_into``."""
    _check_pair(acc, x)
    np.subtract(acc, x, out=acc)


def check_vector(x: NDArray[Any], bits: int) -> None:
    """Refuse what is not a writable (d,) vector of words of ``bits`` bits.

    Raises:
        MalformedMessage: another type, number of axes, or read-only.
    """
    if x.dtype != _word(bits) or x.ndim != 1 or not x.flags.writeable:
        raise MalformedMessage(f"not a writable vector of {bits}-bit words: {x.dtype}, shape {x.shape}")


def to_bytes(x: NDArray[np.uint32]) -> memoryview:
    """A (d,) vector as it is hashed, stored and sent: its words in little-endian order; no copy on most machines."""
    return x.astype("<u4", copy=False).view(np.uint8).data  # a view first: an empty vector's memory cannot be cast


def from_bytes(data: bytes | memoryview) -> NDArray[np.uint32]:
    """The (d,) vector of the whole words in ``data``, a new array; a rest that is no word is passed over."""
    return np.frombuffer(data, "<u4", count=len(data) // 4).astype(np.uint32)


def _word(bits: int) -> np.dtype[Any]:
    if bits not in _WORDS:
        raise MalformedMessage(f"there is no ring of {bits} bits; there are those of 2 to 32, and 64")
    return _WORDS[bits]


def _check_pair(acc: NDArray[Any], x: NDArray[Any]) -> None:
    # A wider or longer operand would broadcast or be cast silently, and the sum would be wrong without a sign of it.
    if acc.dtype not in _WORDS.values() or x.dtype != acc.dtype:
        raise MalformedMessage(f"cannot add ring vectors of types {acc.dtype} and {x.dtype}")
    if acc.ndim != 1 or acc.shape != x.shape:
        raise MalformedMessage(f"cannot add ring vectors of shapes {acc.shape} and {x.shape}")
    if not acc.flags.writeable:
        raise MalformedMessage("cannot add into a read-only vector")
