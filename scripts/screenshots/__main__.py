"""Take all screenshots of the documentation, or those of one chapter.

Usage: ``python -m scripts.screenshots [--out DOCS] [--chapter NAME]``. It starts federations of its own on free ports
and in a temporary folder, goes through them in Chromium, and writes DOCS/screenshots/*.webp, DOCS/screenshots.md
and DOCS/screenshots.json, in which stands what the pages in them say.
With ``--chapter`` only those pictures are taken, and nothing else below DOCS is touched.
"""

from __future__ import annotations

import argparse
import contextlib
import shutil
import sys
import tempfile
from pathlib import Path

from playwright.sync_api import sync_playwright

from scripts.screenshots.album import Album
from scripts.screenshots.chapters import CHAPTERS

_FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--disable-background-networking"]
_BROWSERS = ("chromium", "chromium-browser", "google-chrome")


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(prog="python -m scripts.screenshots", description=__doc__.partition("\n")[0])
    parser.add_argument("--out", type=Path, default=Path("docs"), help="folder of the documentation")
    parser.add_argument("--chapter", choices=sorted(CHAPTERS), help="take only the pictures of this one")
    asked = parser.parse_args()
    executable = next(filter(None, map(shutil.which, _BROWSERS)), None)
    if executable is None:
        sys.exit("There is no Chromium on this machine. On Debian: apt-get install chromium")
    out: Path = asked.out.resolve()
    pictures = out / "screenshots"
    pictures.mkdir(parents=True, exist_ok=True)
    # pages name folders: from here they are short, and say nothing of this machine
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder), sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=_FLAGS)
        album = Album(browser, pictures)
        for name in [asked.chapter] if asked.chapter else list(CHAPTERS):
            print(f"{name} …", flush=True)
            CHAPTERS[name](album, Path(name))
        browser.close()
    if not asked.chapter:
        album.remove_others()
        (out / "screenshots.md").write_text(album.markdown(), "utf-8")
        (out / "screenshots.json").write_text(album.record(), "utf-8")
    sizes = [path.stat().st_size for path in pictures.glob("*.webp")]
    print(f"{len(sizes)} pictures, {sum(sizes) / 1e6:.1f} MB, the largest {max(sizes) / 1e3:.0f} kB: {pictures}")


if __name__ == "__main__":
    main()
