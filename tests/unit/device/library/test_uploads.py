from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping

import pytest

from fanlight.errors import DataError
from fanlight.services.device.library import Filter, Problem, State, adding
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
    with pytest.raises(DataError, match="unpacks to more"):
        desk.library.add_zip(packed({"zeros.png": bytes(10_000)}))


def test_a_zip_that_holds_more_than_it_says_adds_no_more(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(adding, "MAX_TOTAL_BYTES", 30_000)
    monkeypatch.setattr(adding, "_check", lambda entries: None)
    with pytest.raises(DataError, match="unpacks to more"):
        desk.library.add_zip(packed({f"{n}.png": png(n) for n in range(5)}))
    assert desk.library.counts().states[State.UNLABELLED] == 1


def test_a_zip_with_too_many_files_is_refused(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(adding, "MAX_FILES", 2)
    with pytest.raises(DataError, match="3 files"):
        desk.library.add_zip(packed({f"{n}.png": b"" for n in range(3)}))


@pytest.mark.parametrize("data", [b"", b"PK\x03\x04 and then nothing", b"GIF89a"])
def test_what_is_no_zip_is_refused(desk: Desk, data: bytes) -> None:
    with pytest.raises(DataError, match="ZIP"):
        desk.library.add_zip(io.BytesIO(data))


def test_unusual_packing_is_refused(desk: Desk) -> None:
    with pytest.raises(DataError, match="unusual"):
        desk.library.add_zip(packed({"a.png": png()}, zipfile.ZIP_LZMA))


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
