"""Whose change of a folder it was: our own moves are not looked for, what others do is noticed even at that moment."""

from __future__ import annotations

from pathlib import Path

import pytest

from fanlight.services.device.library import Filter, State
from fanlight.services.device.library.layout import Layout
from fanlight.services.device.library.stamps import Stamps
from tests.unit.device.library.conftest import Desk, png


@pytest.fixture
def stamps(desk: Desk) -> Stamps:
    found = Stamps()
    assert not found.hold
    found.keep(Layout(desk.folder, split=False).stamps())
    assert found.hold
    return found


def move(folder: Path, before: str, after: str) -> None:
    (folder / before).rename(folder / after)


MOVE = ("bright/0.png", "dark/moved.png")


def test_our_own_move_is_no_change(desk: Desk, stamps: Stamps) -> None:
    with stamps.moving(desk.folder, [MOVE]):
        move(desk.folder, *MOVE)
    assert stamps.hold
    move(desk.folder, "bright/1.png", "dark/other.png")
    assert not stamps.hold


def test_what_others_had_done_before_is_still_noticed(desk: Desk, stamps: Stamps) -> None:
    (desk.folder / "dark" / "foreign.png").write_bytes(png())
    with stamps.moving(desk.folder, [MOVE]):
        move(desk.folder, *MOVE)
    assert not stamps.hold


@pytest.mark.parametrize("where", ["dark/foreign.png", "bright/foreign.png", "foreign.png"])
def test_what_others_do_meanwhile_is_noticed(desk: Desk, stamps: Stamps, where: str) -> None:
    with stamps.moving(desk.folder, [MOVE]):
        (desk.folder / where).write_bytes(png())
        move(desk.folder, *MOVE)
    assert not stamps.hold


def test_a_move_that_did_not_happen_is_looked_into(desk: Desk, stamps: Stamps) -> None:
    with stamps.moving(desk.folder, [MOVE]):
        (desk.folder / MOVE[0]).unlink()
    assert not stamps.hold


def test_a_new_folder_is_looked_into(desk: Desk, stamps: Stamps) -> None:
    with stamps.moving(desk.folder, [("bright/0.png", "_deleted/0.png")]):
        (desk.folder / "_deleted").mkdir()
        move(desk.folder, "bright/0.png", "_deleted/0.png")
    assert not stamps.hold


def test_after_a_label_nothing_is_looked_for_until_somebody_else_changes_the_folder(desk: Desk) -> None:
    before = desk.library.page(Filter(label="bright")).pictures
    desk.library.assign([before[0].sha256], "dark")
    assert desk.library._stamps.hold
    assert desk.library.page(Filter(label="dark")).total == 6
    (desk.folder / "dark" / "foreign.png").write_bytes(png(5))
    assert desk.library.page(Filter(State.LABELLED)).total == 11
