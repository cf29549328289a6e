"""Pictures of one cat, drawn by code: each in another pose, place, size and light, before another background."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

SIDE = 96
POSES = ("sits", "walks", "lies")


@dataclass(frozen=True)
class Cat:
    """What is the same in all of its pictures: colours as RGB."""

    fur: tuple[int, int, int]
    stripes: tuple[int, int, int] | None
    eyes: tuple[int, int, int]


MINKA = Cat((226, 138, 48), (122, 66, 20), (110, 190, 90))
MAUZ = Cat((46, 46, 54), None, (240, 220, 90))


def draw_cats(folder: Path, cat: Cat, number: int, seed: int) -> list[Path]:
    """So many pictures; no two are of the same place, size, tilt and background, and the poses take turns."""
    folder.mkdir(parents=True)
    draw = np.random.default_rng(seed)
    paths = []
    for at in range(number):
        picture = _in_light(_scene(cat, POSES[at % len(POSES)], draw), draw)
        paths.append(folder / f"cat-{at}.png")
        picture.save(paths[-1])
    return paths


def _scene(cat: Cat, pose: str, draw: np.random.Generator) -> Image.Image:
    scene = _background(draw)
    side = round(SIDE * draw.uniform(0.55, 0.9))
    figure = Image.new("RGBA", (4 * side, 4 * side))
    _figure(ImageDraw.Draw(figure), cat, pose, 4 * side)
    if draw.random() < 0.5:
        figure = figure.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    figure = figure.rotate(draw.uniform(-15, 15), Image.Resampling.BICUBIC).resize(
        (side, side), Image.Resampling.LANCZOS
    )
    left, top = (int(draw.integers(0, SIDE - side + 1)) for _ in range(2))
    scene.paste(figure, (left, top), figure)
    return scene


def _figure(pen: ImageDraw.ImageDraw, cat: Cat, pose: str, side: int) -> None:
    """Body, tail, legs and head on a square of this side, in hundredths of it."""

    def box(left: float, top: float, right: float, bottom: float) -> tuple[float, float, float, float]:
        return left * side / 100, top * side / 100, right * side / 100, bottom * side / 100

    def at(*corners: tuple[float, float]) -> list[tuple[float, float]]:
        return [(x * side / 100, y * side / 100) for x, y in corners]

    body, tail, legs, head = {
        "sits": (box(30, 38, 72, 96), box(60, 62, 98, 96), (), (36, 8)),
        "walks": (box(18, 42, 82, 74), box(72, 12, 98, 58), (24, 36, 64, 76), (2, 22)),
        "lies": (box(16, 58, 92, 94), box(56, 66, 98, 98), (), (4, 40)),
    }[pose]
    pen.arc(tail, 270 if pose != "walks" else 90, 120 if pose != "walks" else 300, cat.fur, width=side // 16)
    pen.ellipse(body, cat.fur)
    for leg in legs:
        pen.rectangle(box(leg, 66, leg + 7, 94), cat.fur)
    if cat.stripes:
        for stripe in range(5):
            x = body[0] + (stripe + 1) * (body[2] - body[0]) / 6
            high = (body[3] - body[1]) * math.sqrt(1 - (stripe / 2 - 1) ** 2 / 1.3) / 2
            middle = (body[1] + body[3]) / 2
            pen.line((x, middle - high, x - side / 40, middle), cat.stripes, width=side // 28)
    left, top = head
    pen.ellipse(box(left, top, left + 36, top + 33), cat.fur)
    for ear in (left + 3, left + 22):
        pen.polygon(at((ear, top + 9), (ear + 5, top - 8), (ear + 11, top + 6)), cat.fur)
    for eye in (left + 8, left + 22):
        pen.ellipse(box(eye, top + 11, eye + 7, top + 19), cat.eyes)
        pen.ellipse(box(eye + 2.5, top + 11, eye + 4.5, top + 19), (15, 15, 15))
    pen.polygon(at((left + 16, top + 21), (left + 21, top + 21), (left + 18.5, top + 25)), (230, 130, 130))


def _background(draw: np.random.Generator) -> Image.Image:
    """A floor and a wall of any colours, with some things in it."""
    scene = Image.new("RGB", (SIDE, SIDE), _colour(draw))
    pen = ImageDraw.Draw(scene)
    pen.rectangle((0, int(draw.integers(SIDE // 3, SIDE)), SIDE, SIDE), _colour(draw))
    for _ in range(draw.integers(2, 6)):
        left, top = draw.integers(-20, SIDE, 2).tolist()
        wide, high = draw.integers(10, 50, 2).tolist()
        shape = pen.rectangle if draw.random() < 0.5 else pen.ellipse
        shape((left, top, left + wide, top + high), _colour(draw))
    return scene.filter(ImageFilter.GaussianBlur(draw.uniform(0.5, 2)))


def _in_light(picture: Image.Image, draw: np.random.Generator) -> Image.Image:
    """Brighter or darker, warmer or colder, and with a camera's noise."""
    light: NDArray[np.float64] = draw.uniform(0.7, 1.15) * draw.uniform(0.92, 1.08, 3)
    pixels = np.asarray(picture, np.float64) * light + draw.normal(0, 5, (SIDE, SIDE, 3))
    return Image.fromarray(np.clip(np.rint(pixels), 0, 255).astype(np.uint8))


def _colour(draw: np.random.Generator) -> tuple[int, int, int]:
    red, green, blue = draw.integers(40, 230, 3).tolist()
    return red, green, blue
