"""``fanlight predict``: what pictures show."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fanlight.core.percent import percent
from fanlight.core.printable import printable
from fanlight.errors import PictureError

if TYPE_CHECKING:
    from fanlight.learning.inference import Predictor
    from fanlight.learning.model_file import HeadModel


def predict(
    images: Annotated[list[Path], typer.Argument(metavar="IMAGE…", help="Picture files.", show_default=False)],
    model: Annotated[
        Path | None, typer.Option(metavar="FILE", help="A model file, as the main server offers it for download.")
    ] = None,
    state: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Take the current model of this device, main server or demo.  [default: ./fanlight-state]",
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON list, with all classes' scores.")] = False,
) -> None:
    """Say what pictures show.

    A picture that cannot be used is named with its fault, the others are answered all the same, and the exit code is 1.
    """
    from fanlight.cli.find_model import find_model, role_folder

    predictor = _predictor(find_model(model, state), None if model else role_folder(state))
    answers = [_answer(predictor, image) for image in images]
    if as_json:
        print(json.dumps(answers, ensure_ascii=False))
    else:
        for answer in answers:
            _print(answer)
    if any("error" in answer for answer in answers):
        raise typer.Exit(1)


def _predictor(model: HeadModel, role: Path | None) -> Predictor:
    from fanlight.cli.user_backbones import compiled_backbone
    from fanlight.learning.features import FeatureExtractor
    from fanlight.learning.inference import Predictor
    from fanlight.learning.tuned_backbone import backbone_of

    backbone = backbone_of(model, compiled_backbone(model, role))
    return Predictor(model, FeatureExtractor(backbone, model.picture_size))


def _answer(predictor: Predictor, image: Path) -> dict[str, Any]:
    try:
        prediction = predictor.predict(image)
    except PictureError as error:
        return {"image": str(image), "error": error.message}
    return {
        "image": str(image),
        "class": prediction.label,
        "confidence": prediction.confidence,
        "scores": dict(prediction.scores),
    }


def _print(answer: dict[str, Any]) -> None:
    name = answer["image"]
    if "error" in answer:
        reason = answer["error"].removeprefix(f"{name}: ")  # which picture it is, most errors say themselves
        print(printable(f"{name}: {reason}"), file=sys.stderr)
    else:
        print(printable(f"{name}: {answer['class']} ({percent(answer['confidence'])})"))
