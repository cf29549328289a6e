"""``fanlight predict``: what pictures show."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fanlight.cli.saying import say
from fanlight.core.percent import percent
from fanlight.core.printable import printable
from fanlight.errors import PictureError

if TYPE_CHECKING:
    from fanlight.learning.home_model import HomeModel
    from fanlight.learning.inference import Predictor
    from fanlight.learning.model_file import HeadModel
    from fanlight.services.device.home_findings import Findings
    from fanlight.services.device.own_model import OwnModel


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
    shared: Annotated[
        bool,
        typer.Option(
            "--shared", help="Ask the model of all devices, also where a device has one of its own, or own names."
        ),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON list, with all classes' scores.")] = False,
) -> None:
    """Say what pictures show.

    A picture that cannot be used is named with its fault, the others are answered all the same, and the exit code is 1.

    A device whose algorithm gives it a model of its own (Ditto, FedPer, FedRep, local batch normalisation) answers with
    that, once it has one from a round, and it is said so.

    Of a device that knows names of its own, these are among the answers. What may be something that it has no pictures
    of is said with a "perhaps"; what surely is, is "unknown" (JSON: null).
    """
    from fanlight.cli.find_model import find_home, find_model_file, find_own, role_folder
    from fanlight.learning.model_file import decode

    content, role = find_model_file(model, state), None if model else role_folder(state)
    own = find_own(role, content) if role and not shared else None
    home, findings = (find_home(role) if role and not shared else None) or (None, None)
    if findings is not None and not findings.still_stands(own.round if own else None):
        home = None
    if own is not None:
        say(f"{_words(own, home, findings)}; --shared asks that of all devices.")
    predictor = _predictor(own.model if own else decode(content), role, home)
    answers = [_answer(predictor, image) for image in images]
    if as_json:
        print(json.dumps(answers, ensure_ascii=False))
    else:
        for answer in answers:
            _print(answer)
    if any("error" in answer for answer in answers):
        raise typer.Exit(1)


def _words(own: OwnModel, home: HomeModel | None, findings: Findings | None) -> str:
    """Which model answers on a device that has one of its own."""
    if home is None or findings is None:
        return f"{own.words} answers"
    if findings.own_round == own.round:
        return f"{own.words} answers, with the own names"
    return (
        f"The own names answer, on top of version {findings.version} of the model of all devices, as they were learned"
        f" before this home's own model of round {own.round} came"
    )


def _predictor(model: HeadModel, role: Path | None, home: HomeModel | None) -> Predictor:
    from fanlight.cli.user_backbones import compiled_backbone
    from fanlight.learning.features import FeatureExtractor
    from fanlight.learning.inference import Predictor
    from fanlight.learning.tuned_backbone import backbone_of

    asked = home.head if home else model
    backbone = backbone_of(asked, compiled_backbone(asked, role))
    return Predictor(asked, FeatureExtractor(backbone, asked.picture_size), home)


def _answer(predictor: Predictor, image: Path) -> dict[str, Any]:
    try:
        prediction = predictor.predict(image)
    except PictureError as error:
        return {"image": str(image), "error": error.message}
    unknown = prediction.certainty == "unknown"
    return {
        "image": str(image),
        "class": None if unknown else prediction.label,
        "certainty": prediction.certainty,
        **({"likeliest": prediction.label} if unknown else {}),
        "confidence": prediction.confidence,
        "scores": dict(prediction.scores),
    }


def _print(answer: dict[str, Any]) -> None:
    name = answer["image"]
    if "error" in answer:
        reason = answer["error"].removeprefix(f"{name}: ")  # which picture it is, most errors say themselves
        print(printable(f"{name}: {reason}"), file=sys.stderr)
    elif answer["class"] is None:
        print(printable(f"{name}: unknown (most like {answer['likeliest']}, {percent(answer['confidence'])})"))
    else:
        perhaps = "perhaps " if answer["certainty"] == "perhaps" else ""
        print(printable(f"{name}: {perhaps}{answer['class']} ({percent(answer['confidence'])})"))
