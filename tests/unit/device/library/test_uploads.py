from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping

import pytest

from fanlight.errors import DataError
from fanlight.services.device.library import Added, Filter, Operation, Problem, State, adding
from fanlight.services.device.library.folder_names import FolderNames
from fanlight.services.device.library.records import RefusedFile
from fanlight.services.device.library.taking_in import NO_FOLDER
from fanlight.services.device.library.uploads import KEPT, Uploads
from tests.unit.device.library.conftest import Desk, png


def packed(files: Mapping[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> io.BytesIO:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    out.seek(0)
    return out


def test_names_in_a_zip_lead_nowhere(desk: Desk) -> None:
    names = ["../../up.png", "/etc/root.png", "a\\..\\b.png", "cat/in.png", "__MACOSX/x.png", ".hidden.png"]
    added = desk.library.add_zip(packed({name: png(n) for n, name in enumerate(names)}))
    assert added.count == 4
    new = {path for path in desk.files() if path.startswith("_unlabelled/")}
    assert new == {f"_unlabelled/{name}.png" for name in ("up", "root", "b", "in")}
    assert [path.name for path in desk.folder.parent.glob("*.png")] == []


def test_a_zip_that_says_it_is_too_large_is_refused_unread(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(adding, "MAX_TOTAL_BYTES", 1000)
    assert refusal(desk, packed({"zeros.png": bytes(10_000)})).startswith("The ZIP file unpacks to more")


def test_a_zip_that_holds_more_than_it_says_adds_no_more(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(adding, "MAX_TOTAL_BYTES", 30_000)
    monkeypatch.setattr(adding, "_check", lambda entries: None)
    added = desk.library.add_zip(packed({f"{n}.png": png(n) for n in range(5)}))
    assert added.count == 1
    assert "unpacks to more" in added.refused[0].reason
    assert desk.library.counts().states[State.UNLABELLED] == 1


def test_a_zip_with_too_many_files_is_refused(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(adding, "MAX_FILES", 2)
    assert "3 files" in refusal(desk, packed({f"{n}.png": b"" for n in range(3)}))


def test_too_many_files_at_once_are_refused(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(adding, "MAX_FILES", 2)
    with pytest.raises(DataError, match="more than 2 files"):
        desk.library.take_in([(f"{n}.png", io.BytesIO(png(n))) for n in range(3)])
    assert desk.library.counts().states[State.UNLABELLED] == 2


def refusal(desk: Desk, archive: io.BytesIO) -> str:
    """Why a ZIP file is refused, of which nothing is taken in."""
    added = desk.library.add_zip(archive, name="all.zip")
    [file] = added.refused
    assert (added.count, file.name) == (0, "all.zip")
    assert file.next, "it says what to do"
    return file.reason


@pytest.mark.parametrize("data", [b"", b"PK\x03\x04 and then nothing", b"GIF89a"])
def test_what_is_no_zip_is_refused(desk: Desk, data: bytes) -> None:
    assert "The ZIP file is damaged, or is none." in refusal(desk, io.BytesIO(data))


def test_unusual_packing_is_refused(desk: Desk) -> None:
    assert "unusual" in refusal(desk, packed({"a.png": png()}, zipfile.ZIP_LZMA))


def test_what_is_wrong_with_one_file_stops_no_other(desk: Desk) -> None:
    good = packed({"in.png": png(2)})
    files = [("bad.zip", io.BytesIO(b"PK")), ("x" * 10_000, io.BytesIO(b"no")), ("a.png", io.BytesIO(png(1)))]
    added = desk.library.take_in([*files, ("good.ZIP", good)])
    assert added.count == 2
    assert [len(file.name) for file in added.refused] == [200, 7]


def test_folders_named_like_classes_label_their_pictures(desk: Desk) -> None:
    paths = ["mine/Dark/1.png", "train\\bright\\2.png", "dark/../../bright/3.png", "holiday/4.png", "5.png"]
    files = [(path, io.BytesIO(png(n))) for n, path in enumerate(paths)]
    added = desk.library.take_in(
        [*files, ("dark/.hidden/6.png", io.BytesIO(png(6))), ("dark/Thumbs.db", io.BytesIO(b""))], by_folder=True
    )
    assert (added.count, added.unlabelled, added.refused) == (5, 2, ())
    assert added.labels == {"dark": 1, "bright": 2}
    assert added.strange == {"holiday": 1, NO_FOLDER: 1}
    assert desk.library.counts().labels == {"bright": 7, "dark": 6}
    assert {path.name for path in desk.folder.iterdir()} == {"bright", "dark", "_unlabelled"}


def test_folders_in_a_zip_label_their_pictures_if_that_is_asked(desk: Desk) -> None:
    files = {"all/bright/a.png": png(1), "all/night/b.png": png(2)}
    added = desk.library.take_in([("all.zip", packed(files))], by_folder=True)
    assert (added.labels, added.strange) == ({"bright": 1}, {"night": 1})
    again = desk.library.take_in([("all.zip", packed({**files, "bright/c.png": png(3)}))])
    assert (again.count, again.duplicates, again.labels, again.strange) == (1, 2, {}, {})


def test_what_is_said_of_pictures_that_are_there_reaches_those_without_a_label_in_one_operation(desk: Desk) -> None:
    files = {f"{n}.png": png(n) for n in range(6)}
    desk.library.take_in(streams(files))
    known = {picture.name: picture.sha256 for picture in desk.library.page(Filter(State.UNLABELLED)).pictures}
    desk.library.assign([known["4.png"]], "bright")
    desk.library.set_unusable([known["5.png"]])
    before = desk.files()
    added, onto = Added(0), None
    for some in (("0.png", "1.png", "4.png"), ("2.png", "5.png")):
        added += desk.library.take_in(streams({name: files[name] for name in some}), "dark", onto=onto)
        onto = added.operation
    assert (added.count, added.duplicates, added.given, added.kept) == (0, 5, {"dark": 3}, {"bright": 1})
    assert (added.unusable, added.waiting, added.said) == (1, 0, {})
    assert {desk.library.picture(known[f"{n}.png"]).label for n in range(3)} == {"dark"}
    assert desk.library.undo() == Operation("assign", 3, "dark")
    assert desk.files() == before
    again = desk.library.take_in(streams({"0.png": files["0.png"]}))
    assert (again.given, again.waiting) == ({}, 1)


def test_an_operation_in_between_is_undone_by_itself(desk: Desk) -> None:
    desk.library.take_in(streams({f"{n}.png": png(n) for n in range(2)}))
    first = desk.library.take_in(streams({"0.png": png(0)}), "dark")
    desk.library.delete([desk.library.page(Filter(State.LABELLED, "bright")).pictures[0].sha256])
    desk.library.take_in(streams({"1.png": png(1)}), "dark", onto=first.operation)
    undone = [desk.library.undo() for _ in range(3)]
    assert undone == [Operation("assign", 1, "dark"), Operation("delete", 1), Operation("assign", 1, "dark")]


def test_folders_label_pictures_that_are_there_also_from_a_zip(desk: Desk) -> None:
    files = {"x/dark/a.png": png(1), "x/bright/b.png": png(2), "x/night/c.png": png(3)}
    desk.library.take_in(streams(files))
    added = desk.library.take_in([("all.zip", packed(files))], by_folder=True)
    assert (added.given, added.waiting, added.strange) == ({"dark": 1, "bright": 1}, 1, {})


def test_folders_in_a_zip_that_nobody_asked_about_only_offer_labels(desk: Desk) -> None:
    files = {"all/Bright/a.png": png(1), "all/dark/b.png": png(2), "all/dark/c.png": png(3), "all/night/d.png": png(4)}
    desk.library.take_in(streams({"c.png": png(3)}))
    upload, added = desk.library.uploads.note("", desk.library.take_in([("all.zip", packed(files))]))
    assert (added.count, added.unlabelled, added.duplicates, added.waiting) == (3, 3, 1, 0)
    assert desk.library.offered(added.said) == {"bright": 1, "dark": 2}
    named = {picture.name: picture.sha256 for picture in desk.library.page(Filter(State.UNLABELLED)).pictures}
    desk.library.assign([named["b.png"]], "bright")
    assert desk.library.offered(added.said) == {"bright": 1, "dark": 1}, "the owner has said otherwise"
    assert desk.library.label_as_said(upload) == Operation("assign", 2)
    assert desk.library.picture(named["b.png"]).label == "bright"
    assert desk.library.offered(added.said) == {}
    assert desk.library.undo() == Operation("assign", 2)
    with pytest.raises(DataError, match="forgotten"):
        desk.library.label_as_said("0" * 32)


def test_a_zip_in_which_folders_are_asked_about_offers_nothing(desk: Desk) -> None:
    files = {"dark/a.png": png(1)}
    assert desk.library.take_in([("all.zip", packed(files))], "bright").said == {}
    assert desk.library.take_in([("all.zip", packed(files))], by_folder=True).kept == {"bright": 1}
    assert desk.library.take_in(streams({"bright/b.png": png(2)})).said == {}, "the page asks about those"


def streams(files: Mapping[str, bytes]) -> list[tuple[str, io.BytesIO]]:
    return [(name, io.BytesIO(data)) for name, data in files.items()]


def test_classes_that_differ_only_in_capitals_are_told_apart() -> None:
    names = FolderNames(["Cat", "cat", "dog"])
    paths = ["Cat/1", "cat/1", "CAT/1", "DOG/1", "dog/other/1", "1"]
    assert [names.label(path) for path in paths] == ["Cat", "cat", None, "dog", "dog", None]


def test_an_upload_in_several_requests_is_added_up_and_the_oldest_are_forgotten() -> None:
    uploads, no = Uploads(), RefusedFile("x", "damaged", "Copy it again.")
    name, _added = uploads.note("no name of ours", Added(1, labels={"cat": 1}))
    assert uploads.note(name, Added(2, 1, (no,), {"cat": 1}, {"z": 1})) == (
        name,
        Added(3, 1, (no,), {"cat": 2}, {"z": 1}),
    )
    assert uploads.get("no name of ours") is None
    for _ in range(KEPT):
        uploads.note("", Added(0))
    assert uploads.get(name) is None


@pytest.mark.parametrize(
    ("name", "kept"),
    [
        ("<script>alert(1)</script>.png", "script.png"),
        ("\u202egnp.exe", "gnp-exe.picture"),
        ("C:\\Users\\me\\Bäume (3).JPG", "Bäume (3).jpg"),
        ("..", "picture.picture"),
        ("x" * 10_000 + ".png", "x" * 80 + ".png"),
        ("_.png", "_.png"),
    ],
)
def test_hostile_names_become_harmless(name: str, kept: str) -> None:
    assert adding.safe_name(name) == kept


def test_warnings_name_what_is_wrong_and_show_it(desk: Desk) -> None:
    desk.library.add([(f"{n}.png", io.BytesIO(png(n))) for n in range(30)], "dark")
    desk.library.add([("soft.png", io.BytesIO(png(smooth=True))), ("soft2.png", io.BytesIO(png(1, 90, smooth=True)))])
    found = {warning.kind: warning for warning in desk.library.warnings()}
    assert set(found) == {"few", "imbalance", "tiny", "blurred", "duplicates"}
    assert found["few"].filter == Filter(State.LABELLED, "bright")
    assert found["tiny"].count == 10
    assert found["blurred"].count == desk.library.page(Filter(problem=Problem.BLURRED)).total == 2
    assert found["duplicates"].count == desk.library.page(Filter(problem=Problem.DUPLICATES)).total == 1
    [group] = desk.library.duplicates()
    assert sorted(picture.name for picture in group) == ["soft.png", "soft2.png"]


def test_a_class_that_the_task_does_not_know_is_told(desk: Desk) -> None:
    (desk.folder / "dark").rename(desk.folder / "night")
    warning = next(warning for warning in desk.library.warnings() if warning.kind == "unknown-class")
    assert "night" in warning.text
    assert warning.count == 5
