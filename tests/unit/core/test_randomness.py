from __future__ import annotations

import numpy as np
import pytest

from fanlight.core.randomness import Keystream
from fanlight.errors import SettingsError

SEED = b"a fixed seed of thirty-two bytes"


def test_equal_seeds_draw_equally_and_others_do_not() -> None:
    assert Keystream(SEED).bytes(64) == Keystream(SEED).bytes(64)
    assert Keystream(SEED).bytes(64) != Keystream(SEED[::-1]).bytes(64)


def test_every_kind_of_draw_moves_the_same_stream_on() -> None:
    whole = Keystream(SEED).bytes(4 + 8 + 16 + 8)
    mixed = Keystream(SEED)
    assert mixed.bytes(4) == whole[:4]
    assert mixed.uint32(2).astype("<u4").tobytes() == whole[4:12]
    assert mixed.permutation(2).tolist() == np.argsort(np.frombuffer(whole[12:28], "<u8")).tolist()
    assert mixed.below(2**63) == int.from_bytes(whole[28:], "little") % 2**63


def test_a_draw_belongs_to_the_caller() -> None:
    stream = Keystream(SEED)
    first = stream.uint32(4)
    kept = first.copy()
    stream.uint32(4)
    assert first.tolist() == kept.tolist()
    assert first.dtype == np.uint32


def test_numbers_below_a_limit_are_spread_evenly() -> None:
    stream = Keystream(SEED)
    counts = np.bincount([stream.below(3) for _ in range(6000)], minlength=3)
    # One count of 2,000 deviates by 37; five of that would be a bias, and the seed is fixed.
    assert np.abs(counts - 2000).max() < 185


def test_a_limit_just_above_half_the_range_draws_again_instead_of_folding() -> None:
    class Scripted(Keystream):
        """Gives the words of a script."""

        def bytes(self, count: int) -> bytes:
            return self.script.pop(0).to_bytes(count, "little")

        script = [2**64 - 1, 2**64 - 2**64 % 3, 7]  # noqa: RUF012

    assert Scripted(SEED).below(3) == 1


def test_the_only_number_below_one_is_nought() -> None:
    assert Keystream(SEED).below(1) == 0


def test_every_order_of_three_is_as_likely() -> None:
    stream = Keystream(SEED)
    orders = [tuple(stream.permutation(3).tolist()) for _ in range(6000)]
    counts = [orders.count(order) for order in sorted(set(orders))]
    assert len(counts) == 6
    assert max(abs(count - 1000) for count in counts) < 145  # five standard deviations


@pytest.mark.parametrize("count", [0, 1])
def test_short_permutations(count: int) -> None:
    assert Keystream(SEED).permutation(count).tolist() == list(range(count))


@pytest.mark.parametrize("limit", [0, -1, 2**63 + 1])
def test_limits_out_of_range_are_refused(limit: int) -> None:
    with pytest.raises(SettingsError):
        Keystream(SEED).below(limit)


def test_a_seed_of_another_length_and_a_negative_count_are_refused() -> None:
    with pytest.raises(SettingsError, match="not 31"):
        Keystream(SEED[:31])
    with pytest.raises(SettingsError, match="-1"):
        Keystream(SEED).bytes(-1)


def test_the_seed_does_not_show_in_a_log() -> None:
    assert "fixed" not in repr(Keystream(SEED)) + repr(vars(Keystream(SEED)))
