"""How devices vary their training pictures, as a task says it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Final

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from fanlight.learning.augmentation_settings import MOST_PERCENT, MOST_VARIANTS
from fanlight.protocol.plan import PlannedAugmentation

MOST: Final = {"variants": MOST_VARIANTS, "zoom_percent": MOST_PERCENT, "light_percent": MOST_PERCENT}
"""The largest value of each number; the smallest is 0."""
Percent = Annotated[int, Field(ge=0, le=MOST_PERCENT)]


class AugmentationChoice(BaseModel):
    """Training pictures varied on purpose; see docs/augmentation.md.

    Attributes:
        variants: of each training picture, beside itself; 0 = none, pictures are learned from as they are.
        flip: is every other variant mirrored, left to right? Not where that shows another thing, as with digits.
        zoom_percent: by how much the part of the picture that is cut out may be narrower than the whole.
        light_percent: by how much light and contrast may grow or shrink.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    variants: Annotated[int, Field(ge=0, le=MOST_VARIANTS)] = 0
    flip: bool = True
    zoom_percent: Percent = 20
    light_percent: Percent = 20

    @model_validator(mode="after")
    def _varies(self) -> AugmentationChoice:
        if self.variants and not (self.flip or self.zoom_percent or self.light_percent):
            raise ValueError("variants without flip, zoom or light are no other pictures")
        return self

    @classmethod
    def flaws(cls, fields: Mapping[str, Any]) -> dict[str, str]:
        """What is wrong with a choice, by field, in sentences; ``""`` names the whole. Empty if nothing is."""
        try:
            cls.model_validate(fields)
        except ValidationError as error:
            return {str(flaw["loc"][0]) if flaw["loc"] else "": cls._in_words(flaw) for flaw in error.errors()}
        return {}

    @classmethod
    def _in_words(cls, flaw: Any) -> str:
        if not flaw["loc"]:
            return "Choose at least one of the ways to vary pictures, or no variants."
        given, field = str(flaw["input"]).strip()[:40], str(flaw["loc"][0])
        return f"From 0 to {MOST[field]}, not {given}." if field in MOST else f"Yes or no, not {given}."

    @property
    def planned(self) -> PlannedAugmentation | None:
        """What devices are told; None if pictures are not varied."""
        return PlannedAugmentation(**self.model_dump()) if self.variants else None
