"""The operator is told which classes a version learned nothing of, why, and what to do about it."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from starlette.testclient import TestClient

from fanlight.learning.model_file import decode
from fanlight.services.main_server.app import MainServerParts
from tests.unit.consoles.federation import Page, owner
from tests.unit.main_server.past import add_round, server

PAGES = ("/", "/task")


def federation(folder: Path, *classes: str, demo: bool = False) -> tuple[MainServerParts, TestClient]:
    app, parts = server(folder / "federation", classes=classes, demo=demo)
    return parts, owner(app)


def said(browser: TestClient, path: str) -> str:
    """The notice's text; empty if there is none."""
    notice = re.search('<aside [^>]*id="held-back">.*?</aside>', browser.get(path).text, re.DOTALL)
    page = Page()
    page.feed(notice.group() if notice else "")
    return " ".join(page.text.split())


@pytest.mark.parametrize("path", PAGES)
def test_of_two_classes_with_one_that_is_held_back_it_says_that_neither_is_learned(tmp_path: Path, path: str) -> None:
    parts, browser = federation(tmp_path, "cat", "dog")
    assert said(browser, path) == ""
    add_round(parts, 1, supporters=(5, 4))
    with parts.service.database.reading() as tx:
        made = decode(parts.service.models.content(tx, parts.service.models.current(tx).sha256), own=False)
    assert made.version == 1
    assert not np.any(made.weight), "as it says"
    text = said(browser, path)
    assert text.startswith("Nothing was learned in round 1.")
    assert "Fewer than 5 devices have training pictures of dog, and" in text
    assert "Of two classes the other is held back with it" in text
    assert "pictures of it on at least 5 devices" in text
    assert {"/rounds/1", "/task#rules"} <= {link["href"] for link in Page.of(browser.get(path)).all("a")}

    add_round(parts, 2)
    assert said(browser, path) == "", "the newest version learned of both"
    assert parts.overview.status()["held_back"] is None


def test_of_more_classes_the_others_are_learned(tmp_path: Path) -> None:
    parts, browser = federation(tmp_path, "cat", "dog", "fox", "owl")
    add_round(parts, 1, supporters=(5, 0, 5, 4))
    text = said(browser, "/")
    assert text.startswith("dog, owl: not learned in round 1.")
    assert "these classes are held back" in text
    assert "Of two classes" not in text
    assert parts.overview.status()["held_back"] == {
        "round": 1, "classes": ["dog", "owl"], "least": 5, "nothing_learned": False,
    }  # fmt: skip
    add_round(parts, 2, supporters=(0, 0, 5, 0))
    assert said(browser, "/").startswith("Nothing was learned in round 2.")


def test_where_one_device_is_enough_it_says_that_nobody_has_the_class(tmp_path: Path) -> None:
    parts, browser = federation(tmp_path, "cat", "dog", demo=True)
    add_round(parts, 1, supporters=(1, 0))
    text = said(browser, "/")
    assert text.startswith("dog: not learned in round 1.")
    assert "No device has training pictures of dog." in text
    assert "Fewer than" not in text
