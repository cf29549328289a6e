"""Hostile names at the doors, in JSON, in downloads, in model cards, in logs and on the terminal.

What browsers make of them: ``tests/e2e/test_hostile_pages.py``.
"""

from __future__ import annotations

import io
import json
import logging
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog
from markdown_it import MarkdownIt
from markdown_it.token import Token

from fanlight.cli import report
from fanlight.cli.saying import say
from fanlight.core.printable import printable
from fanlight.errors import DataError, LocalError, MalformedMessage, PictureError, SettingsError
from fanlight.protocol.exchange import ClassProposal
from fanlight.services.device.library.adding import examine, safe_name, unzip
from fanlight.services.device.settings import DeviceSettings
from fanlight.services.federation import issue_token_file
from fanlight.services.http.logging import configure_logging
from fanlight.services.http.sessions import OwnerSessions
from fanlight.services.http.signing_in import announce_login
from fanlight.services.main_server import class_proposals, model_card
from fanlight.services.main_server.task import Task
from tests.hostile import LINES, LONG, SCRIPT, TERMINAL, TEXTS, TURNED
from tests.unit.consoles.federation import Page, make_folder, owner
from tests.unit.main_server.past import BETTER, add_member, add_round, measure, server

texts = pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
NEVER_CLASSES = (SCRIPT, TURNED, TERMINAL, LINES, LONG)
"""None of these can be a class: slashes, letters that cannot be printed, too long."""


def is_plain(text: str) -> bool:
    """One line, and nothing in it that a terminal obeys or that turns text around."""
    return text.isprintable()


# ---- at the doors


@pytest.mark.parametrize("name", NEVER_CLASSES)
def test_a_task_refuses_them_as_classes(name: str) -> None:
    with pytest.raises(SettingsError) as refused:
        Task.default(classes=("cat", name))
    assert is_plain(refused.value.message)
    assert len(refused.value.message) < 400


@texts
def test_the_operator_cannot_name_a_device_so(tmp_path: Path, text: str) -> None:
    folder = make_folder(tmp_path / "federation")
    with pytest.raises(SettingsError, match="cannot be a device's name") as refused:
        issue_token_file(folder, text, 2_000_000_000)
    assert is_plain(refused.value.message)


def test_a_device_cannot_call_itself_by_ten_thousand_letters(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="at most 64 characters"):
        DeviceSettings(token=tmp_path, data=tmp_path, name=LONG)


@pytest.mark.parametrize("name", NEVER_CLASSES)
def test_the_main_server_takes_no_proposal_of_them(tmp_path: Path, name: str) -> None:
    _app, parts = server(tmp_path / "federation")
    message = ClassProposal.model_construct(name=name).encode()
    with parts.service.database.transaction() as tx:
        with pytest.raises(MalformedMessage):
            class_proposals.take(tx, b"d" * 16, message, ("cat", "dog"), 0.0)
        assert not class_proposals.listed(tx)


def test_a_note_of_more_than_ten_thousand_letters_is_refused(tmp_path: Path) -> None:
    app, _parts = server(tmp_path / "federation")
    browser = owner(app)
    csrf = Page.of(browser.get("/models/0")).csrf()
    answer = browser.post("/models/0/note", data={"csrf": csrf, "text": LONG + "!"})
    assert answer.status_code == 400
    assert "A note has at most 10,000 characters." in Page.of(answer).text


@texts
def test_a_picture_gets_a_harmless_file_name(text: str) -> None:
    for name in (f"{text}.png", f"../../{text}", f"..\\{text}.exe"):
        kept = safe_name(name)
        assert is_plain(kept)
        assert not set(kept) & set("/\\<>\"'&:|?*\x00")
        assert len(kept.encode()) < 100
        assert not kept.startswith(".")


@texts
def test_names_inside_a_zip_lead_nowhere_and_are_named_in_few_words(text: str) -> None:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr(f"../../{text[:1000]}.png", b"no picture")
    packed.seek(0)
    refusals = []
    for name, stream in unzip(packed):
        with pytest.raises(PictureError) as refused:
            examine(name, stream)
        refusals.append(refused.value.message)
    assert len(refusals) == 1
    assert len(refusals[0]) < 1500


def test_a_class_whose_name_no_folder_can_have_is_named_in_few_words(tmp_path: Path) -> None:
    from fanlight.services.device.library.layout import check_folder_name

    for name in NEVER_CLASSES:
        with pytest.raises(DataError) as refused:
            check_folder_name(name)
        assert is_plain(refused.value.message)
        assert len(refused.value.message) < 400


# ---- what is stored already, in JSON and in downloads


@texts
def test_json_says_them_as_they_are_and_is_never_taken_for_a_page(tmp_path: Path, text: str) -> None:
    app, parts = server(tmp_path / "federation")
    add_member(parts, 1, name=text)  # as an older version may have let it in
    answer = owner(app).get("/api/v1/devices")
    assert [device["name"] for device in answer.json()["devices"]] == [text]
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["x-content-type-options"] == "nosniff"


@texts
def test_downloads_are_named_by_numbers_alone(tmp_path: Path, text: str) -> None:
    app, parts = server(tmp_path / "federation")
    parts.service.promotion.write_note(0, text)
    for path, suffix in (("file", "safetensors"), ("onnx", "onnx"), ("card.md", "md"), ("card.json", "json")):
        answer = owner(app).get(f"/api/v1/models/0/{path}")
        assert answer.headers["content-disposition"] == f'attachment; filename="fanlight-model-0.{suffix}"'
        assert answer.headers["x-content-type-options"] == "nosniff"


# ---- the card, as others draw it

GITHUB = MarkdownIt("gfm-like", {"linkify": False, "html": True})


@texts
def test_a_card_can_be_drawn_anywhere(tmp_path: Path, text: str) -> None:
    """Class names, the task's name and the note: no HTML, link, picture or heading of theirs, but all of the text."""
    classes = ("cat", " ".join(text.split())[:64].replace("/", "|").strip())
    if not classes[1].isprintable():
        classes = ("cat", "|`x`||")
    _app, parts = server(tmp_path / "federation", classes=classes)
    for number in (1, 2):
        add_round(parts, number)
    measure(parts, 2, BETTER)
    parts.service.promotion.write_note(1, text)
    card = parts.records.card(1) | {"task": text}
    plain = model_card.as_markdown(card | {"task": "task", "classes": ["cat", "dog"], "note": "words"})
    drawn = model_card.as_markdown(card)
    assert not set(drawn) - {"\n"} - {letter for letter in drawn if letter.isprintable()}
    tokens = list(every(GITHUB.parse(drawn)))
    assert {token.type for token in tokens} <= {token.type for token in every(GITHUB.parse(plain))}
    kinds = [token.type for token in tokens]
    assert kinds.count("heading_open") == 5
    assert kinds.count("fence") == 1
    assert kinds.count("td_open") == 2 * 3
    code = " ".join(token.content for token in tokens if token.type in ("code_inline", "fence"))
    assert classes[1] in code
    assert printable(" ".join(text.split())) in code
    outside = " ".join(token.content for token in tokens if token.type == "text")
    assert text not in outside
    assert "@" not in outside, "GitHub makes links of addresses in any text that is no code"


def every(tokens: list[Token]) -> Iterator[Token]:
    for token in tokens:
        yield token
        yield from every(token.children or [])


# ---- logs


@texts
@pytest.mark.parametrize("as_json", [False, True], ids=["console", "json"])
@pytest.mark.usefixtures("restored_logging")
def test_a_log_line_stays_one_line(capsys: pytest.CaptureFixture[str], text: str, as_json: bool) -> None:
    configure_logging(json=as_json)
    structlog.get_logger("fanlight").warning(f"from {text}", device=text, inner={"name": text}, many=[text])
    logging.getLogger("uvicorn.error").warning("from %s", text)
    lines = capsys.readouterr().err.removesuffix("\n").split("\n")
    assert len(lines) == 2
    assert all(map(is_plain, lines))
    if as_json:
        assert [json.loads(line)["event"] for line in lines] == [f"from {text}"] * 2


@texts
@pytest.mark.usefixtures("restored_logging")
def test_a_traceback_cannot_forge_a_line(capsys: pytest.CaptureFixture[str], text: str) -> None:
    configure_logging()
    structlog.get_logger("fanlight").error("failed", exc_info=ValueError(f"{text}\n2026-01-01T00:00:00Z [info] forged"))
    first, *others = capsys.readouterr().err.removesuffix("\n").split("\n")
    assert "failed" in first
    assert all(line.startswith("  ") for line in others)
    assert all(map(is_plain, (first, *others)))


# ---- the terminal


@texts
def test_the_terminal_obeys_no_name(capsys: pytest.CaptureFixture[str], text: str) -> None:
    report(LocalError(f"The device {text} has ended.", next=f"Start {text} again."))
    say(f"{text} is started again.")
    announce_login(f"device {text}", "localhost", 8001, OwnerSessions("device", 8001, "t"))
    out, err = capsys.readouterr()
    assert out == ""
    assert all(map(is_plain, err.split("\n")))
