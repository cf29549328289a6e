from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from PIL import Image

from fanlight.errors import DataError
from fanlight.learning import pictures as picture_files
from fanlight.learning.folders import PictureSet, classes_of, clients_of, scan
from fanlight.learning.split import PARTS
from tests.unit.learning.drawn import picture, pictures, pixels

CLASSES = ("object", "not_object")


def sizes(found: PictureSet) -> tuple[int, ...]:
    return tuple(len(found.part(part)) for part in PARTS)


def by_owner(folder: Path, classes: tuple[str, ...] = CLASSES) -> Path:
    start = 0
    for part, count in (("train", 6), ("valid", 2), ("test", 3)):
        for name in classes:
            pictures(folder / part / name, count, start)
            start += count
    return folder


def test_split_by_owner(tmp_path: Path) -> None:
    found = scan(by_owner(tmp_path), CLASSES)
    assert sizes(found) == (12, 4, 6)
    assert found.problems == ()
    for part in PARTS:
        for item in found.part(part):
            assert item.path.relative_to(tmp_path).parts[:2] == (part, CLASSES[item.label])
            assert item.content_hash == picture_files.content_hash(item.path)


@pytest.mark.parametrize("name", ["val", "validation", "Valid"])
def test_other_names_of_valid(name: str, tmp_path: Path) -> None:
    by_owner(tmp_path)
    (tmp_path / "valid").rename(tmp_path / name)
    assert sizes(scan(tmp_path, CLASSES)) == (12, 4, 6)


def test_split_here(tmp_path: Path) -> None:
    pictures(tmp_path / "object", 10)
    pictures(tmp_path / "not_object", 5, start=10)
    found = scan(tmp_path, CLASSES)
    assert sizes(found) == (9, 3, 3)
    assert [item.label for item in found.train] == [0] * 6 + [1] * 3


def test_split_here_does_not_depend_on_names(tmp_path: Path) -> None:
    pictures(tmp_path / "one" / "object", 20)
    for number in range(20):
        picture(tmp_path / "two" / "object" / "deeper" / f"z{-number}.png", number)
    one, two = (scan(tmp_path / name, CLASSES) for name in ("one", "two"))
    for part in PARTS:
        assert [item.content_hash for item in one.part(part)] == [item.content_hash for item in two.part(part)]


def test_demonstration(tmp_path: Path) -> None:
    for client in ("Client1", "Client2"):
        by_owner(tmp_path / "Doorbell" / client)
    doorbell = tmp_path / "Doorbell"
    assert [path.name for path in clients_of(doorbell)] == ["Client1", "Client2"]
    assert sizes(scan(doorbell / "Client1", CLASSES)) == (12, 4, 6)
    assert scan(doorbell, CLASSES, client="Client2").train[0].path.is_relative_to(doorbell / "Client2")
    with pytest.raises(DataError, match="2 devices: Client1, Client2"):
        scan(doorbell, CLASSES)
    with pytest.raises(DataError, match="no Client3; it has: Client1, Client2"):
        scan(doorbell, CLASSES, client="Client3")
    shutil.rmtree(doorbell / "Client1")
    assert sizes(scan(doorbell, CLASSES)) == (12, 4, 6)


def test_labels_are_places_in_the_tasks_list(tmp_path: Path) -> None:
    pictures(tmp_path / "not_object", 3)
    assert {item.label for item in scan(tmp_path, ("object", "not_object")).train} == {1}
    assert {item.label for item in scan(tmp_path, ("not_object", "object")).train} == {0}


@pytest.mark.parametrize("parts", [("",), ("train", "test")])
def test_unknown_class_is_refused_with_both_lists(parts: tuple[str, ...], tmp_path: Path) -> None:
    for part in parts:
        pictures(tmp_path / part / "object", 3)
        pictures(tmp_path / part / "Not_Object", 3)
    with pytest.raises(DataError) as caught:
        scan(tmp_path, CLASSES)
    assert caught.value.slug == "unknown-class"
    assert "does not know: Not_Object;" in caught.value.message
    assert "the folder has: Not_Object, object;" in caught.value.message
    assert "the task has: object, not_object" in caught.value.message


def test_a_device_need_not_have_every_class(tmp_path: Path) -> None:
    pictures(tmp_path / "4", 5)
    assert {item.label for item in scan(tmp_path, tuple("0123456789")).train} == {4}


def test_accents_in_two_pieces(tmp_path: Path) -> None:
    pictures(tmp_path / "cafe\u0301", 3)
    assert len(scan(tmp_path, ("caf\u00e9", "tea")).train) == 1
    assert classes_of(tmp_path) == ("caf\u00e9",)


def test_a_class_called_train(tmp_path: Path) -> None:
    pictures(tmp_path / "train", 5)
    pictures(tmp_path / "car", 5, start=5)
    assert sizes(scan(tmp_path, ("train", "car"))) == (6, 2, 2)
    shutil.rmtree(tmp_path / "car")
    assert sizes(scan(tmp_path, ("train", "car"))) == (3, 1, 1)


def test_bad_pictures_are_named_and_the_rest_is_used(tmp_path: Path) -> None:
    pictures(tmp_path / "object", 5)
    (tmp_path / "object" / "empty.png").touch()
    (tmp_path / "object" / "notes.txt").write_text("milk")
    whole = picture(tmp_path / "object" / "cut.png", 77).read_bytes()
    (tmp_path / "object" / "cut.png").write_bytes(whole[: len(whole) // 2])
    found = scan(tmp_path, CLASSES)
    assert sizes(found) == (3, 1, 1)
    assert sorted(problem.path.name for problem in found.problems) == ["cut.png", "empty.png", "notes.txt"]
    assert all(problem.path.name in str(problem) for problem in found.problems)


def test_known_pictures_are_not_decoded_again_where_their_parts_are_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pictures(tmp_path / "object", 5)
    first = scan(tmp_path, CLASSES)
    part_of = {item.content_hash: part for part in PARTS for item in first.part(part)}
    monkeypatch.setattr(picture_files, "load", lambda *_, **__: pytest.fail("decoded again"))
    assert scan(tmp_path, CLASSES, known=part_of.keys(), divide=lambda _unsplit: part_of) == first


def test_pictures_that_look_alike_have_one_part(tmp_path: Path) -> None:
    pictures(tmp_path / "object", 8)
    one = Image.fromarray(pixels(0)).resize((80, 64), Image.Resampling.BILINEAR)
    for number, light in enumerate((1.0, 1.02, 1.04, 1.06)):
        one.point(lambda level, light=light: min(int(level * light), 255)).save(tmp_path / "object" / f"b{number}.jpg")
    found = scan(tmp_path, CLASSES)
    burst = {item.path.name: part for part in PARTS for item in found.part(part) if item.path.suffix == ".jpg"}
    assert len(burst) == 4
    assert len(set(burst.values())) == 1
    assert sizes(found) == (7, 2, 3)


def test_duplicates_in_one_class_count_once(tmp_path: Path) -> None:
    pictures(tmp_path / "object", 5)
    picture(tmp_path / "object" / "again.png", 0)
    found = scan(tmp_path, CLASSES)
    assert sizes(found) == (3, 1, 1)
    assert found.problems == ()


def test_duplicate_in_two_classes_is_said(tmp_path: Path) -> None:
    pictures(tmp_path / "object", 5)
    picture(tmp_path / "not_object" / "same.png", 0)
    found = scan(tmp_path, CLASSES)
    assert sum(sizes(found)) == 5
    assert len(found.problems) == 1
    assert "same.png" in found.problems[0].message
    assert "counts as object, not not_object" in found.problems[0].message


def test_duplicate_in_two_parts_is_not_tested_on(tmp_path: Path) -> None:
    picture(tmp_path / "test" / "object" / "seen.png", 1)
    picture(tmp_path / "train" / "object" / "seen.png", 1)
    picture(tmp_path / "train" / "object" / "other.png", 2)
    found = scan(tmp_path, CLASSES)
    assert sizes(found) == (2, 0, 0)
    assert "counts for train, not test" in found.problems[0].message


def test_hidden_files_are_passed_over(tmp_path: Path) -> None:
    pictures(tmp_path / "object", 5)
    pictures(tmp_path / ".cache", 2)
    pictures(tmp_path / "object" / ".thumbnails", 2, start=50)
    for name in (".DS_Store", "Thumbs.db", "desktop.ini"):
        (tmp_path / "object" / name).write_text("x")
        (tmp_path / name).write_text("x")
    found = scan(tmp_path, CLASSES)
    assert sizes(found) == (3, 1, 1)
    assert found.problems == ()


def test_strays_are_said(tmp_path: Path) -> None:
    by_owner(tmp_path)
    picture(tmp_path / "stray.png", 99)
    picture(tmp_path / "train" / "stray2.png", 98)
    pictures(tmp_path / "extra" / "object", 2, start=200)
    found = scan(tmp_path, CLASSES)
    assert sizes(found) == (12, 4, 6)
    assert {problem.path.name for problem in found.problems} == {"stray.png", "stray2.png", "extra"}


def test_links_in_a_circle_end(tmp_path: Path) -> None:
    pictures(tmp_path / "object", 5)
    (tmp_path / "object" / "loop").symlink_to(tmp_path, target_is_directory=True)
    assert sizes(scan(tmp_path, CLASSES)) == (3, 1, 1)


def test_vanished_folder(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"gone is not there"):
        scan(tmp_path / "gone", CLASSES)


def test_folder_that_is_a_file(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"a\.png cannot be read"):
        scan(picture(tmp_path / "a.png", 1), CLASSES)


def test_empty_folder_is_an_empty_set(tmp_path: Path) -> None:
    assert sizes(scan(tmp_path, CLASSES)) == (0, 0, 0)


def test_pictures_beside_no_class_are_said(tmp_path: Path) -> None:
    pictures(tmp_path, 1)
    found = scan(tmp_path, CLASSES)
    assert sizes(found) == (0, 0, 0)
    assert [problem.message.endswith("it lies in no class's folder") for problem in found.problems] == [True]


def test_empty_classes_are_an_empty_set(tmp_path: Path) -> None:
    (tmp_path / "object").mkdir()
    assert sizes(scan(tmp_path, CLASSES)) == (0, 0, 0)


def test_picture_that_vanishes_meanwhile_is_a_problem(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pictures(tmp_path / "object", 5)
    original = picture_files.read

    def read_and_lose(path: Path | bytes, *, name: str | None = None) -> bytes:
        if isinstance(path, Path) and path.name == "0003.png":
            path.unlink()
        return original(path, name=name)

    monkeypatch.setattr(picture_files, "read", read_and_lose)
    found = scan(tmp_path, CLASSES)
    assert sum(sizes(found)) == 4
    assert [problem.path.name for problem in found.problems] == ["0003.png"]


def test_classes_of(tmp_path: Path) -> None:
    by_owner(tmp_path / "split", ("b", "a"))
    pictures(tmp_path / "flat" / "x", 1)
    assert classes_of(tmp_path / "split") == ("a", "b")
    assert classes_of(tmp_path / "flat") == ("x",)


@pytest.mark.parametrize("inner", ["Client1/train/object", "train/object", "Valid/object", "deeper/test/object"])
@pytest.mark.parametrize("objects", [("Doorbell",), ("Doorbell", "Lamp")])
def test_a_folder_one_level_too_high_is_refused(objects: tuple[str, ...], inner: str, tmp_path: Path) -> None:
    for start, name in enumerate(objects):
        pictures(tmp_path / name / inner, 3, 10 * start)
    meant = (tmp_path / "Doorbell" / inner).parents[len(Path(inner).parts) - 1 - inner.startswith("deeper")]
    for read in (classes_of, lambda folder: scan(folder, objects), lambda folder: scan(folder, CLASSES)):
        with pytest.raises(DataError, match="Doorbell is not the folder of a class") as refused:
            read(tmp_path)
        assert f"Did you mean {meant}?" in refused.value.next


def test_parts_inside_a_class_of_a_part_are_refused(tmp_path: Path) -> None:
    pictures(by_owner(tmp_path) / "train" / "object" / "test", 2, 100)
    with pytest.raises(DataError, match="object is not the folder of a class"):
        scan(tmp_path, CLASSES)
