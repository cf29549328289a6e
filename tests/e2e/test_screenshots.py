"""``make screenshots`` takes pictures of real processes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from tests.requirements import require

ROOT = Path(__file__).parents[2]


@pytest.mark.timeout(300)
def test_the_command_takes_pictures(tmp_path: Path) -> None:
    require("chromium")
    command = [sys.executable, "-m", "scripts.screenshots", "--out", str(tmp_path), "--chapter", "no-devices"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    widths = {path.name: width(path) for path in (tmp_path / "screenshots").glob("*.webp")}
    assert (widths["empty-main-desk.webp"], widths["empty-main-phone.webp"]) == (1280, 390)
    assert len(widths) == 18
    assert not (tmp_path / "screenshots.md").exists(), "a part is no album"


def width(path: Path) -> int:
    with Image.open(path) as picture:
        return picture.width
