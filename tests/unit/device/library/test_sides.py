"""A picture keeps its side of the split: also over a restart, and whoever looks first."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sqlalchemy import func, select

from fanlight.learning.folders import scan
from fanlight.learning.split import PARTS
from fanlight.services.device.pictures import Pictures
from fanlight.services.device.sides import Sides
from fanlight.storage.database import Database
from fanlight.storage.migrating import migrate
from fanlight.storage.tables.device import picture_sides
from tests.unit.device.library.conftest import Desk, png
from tests.unit.learning.drawn import pictures

CLASSES = ("bright", "dark")


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    made = Database(tmp_path / "state.sqlite3")
    migrate(made, "device")
    yield made
    made.close()


def parts_of(folder: Path, sides: Sides) -> dict[str, str]:
    found = scan(folder, CLASSES, divide=lambda unsplit: sides.divide(CLASSES, unsplit))
    return {item.path.name: part for part in PARTS for item in found.part(part)}


def trained_from(desk: Desk) -> dict[str, str]:
    """The part of each picture, as training reads the folder after a start."""
    found = Pictures(desk.folder, desk.state, sides=Sides(desk.database))._scan(CLASSES)
    return {item.content_hash: part for part in PARTS for item in found.part(part)}


def shown(desk: Desk) -> dict[str, str]:
    return {picture.sha256: picture.part for picture in desk.library.page().pictures}


def kept(desk: Desk) -> int:
    with desk.database.reading() as tx:
        return tx.execute(select(func.count()).select_from(picture_sides)).scalar_one()


def copies(folder: Path, count: int, first: int = 0) -> None:
    """The same picture, in another light each."""
    folder.mkdir(parents=True, exist_ok=True)
    whole = np.random.default_rng(5).integers(60, 160, (8, 10, 3)).astype(np.uint8)
    for number in range(first, first + count):
        Image.fromarray(whole + np.uint8(number)).resize((80, 64)).save(folder / f"copy-{number}.png")


def test_newcomers_move_nobody_and_copies_follow_the_first_one(tmp_path: Path, database: Database) -> None:
    folder = tmp_path / "data"
    pictures(folder / "bright", 10)
    copies(folder / "bright", 1)
    before = parts_of(folder, Sides(database))
    for number in range(1, 6):
        copies(folder / "bright", 1, number)
        pictures(folder / "dark", number, start=100)
        after = parts_of(folder, Sides(database))
        assert {name: after[name] for name in before} == before
        assert after[f"copy-{number}.png"] == before["copy-0.png"]
        before = after


def test_library_and_training_agree_whoever_looks_first(desk: Desk) -> None:
    first = trained_from(desk)
    assert shown(desk) == first
    for number in range(20):
        (desk.folder / "dark" / f"more-{number}.png").write_bytes(png(number, 16))
    more = shown(desk)
    assert {sha256: more[sha256] for sha256 in first} == first
    assert trained_from(desk) == more


def test_a_picture_keeps_its_part_while_it_has_no_label(desk: Desk) -> None:
    tested = next(sha256 for sha256, part in shown(desk).items() if part == "test")
    desk.library.set_unusable([tested])
    for number in range(5):
        (desk.folder / "bright" / f"more-{number}.png").write_bytes(png(number, 16))
    desk.library.page()
    desk.library.undo()
    assert desk.library.picture(tested).part == "test"


def test_nothing_is_kept_of_a_picture_that_is_gone(desk: Desk) -> None:
    desk.library.refresh()
    assert kept(desk) == 10
    for path in (desk.folder / "dark").iterdir():
        path.unlink()
    desk.library.refresh()
    assert kept(desk) == 5


def test_a_class_of_copies_alone_is_told_and_the_gallery_counts_them(desk: Desk) -> None:
    for path in (desk.folder / "dark").iterdir():
        path.unlink()
    copies(desk.folder / "dark", 5)
    [told] = [finding for finding in desk.library.warnings() if finding.kind == "untested"]
    assert told.count == 5
    assert told.text.startswith("The pictures of dark look too alike")
    dark = [picture for picture in desk.library.page().pictures if picture.label == "dark"]
    assert {picture.part for picture in dark} == {"train"}
    assert {desk.library.alike_counts()[picture.sha256] for picture in dark} == {5}
