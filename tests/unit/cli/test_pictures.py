"""``fanlight pictures`` on a person's own folder."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.unit.learning.drawn import pictures

Fanlight = Callable[..., Any]


@pytest.mark.parametrize(("bad", "named", "more"), [(1, 1, ""), (20, 20, ""), (23, 20, "and 3 more")])
def test_bad_pictures_are_named_and_the_rest_is_used(
    fanlight: Fanlight, tmp_path: Path, bad: int, named: int, more: str
) -> None:
    for start, name in enumerate(("cat", "dog")):
        pictures(tmp_path / "own" / name, 10, 10 * start)
    for number in range(bad):
        (tmp_path / "own" / "cat" / f"bad{number}\n.jpg").write_bytes(b"no picture")
    for _ in ("made", "found again"):
        ran = fanlight("pictures", tmp_path / "own", tmp_path / "made")
        assert (ran.code, len(ran.out.splitlines())) == (0, 2)
        lines = ran.err.splitlines()
        assert sum("own/cat/bad" in line for line in lines) == named
        assert lines[named:] == [more] * bool(more)
    assert len(list((tmp_path / "made").rglob("*.png"))) == 20


def test_a_class_that_ends_up_without_pictures_is_named(fanlight: Fanlight, tmp_path: Path) -> None:
    for start, name in enumerate(("cat", "dog")):
        pictures(tmp_path / "own" / name, 10, 10 * start)
    (tmp_path / "own" / "hen").mkdir()
    (tmp_path / "own" / "hen" / "egg.png").write_bytes(b"no picture")
    ran = fanlight("pictures", tmp_path / "own", tmp_path / "made")
    assert ran.code == 0
    assert "own/hen/egg.png" in ran.err
    assert "no picture of the class hen can be used" in ran.err
    assert "class cat" not in ran.err


def test_a_good_folder_is_dealt_out_without_a_word(fanlight: Fanlight, tmp_path: Path) -> None:
    for start, name in enumerate(("cat", "dog")):
        pictures(tmp_path / "own" / name, 10, 10 * start)
    assert fanlight("pictures", tmp_path / "own", tmp_path / "made").err == ""
