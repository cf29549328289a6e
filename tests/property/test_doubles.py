"""Groups of pictures alike are those that comparing every pair finds."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from fanlight.services.device.library.doubles import ALIKE_BITS, groups

BITS = st.integers(0, 63)


@st.composite
def hashes(draw: st.DrawFn) -> list[int]:
    """Some anywhere, and some that differ in a few bits from one before them, so that there are chains."""
    found = draw(st.lists(st.integers(0, 2**64 - 1), min_size=1, max_size=12))
    for _ in range(draw(st.integers(0, 24))):
        start = draw(st.sampled_from(found))
        for bit in draw(st.sets(BITS, max_size=ALIKE_BITS + 2)):
            start ^= 1 << bit
        found.append(start)
    return draw(st.permutations(found))


def compared(codes: list[int]) -> list[list[str]]:
    """Every pair, and groups joined one by one."""
    group = list(range(len(codes)))
    for i, code in enumerate(codes):
        for j in range(i):
            if (code ^ codes[j]).bit_count() <= ALIKE_BITS:
                old, new = max(group[i], group[j]), min(group[i], group[j])
                group = [new if number == old else number for number in group]
    found: dict[int, list[str]] = {}
    for i, number in enumerate(group):
        found.setdefault(number, []).append(str(i))
    return [members for members in found.values() if len(members) > 1]


@given(hashes())
def test_the_same_groups_as_by_comparing_every_pair(codes: list[int]) -> None:
    assert groups([(str(i), code.to_bytes(8, "big")) for i, code in enumerate(codes)]) == compared(codes)


@given(st.sets(BITS, max_size=8), st.integers(0, 2**64 - 1))
def test_two_are_alike_up_to_four_bits_wherever_these_are(bits: set[int], code: int) -> None:
    other = code
    for bit in bits:
        other ^= 1 << bit
    found = groups([("a", code.to_bytes(8, "little")), ("b", other.to_bytes(8, "little"))])
    assert found == ([["a", "b"]] if len(bits) <= ALIKE_BITS else [])


def test_of_none_and_of_one_there_are_no_groups() -> None:
    assert groups([]) == groups([("a", bytes(8))]) == []
