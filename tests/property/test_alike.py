"""Groups of pictures alike are those that comparing every pair finds."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from fanlight.learning.alike import ALIKE_BITS, ALIKE_LEVELS, groups
from fanlight.learning.looks import COLOURS

BITS = st.integers(0, 63)
SPOTS = 12
"""Parts of a picture of one level each, so that few draws make one; they do not lie as its quarters do."""
Look = tuple[int, bytes]


@st.composite
def looks(draw: st.DrawFn) -> list[Look]:
    """Some anywhere, and some that differ in a few bits and levels from one before them, so that there are chains."""
    colours = st.binary(min_size=SPOTS, max_size=SPOTS)
    found = draw(st.lists(st.tuples(st.integers(0, 2**64 - 1), colours), min_size=1, max_size=12))
    for _ in range(draw(st.integers(0, 24))):
        code, levels = draw(st.sampled_from(found))
        for bit in draw(st.sets(BITS, max_size=ALIKE_BITS + 2)):
            code ^= 1 << bit
        steps = draw(st.tuples(*[st.integers(-2 * ALIKE_LEVELS, 2 * ALIKE_LEVELS)] * SPOTS))
        levels = bytes(min(255, max(0, level + step)) for level, step in zip(levels, steps, strict=True))
        found.append((code, draw(st.sampled_from([levels, found[0][1]]))))
    return [(code, spread(levels)) for code, levels in draw(st.permutations(found))]


def spread(levels: bytes) -> bytes:
    """As many bytes as a picture's colours have."""
    return bytes(level for level in levels for _ in range(COLOURS // len(levels)))


def alike(one: Look, other: Look) -> bool:
    differences = [a - b for a, b in zip(one[1], other[1], strict=True)]
    uneven = sum(abs(COLOURS * difference - sum(differences)) for difference in differences)
    return (one[0] ^ other[0]).bit_count() <= ALIKE_BITS and uneven <= ALIKE_LEVELS * COLOURS**2


def compared(found: list[Look]) -> list[list[str]]:
    """Every pair, and groups joined one by one."""
    group = list(range(len(found)))
    for i, look in enumerate(found):
        for j in range(i):
            if alike(look, found[j]):
                old, new = max(group[i], group[j]), min(group[i], group[j])
                group = [new if number == old else number for number in group]
    members: dict[int, list[str]] = {}
    for i, number in enumerate(group):
        members.setdefault(number, []).append(str(i))
    return [some for some in members.values() if len(some) > 1]


@given(looks())
def test_the_same_groups_as_by_comparing_every_pair(found: list[Look]) -> None:
    seen = [(str(i), code.to_bytes(8, "big"), colours) for i, (code, colours) in enumerate(found)]
    assert groups(seen) == compared(found)


@given(st.sets(BITS, max_size=14), st.integers(0, 2**64 - 1))
def test_two_are_alike_up_to_ten_bits_wherever_these_are(bits: set[int], code: int) -> None:
    other = code
    for bit in bits:
        other ^= 1 << bit
    found = groups(
        [("a", code.to_bytes(8, "little"), b"\x07" * 192), ("b", other.to_bytes(8, "little"), b"\x90" * 192)]
    )
    assert found == ([["a", "b"]] if len(bits) <= ALIKE_BITS else []), "light that is the same everywhere is no matter"


def test_what_only_the_hash_takes_for_alike_is_not_joined() -> None:
    red, blue = bytes([200, 0, 0] * 32 + [9] * 96), bytes([0, 0, 200] * 32 + [9] * 96)
    assert groups([("a", bytes(8), red), ("b", bytes(8), blue), ("c", bytes(8), red)]) == [["a", "c"]]


def test_of_none_and_of_one_there_are_no_groups() -> None:
    assert groups([]) == groups([("a", bytes(8), bytes(COLOURS))]) == []
