"""Small folders of pictures for tests."""

from __future__ import annotations

from pathlib import Path

from PIL import Image


def colour(number: int) -> tuple[int, int, int]:
    return number % 256, number // 256 % 256, 90


def picture(path: Path, number: int) -> Path:
    """A small PNG; equal numbers give equal bytes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (10, 8), colour(number)).save(path)
    return path


def pictures(folder: Path, count: int, start: int = 0) -> Path:
    for number in range(start, start + count):
        picture(folder / f"{number:04d}.png", number)
    return folder
