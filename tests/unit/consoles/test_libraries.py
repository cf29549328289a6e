"""What others wrote is unmodified, complete, and listed with its licence."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import pytest
from fastapi import FastAPI

from fanlight.consoles.libraries import VENDOR_FOLDER, Library, libraries
from tests.unit.consoles.federation import (
    AGGREGATOR_URL,
    MAIN_URL,
    Page,
    aggregator,
    device,
    main_server,
    make_folder,
    owner,
    stranger,
)

ROLES = {
    "main": (main_server, MAIN_URL),
    "aggregator": (aggregator, AGGREGATOR_URL),
    "device": (device, "http://localhost:8001"),
}
LISTED = {file: sha256 for library in libraries() for file, sha256 in library.files.items()}


def test_every_file_is_the_released_one() -> None:
    found = {
        path.relative_to(VENDOR_FOLDER).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in VENDOR_FOLDER.rglob("*")
        if path.is_file() and path.name != "vendor.json"
    }
    assert found == LISTED
    assert found


@pytest.mark.parametrize("library", libraries(), ids=lambda library: library.name)
def test_the_licence_lies_beside_it(library: Library) -> None:
    assert "Permission" in library.licence_text
    assert "WITHOUT WARRANTY" in library.licence_text or "DISCLAIMS ALL" in library.licence_text


@pytest.mark.parametrize("file", [file for file in LISTED if file.endswith(".js")])
def test_no_script_needs_what_the_policy_forbids(file: str) -> None:
    script = (VENDOR_FOLDER / file).read_text("utf-8")
    assert "eval(" not in script
    assert "new Function" not in script
    assert "://" not in script.partition("*/")[2], "only its opening comment may name a site"


@pytest.mark.parametrize("role", ROLES)
def test_every_role_lists_them_and_serves_their_files(role: str, tmp_path: Path) -> None:
    make: Callable[[Path], FastAPI]
    make, url = ROLES[role]
    browser = owner(make(make_folder(tmp_path / "federation")), url)
    page = Page.of(browser.get("/libraries"))
    linked = {attributes["href"] for attributes in page.all("a")}
    for library in libraries():
        assert f"{library.name} {library.version}" in page.text
        assert library.licence_text.split("\n", 1)[0] in page.text
        for file, sha256 in library.files.items():
            assert sha256 in page.text
            assert f"/static/vendor/{file}" in linked
            assert browser.get(f"/static/vendor/{file}").status_code == 200
    assert any(attributes["href"] == "/libraries" for attributes in Page.of(browser.get("/")).all("a"))


def test_a_stranger_does_not_see_the_page(tmp_path: Path) -> None:
    assert stranger(main_server(make_folder(tmp_path / "federation"))).get("/libraries").status_code == 303
