from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image
from sqlalchemy import text

from fanlight.errors import DataError, NotFound
from fanlight.learning.feature_cache import FeatureCache
from fanlight.learning.folders import scan
from fanlight.services.device.library import Filter, Operation, Problem, State
from tests.unit.device.library.conftest import Desk, png


def ids(desk: Desk, **wanted: object) -> list[str]:
    return [picture.sha256 for picture in desk.library.page(Filter(**wanted)).pictures]  # type: ignore[arg-type]


def test_the_folder_is_shown_with_the_parts_of_training(desk: Desk) -> None:
    page = desk.library.page()
    assert (page.total, page.pages, page.number) == (10, 1, 1)
    found = scan(desk.folder, desk.classes)
    parts = {picture.content_hash: part for part in ("train", "valid", "test") for picture in found.part(part)}
    assert {picture.sha256: picture.part for picture in page.pictures} == parts
    assert {picture.label for picture in page.pictures} == {"bright", "dark"}
    assert {(picture.width, picture.height) for picture in page.pictures} == {(32, 32)}


def test_pages_do_not_overlap_and_the_last_one_answers_for_those_beyond(desk: Desk) -> None:
    pages = [desk.library.page(Filter(), number, 4) for number in (1, 2, 3)]
    assert [len(page.pictures) for page in pages] == [4, 4, 2]
    assert len({picture.sha256 for page in pages for picture in page.pictures}) == 10
    assert desk.library.page(Filter(), 99, 4) == pages[2]


def test_new_pictures_have_no_label_and_are_not_learned_from(desk: Desk) -> None:
    given = [("a.png", io.BytesIO(png(1))), ("a.png", io.BytesIO(png(2))), ("again.png", io.BytesIO(png(1)))]
    added = desk.library.add([*given, ("bad.png", io.BytesIO(b"no picture"))])
    assert (added.count, added.duplicates) == (2, 1)
    [refused] = added.refused
    assert refused.name == "bad.png"
    assert refused.reason.startswith("not a picture of a kind that is read"), "the name is told once"
    assert refused.next == "Save it as JPEG or PNG, or remove it."
    assert len(ids(desk, state=State.UNLABELLED)) == 2
    assert sum(len(scan(desk.folder, desk.classes).part(part)) for part in ("train", "valid", "test")) == 10


def test_a_label_moves_the_file_and_undo_moves_it_back_even_after_a_restart(desk: Desk) -> None:
    desk.library.add([("new.png", io.BytesIO(png(1)))])
    [new] = ids(desk, state=State.UNLABELLED)
    before = desk.files()
    assert desk.library.assign([new], "dark") == 1
    assert "dark/new.png" in desk.files()
    assert desk.library.picture(new).label == "dark"
    desk.restart()
    assert desk.library.undoable() == Operation("assign", 1, "dark")
    assert desk.library.undo() == Operation("assign", 1, "dark")
    assert desk.files() == before
    assert desk.library.picture(new).state == State.UNLABELLED
    assert desk.library.undoable() is None
    assert desk.library.undo() is None


def test_several_operations_are_undone_in_their_order(desk: Desk) -> None:
    before, some = desk.files(), ids(desk, label="bright")
    desk.library.assign(some[:2], "dark")
    desk.library.set_unusable(some)
    desk.library.delete(some)
    assert ids(desk, label="bright") == []
    assert desk.library.counts().states[State.DELETED] == 5
    assert [undone.kind for _ in range(3) if (undone := desk.library.undo())] == ["delete", "unusable", "assign"]
    assert desk.files() == before


def test_nothing_is_overwritten_by_a_file_of_the_same_name(desk: Desk) -> None:
    desk.library.assign(ids(desk, label="bright"), "dark")
    assert len(desk.files()) == 10
    assert desk.library.counts().labels == {"dark": 10}


def test_a_class_that_the_task_does_not_have_is_refused(desk: Desk) -> None:
    with pytest.raises(DataError, match="no class"):
        desk.library.assign(ids(desk), "../../elsewhere")
    assert len(desk.files()) == 10


@pytest.mark.parametrize("name", ["../up", "a/b", "", ".hidden", "_deleted", "line\nbreak", "x" * 300])
def test_a_class_from_the_server_cannot_lead_out_of_the_folder(desk: Desk, name: str) -> None:
    desk.classes = ("bright", "dark", name)
    before = desk.files()
    with pytest.raises(DataError, match="cannot"):
        desk.library.assign(ids(desk), name)
    assert desk.files() == before


def test_changes_by_other_means_are_noticed(desk: Desk) -> None:
    assert desk.library.page().total == 10
    (desk.folder / "bright" / "0.png").rename(desk.folder / "dark" / "moved.png")
    (desk.folder / "bright" / "1.png").unlink()
    (desk.folder / "dark" / "text.png").write_text("no picture")
    assert desk.library.page().total == 9
    assert desk.library.counts().labels == {"bright": 3, "dark": 6}
    [(path, why)] = desk.library.unreadable()
    assert path == "dark/text.png"
    assert path not in why


def test_many_new_pictures_are_read_by_a_job(desk: Desk) -> None:
    desk.library.page()
    for number in range(30):
        (desk.folder / "dark" / f"more-{number}.png").write_bytes(png(number, 8))
    desk.library.page()
    job = desk.jobs.latest("read-pictures")
    assert job is not None
    assert desk.jobs.wait(job.id, 60).state == "done"
    assert desk.library.page().total == 40


def test_where_the_owner_has_split_a_corrected_picture_keeps_its_part(desk: Desk) -> None:
    for name in ("bright", "dark"):
        (desk.folder / "Test").mkdir(exist_ok=True)
        (desk.folder / name).rename(desk.folder / "Test" / name)
    some = ids(desk, label="bright")
    desk.library.assign(some, "dark")
    assert {path.rpartition("/")[0] for path in desk.files()} == {"Test/dark"}
    desk.library.add([(f"{n}.png", io.BytesIO(png(n))) for n in range(20)], "bright")
    assert {path.rpartition("/")[0] for path in desk.files()} >= {"train/bright", "Test/bright"}


def test_copies_of_a_picture_are_told_and_one_remains_after_labelling(desk: Desk) -> None:
    (desk.folder / "dark" / "copy.png").write_bytes((desk.folder / "bright" / "0.png").read_bytes())
    desk.library.page()
    [[copied]] = [group for group in desk.library.duplicates() if len(group) == 1]
    desk.library.assign([copied.sha256], "dark")
    assert desk.library.counts().labels == {"bright": 4, "dark": 6}
    assert len([path for path in desk.files() if path.startswith("_deleted/")]) == 1
    assert all(len(group) > 1 for group in desk.library.duplicates())


def test_look_alikes_follow_every_change_of_what_is_in_use(desk: Desk) -> None:
    big = Image.open(io.BytesIO(png(7, (96, 96))))
    small = io.BytesIO()
    big.resize((64, 64)).save(small, "PNG")
    desk.library.add([("big.png", io.BytesIO(png(7, (96, 96)))), ("small.png", io.BytesIO(small.getvalue()))])

    def alike() -> list[set[str]]:
        groups = ({picture.name for picture in group} for group in desk.library.duplicates())
        return [names for names in groups if names & {"big.png", "small.png"}]

    [one, other] = ids(desk, state=State.UNLABELLED)
    both = [{"big.png", "small.png"}]
    assert alike() == both
    desk.library.assign([one], "dark")
    assert alike() == both, "a label takes nothing away"
    desk.library.delete([other])
    assert alike() == []
    desk.library.undo()
    assert alike() == both
    desk.library.set_unusable([other])
    assert alike() == []
    desk.library.assign([other], "bright")
    assert alike() == both
    (desk.folder / desk.library.picture(one).path).unlink()
    assert alike() == [], "the owner has removed the file by other means"


def test_thumbnails_are_small_keep_their_shape_and_go_with_the_picture(desk: Desk) -> None:
    desk.library.add([("wide.png", io.BytesIO(png(3, (800, 200))))])
    [wide] = ids(desk, state=State.UNLABELLED)
    path = desk.library.thumbnail(wide)
    with Image.open(path) as small:
        assert (small.format, small.size) == ("WEBP", (256, 64))
    assert path.stat().st_mode & 0o077 == 0
    desk.library.original(wide).unlink()
    assert desk.library.page(Filter(State.UNLABELLED)).total == 0
    assert not path.exists()
    with pytest.raises(NotFound):
        desk.library.thumbnail(wide)


def test_a_thumbnail_stands_upright(desk: Desk) -> None:
    out, exif = io.BytesIO(), Image.Exif()
    exif[0x0112] = 6
    with Image.open(io.BytesIO(png(3, (800, 200)))) as image:
        image.save(out, "JPEG", exif=exif)
    desk.library.add([("turned.jpg", io.BytesIO(out.getvalue()))])
    [turned] = desk.library.page(Filter(State.UNLABELLED)).pictures
    assert (turned.width, turned.height) == (200, 800)
    with Image.open(desk.library.thumbnail(turned.sha256)) as small:
        assert small.size == (64, 256)


def test_only_new_names_that_a_folder_can_have_are_proposed(desk: Desk) -> None:
    desk.library.propose_class("  parcel ")
    assert desk.proposed == ["parcel"]
    for name in ("dark", "../x"):
        with pytest.raises(DataError):
            desk.library.propose_class(name)
    assert desk.proposed == ["parcel"]


def test_deleted_pictures_come_back_to_where_they_were_and_undo_deletes_them_again(desk: Desk) -> None:
    before, some = desk.files(), ids(desk, label="bright")
    desk.library.delete(some)
    assert desk.library.restore(some) == 5
    assert desk.files() == before
    assert desk.library.undo() == Operation("restore", 5, "bright")
    assert desk.library.counts().states[State.DELETED] == 5
    assert desk.library.restore(ids(desk, label="dark")) == 0


def test_what_was_deleted_by_other_means_comes_back_without_a_label(desk: Desk) -> None:
    (desk.folder / "_deleted").mkdir()
    (desk.folder / "bright" / "0.png").rename(desk.folder / "_deleted" / "0.png")
    assert desk.library.restore(ids(desk, state=State.DELETED)) == 1
    assert desk.library.counts().states[State.UNLABELLED] == 1


def test_an_emptied_bin_is_gone_for_good_and_nothing_else_is(desk: Desk) -> None:
    some = ids(desk, label="bright")
    small = [desk.library.thumbnail(sha256) for sha256 in some]
    cache = FeatureCache(desk.state / "features", "ab" * 32, 64, 3)
    kept = ids(desk, label="dark")[1]
    for sha256 in (*some, kept):
        cache.put(sha256, np.ones(3, np.float32))
    desk.library.set_unusable(ids(desk, label="dark")[:1])
    desk.library.delete(some)
    (desk.folder / "_deleted" / "note.txt").write_text("no picture")
    desk.library.refresh()
    assert desk.library.empty_bin() == 6
    assert not any(path.startswith("_deleted/") for path in desk.files())
    assert len(desk.files()) == 5
    assert not any(path.exists() for path in small)
    assert [cache.get(sha256) is None for sha256 in (*some, kept)] == [True] * len(some) + [False]
    assert desk.library.undo() == Operation("unusable", 1)
    assert desk.library.empty_bin() == 0


def test_the_pictures_beside_one_are_those_that_the_gallery_shows(desk: Desk) -> None:
    for wanted in (Filter(), Filter(State.LABELLED, "dark")):
        shown = [picture.sha256 for picture in desk.library.page(wanted).pictures]
        for at, sha256 in enumerate(shown):
            beside = desk.library.beside(sha256, wanted)
            neighbours = (shown[at - 1] if at else None, shown[at + 1] if at + 1 < len(shown) else None)
            assert (beside.previous, beside.next) == neighbours
            assert (beside.number, beside.total) == (at + 1, len(shown))
    outside = desk.library.beside(shown[0], Filter(State.DELETED))
    assert (outside.number, outside.total) == (0, 0)
    assert desk.library.shows(Filter(label="dark"), shown[0])
    assert not desk.library.shows(Filter(label="bright"), shown[0])


def test_what_may_be_wrong_with_a_picture_and_what_looks_like_it_is_told(desk: Desk) -> None:
    desk.library.add([("soft.png", io.BytesIO(png(smooth=True))), ("soft2.png", io.BytesIO(png(1, 90, smooth=True)))])
    one, other = ids(desk, state=State.UNLABELLED)
    assert [picture.sha256 for picture in desk.library.alike(one)] == [other]
    assert Problem.BLURRED in desk.library.problems(one)
    assert desk.library.alike(ids(desk, label="dark")[0]) == []
    with pytest.raises(NotFound):
        desk.library.alike("0" * 64)


def test_pictures_of_an_earlier_version_are_measured_once_more_and_keep_what_is_known_of_them(desk: Desk) -> None:
    desk.library.add([("soft.png", io.BytesIO(png(smooth=True))), ("soft2.png", io.BytesIO(png(1, 90, smooth=True)))])
    before = desk.library.page()
    one, other = ids(desk, state=State.UNLABELLED)
    with desk.database.transaction() as tx:
        tx.execute(text("ALTER TABLE pictures DROP COLUMN colours"))
        for table in ("memories", "own_names", "home_models", "picture_sides", "small_files"):
            tx.execute(text(f"DROP TABLE {table}"))
        tx.execute(text("UPDATE alembic_version SET version_num = '0003'"))
    desk.now += 60
    desk.restart()
    assert desk.library.alike(one) == [], "nothing is said of pictures that were not looked at"
    desk.library.notice()
    assert [picture.sha256 for picture in desk.library.alike(one)] == [other]
    assert desk.library.page() == before


def test_pictures_with_the_same_slopes_and_other_colours_are_not_alike(desk: Desk) -> None:
    def patch(colour: tuple[int, int, int]) -> io.BytesIO:
        image = Image.new("RGB", (64, 64), (120, 200, 120))
        image.paste(colour, (24, 16, 40, 48))
        file = io.BytesIO()
        image.save(file, "PNG")
        return io.BytesIO(file.getvalue())

    desk.library.add([("red.png", patch((230, 30, 30))), ("violet.png", patch((150, 40, 190)))])
    red, violet = desk.library.page(Filter(State.UNLABELLED)).pictures
    assert (int.from_bytes(red.perceptual_hash) ^ int.from_bytes(violet.perceptual_hash)).bit_count() <= 4
    assert desk.library.alike(red.sha256) == []
