"""Why a picture cannot be used, in words for whoever took it: what a decoder says of it helps nobody."""

from __future__ import annotations

from collections.abc import Sequence

from fanlight.errors import PictureError

_HEIC_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")
"""What stands in HEIC files after their first box's length and ``ftyp`` (ISO/IEC 23008-12, clause 10 and annex B)."""


def damaged(called: str = "") -> PictureError:
    """Of a kind that is read, but a decoder fails."""
    return PictureError(
        "damaged, or a part of it is missing", picture=called, next="Copy the picture again, or remove it."
    )


def of_another_kind(data: bytes, called: str, kinds: Sequence[str]) -> PictureError:
    """None of the ``kinds`` that are read; HEIC, which many telephones take, is told by its name."""
    if data[4:8] == b"ftyp" and data[8:12] in _HEIC_BRANDS:
        return PictureError(
            "a HEIC picture, a kind that is not read",
            picture=called,
            next="Save it as JPEG. iPhones take JPEG where Settings, Camera, Formats says “Most Compatible”.",
        )
    return PictureError(
        f"not a picture of a kind that is read ({', '.join(kinds)})",
        picture=called,
        next="Save it as JPEG or PNG, or remove it.",
    )
