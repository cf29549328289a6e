"""The key of the round that is under way, and of no other."""

from __future__ import annotations

import random
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from fanlight.services.server.round_keys import FILE, RoundKey, RoundKeys


@pytest.fixture
def keys(tmp_path: Path) -> RoundKeys:
    return again(tmp_path)


def again(folder: Path) -> RoundKeys:
    """As the next process has it."""
    return RoundKeys(folder / "round-keys", random.Random(7).randbytes)


def public(keys: RoundKeys, number: int) -> bytes | None:
    found = keys.load(number)
    return found.public_key().public_bytes_raw() if found is not None else None


def test_a_stored_key_is_that_of_its_round_alone(keys: RoundKeys, tmp_path: Path) -> None:
    key = keys.fresh()
    assert keys.load(3) is None, "it is in memory only"
    keys.store(3, key)
    for each in (keys, again(tmp_path)):
        assert public(each, 3) == key.public
        assert each.load(2) is each.load(4) is None
        assert each.number == 3


def test_the_next_one_takes_its_place(keys: RoundKeys, tmp_path: Path) -> None:
    first, second = keys.fresh(), keys.fresh()
    keys.store(1, first)
    assert public(keys, 1) == first.public
    keys.store(2, second)
    assert keys.load(1) is None
    assert public(keys, 2) == second.public
    keys.destroy(1)  # late: it is gone already
    assert public(again(tmp_path), 2) == second.public
    keys.store(2, first)  # proposed anew
    assert public(keys, 2) == first.public


def test_a_destroyed_key_is_nowhere(keys: RoundKeys, tmp_path: Path) -> None:
    key = keys.fresh()
    keys.store(1, key)
    keys.load(1)
    keys.destroy(1)
    keys.destroy(1)
    assert keys.load(1) is None
    assert keys.number is None
    assert [path.name for path in (tmp_path / "round-keys").iterdir()] == [FILE]
    assert set((tmp_path / "round-keys" / FILE).read_bytes()) == {0}


@pytest.mark.parametrize(("kept", "left"), [(1, 1), (2, None), (None, None)])
def test_a_start_keeps_the_key_of_a_round_that_is_not_over(tmp_path: Path, kept: int | None, left: int | None) -> None:
    again(tmp_path).store(1, RoundKey(bytes(range(32))))
    keys = again(tmp_path)
    keys.keep_only(kept)
    assert keys.number == left


@pytest.mark.parametrize("kept", [2, None])
def test_files_from_before_there_was_one_for_all(tmp_path: Path, kept: int | None) -> None:
    folder = tmp_path / "round-keys"
    folder.mkdir(mode=0o700)
    key = RoundKey(bytes(range(32)))
    for number, private in ((1, bytes(32)), (2, key.private)):
        path = folder / f"round-{number}.key"
        path.write_text(private.hex())
        path.chmod(0o600)
    keys = again(tmp_path)
    keys.keep_only(kept)
    assert [path.name for path in folder.iterdir()] == [FILE]
    assert public(keys, 2) == (key.public if kept else None)


def test_who_destroys_late_does_not_hit_the_next_one(keys: RoundKeys) -> None:
    """The last round's key is destroyed while the next one is proposed."""
    made = [keys.fresh() for _ in range(200)]
    both, lost = threading.Barrier(2, timeout=60), list[int]()

    def propose() -> None:
        for number, key in enumerate(made):
            both.wait()
            keys.store(number, key)
            both.wait()
            if public(keys, number) != key.public:
                lost.append(number)

    def destroy() -> None:
        for number in range(len(made)):
            both.wait()
            keys.destroy(number - 1)
            both.wait()

    with ThreadPoolExecutor(2) as threads:
        for done in [threads.submit(propose), threads.submit(destroy)]:
            done.result(60)
    assert not lost
