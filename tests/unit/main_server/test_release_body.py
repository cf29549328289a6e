"""The body of a release, cut anywhere; what is none is refused before it is kept."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from fanlight.errors import MalformedMessage
from fanlight.services.main_server.release_body import RELEASE_FRONT_LIMIT, ReleaseBody

SIGNED = bytes(range(200))
Y = np.arange(7, dtype=np.uint32)
WHOLE = len(SIGNED).to_bytes(4, "big") + SIGNED + Y.astype("<u4").tobytes()


def read(*pieces: bytes) -> ReleaseBody:
    body = ReleaseBody(sum(map(len, pieces)))
    for piece in pieces:
        body.take(piece)
    return body


@pytest.mark.parametrize("cut", [0, 1, 4, 5, 203, 204, 205, 210, len(WHOLE)])
def test_pieces_are_cut_anywhere(cut: int) -> None:
    signed, vector = read(WHOLE[:cut], WHOLE[cut:]).parts()
    assert signed == SIGNED
    assert vector.tolist() == Y.tolist()


def test_a_byte_at_a_time() -> None:
    signed, vector = read(*(WHOLE[at : at + 1] for at in range(len(WHOLE)))).parts()
    assert (signed, vector.tolist()) == (SIGNED, Y.tolist())


def test_the_sum_is_unmasked_where_it_lies() -> None:
    _, vector = read(WHOLE).parts()
    vector += np.uint32(1)
    assert vector.tolist() == (Y + 1).tolist()


def test_a_lost_sum_is_empty() -> None:
    _, vector = read(WHOLE[: 4 + len(SIGNED)]).parts()
    assert vector.size == 0


@pytest.mark.parametrize("whole", [b"", WHOLE[:3], WHOLE[:4], WHOLE[:100], WHOLE[:-1], bytes(4) + Y.tobytes()])
def test_what_ends_too_early_is_no_release(whole: bytes) -> None:
    with pytest.raises(MalformedMessage):
        read(whole).parts()


def test_a_front_beyond_the_limit_is_not_waited_for() -> None:
    with pytest.raises(MalformedMessage):
        read(RELEASE_FRONT_LIMIT.to_bytes(4, "big"))


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="only Linux says how much memory is in use")
def test_what_may_come_takes_no_memory_before_it_comes() -> None:
    def pages() -> int:
        return int(Path("/proc/self/statm").read_text().split()[1])

    before = pages()
    body = ReleaseBody(1 << 30)
    body.take(WHOLE)
    assert (pages() - before) * os.sysconf("SC_PAGE_SIZE") < 1 << 25
    assert body.parts()[1].tolist() == Y.tolist()
