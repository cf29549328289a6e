"""Variants of pictures: fixed by the picture, what they are, and what numbers can be."""

from __future__ import annotations

import hashlib
import io

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from fanlight.errors import PictureError, SettingsError
from fanlight.learning import pictures
from fanlight.learning.augmentation import vary
from fanlight.learning.augmentation_settings import Augmentation

SIZE = 32
SOFT = np.linspace(40, 200, 64 * 48 * 3).reshape(48, 64, 3).astype(np.uint8)


def png(pixels: NDArray[np.uint8] = SOFT) -> bytes:
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "PNG")
    return out.getvalue()


def variants(augmentation: Augmentation, numbers: range | list[int], data: bytes = png()) -> NDArray[np.uint8]:
    return vary(data, hashlib.sha256(data).hexdigest(), augmentation, SIZE, numbers)


def test_they_depend_on_the_picture_the_augmentation_and_the_number_alone() -> None:
    how = Augmentation(4, flip=True, zoom_percent=20, light_percent=20)
    drawn = variants(how, range(4))
    assert drawn.shape == (4, SIZE, SIZE, 3)
    assert (variants(how, [2]) == drawn[2:3]).all()
    assert (variants(Augmentation(9, flip=True, zoom_percent=20, light_percent=20), range(4)) == drawn).all()
    assert len({each.tobytes() for each in drawn}) == 4
    other = SOFT.copy()
    other[0, 0] = 0
    assert (variants(how, [0], png(other)) != drawn[:1]).mean() > 0.5, "another picture is varied in another way"


def test_mirrored_is_every_other_one_and_nothing_else_changes() -> None:
    whole = pictures.load(png(), SIZE)
    mirrored, same = variants(Augmentation(2, flip=True), range(2))
    assert (mirrored == whole[:, ::-1]).all()
    assert (same == whole).all()


def test_a_part_is_cut_out_of_the_inside() -> None:
    ramp = np.tile(np.linspace(0, 255, 256).astype(np.uint8), (256, 1))
    data = png(np.repeat(ramp[..., None], 3, axis=2))
    found = variants(Augmentation(16, zoom_percent=50), range(16), data).astype(int)
    left, right = found[:, :, 0].mean(axis=(1, 2)), found[:, :, -1].mean(axis=(1, 2))
    widths = (right - left) / 255
    assert (widths > 0.45).all()
    assert (widths < 1.01).all()
    assert widths.std() > 0.05
    assert left.std() > 5


def test_light_and_contrast_stay_within_their_range() -> None:
    grey = png(np.full((40, 40, 3), 100, np.uint8))
    means = variants(Augmentation(16, light_percent=20), range(16), grey).mean(axis=(1, 2, 3))
    assert (np.abs(means - 100) <= 20.5).all()
    assert np.ptp(means) > 10
    dark = variants(Augmentation(16, light_percent=50), range(16), png(np.full((9, 9, 3), 250, np.uint8)))
    assert dark.max() == 255, "cut off, not wrapped around"


@pytest.mark.parametrize(
    "numbers", [(0, True, 0, 0), (17, True, 0, 0), (4, False, 51, 0), (4, False, 0, -1), (4, False, 0, 0)]
)
def test_what_cannot_be_is_refused(numbers: tuple[int, bool, int, int]) -> None:
    with pytest.raises(SettingsError):
        Augmentation(*numbers)


def test_of_many_pictures_fewer_variants_are_made() -> None:
    how = Augmentation(4, flip=True)
    counts = [how.variants_of(count, 1280) for count in (0, 1, 2500, 5000, 10_000, 10_001)]
    assert counts == [4, 4, 4, 2, 1, 0]
    assert how.variants_of(2500, 12_800) == 0, "nor of few pictures with many numbers each"


def test_a_damaged_picture_is_named() -> None:
    with pytest.raises(PictureError, match=r"door\.png"):
        vary(b"no picture", "0" * 64, Augmentation(1, flip=True), SIZE, [0], name="door.png")
