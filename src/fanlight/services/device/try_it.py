"""What this device's models make of a picture, and where in it they see that.

The heat map comes from the map before pooling: the head is linear and the features are the mean of the map over its
places, so the head applied at a place gives that place's share of the picture's score (class activation mapping, Zhou
et al., arXiv 1512.04150).  It is counted against the mean over all classes, since a softmax only knows differences.

What glows is how much more a place says than the place that says least: where all say much the same, nothing glows, and
a map of few places (one for 32 pixels) shows no part of a picture.  Where something glows, the warmest place does so in
full, so that it is seen.

Nothing is kept: neither the picture, nor the session, whose memory a small device needs for other things.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from fanlight.errors import FanlightError, NotFound
from fanlight.learning import pictures
from fanlight.learning.backbones import CompiledBackbone
from fanlight.learning.feature_cache import FeatureCache
from fanlight.learning.features import open_session
from fanlight.learning.heads import SoftmaxHead, softmax
from fanlight.learning.home_model import Certainty, HomeModel
from fanlight.learning.inverted_bottlenecks import FEATURES_OUTPUT, INPUT, MAP_OUTPUT
from fanlight.learning.model_file import HeadModel
from fanlight.learning.tail import TunedExtractor
from fanlight.learning.tuned_backbone import backbone_of
from fanlight.services.device import made
from fanlight.services.device.own_model import OwnModel
from fanlight.services.device.role import DeviceRole

Measured = Literal["own", "global"]
Which = Literal["home"] | Measured
Floats = NDArray[np.float32]

SHOWN_SIDE: Final = 384
"""Longer side of what is shown, in pixels."""
FEWEST_PLACES: Final = 3
"""Places a side of the map before pooling from which it shows where something is."""
_FAINTEST: Final = 0.25
"""Heat of the warmest place from which it says anything."""
_GLOW: Final = (255, 138, 0)
_STRONGEST: Final = 0.72


@dataclass(frozen=True)
class Answer:
    """What one model says.

    Attributes:
        which: the head with the home's own names, the device's own model, or the global one they were made from.
        version: of the global model.
        learned: where the own model comes from, if the algorithm gives it to this home and it is what answers here;
            None: it is the one that was trained here last, to be compared.
        scores: (class, probability), likeliest first; the probabilities sum to 1.
        heat: JPEG of the picture, glowing where it speaks for the likeliest class; None if it cannot be said where.
        why_no_heat: in words, if so.
        certainty: may it be something that the home has no pictures of? If it is unknown, ``label`` is not the answer.
            None if nothing was checked.
    """

    which: Which
    version: int
    scores: tuple[tuple[str, float], ...]
    heat: bytes | None = None
    why_no_heat: str = ""
    certainty: Certainty | None = None
    learned: OwnModel | None = None

    @property
    def label(self) -> str:
        """The likeliest class."""
        return self.scores[0][0]

    @property
    def confidence(self) -> float:
        """Its probability."""
        return self.scores[0][1]


@dataclass(frozen=True)
class Tried:
    """A picture as it is shown (JPEG), and what each model says about it, the own one first."""

    picture: bytes
    answers: tuple[Answer, ...]


class Models(NamedTuple):
    """The models that a device holds at one moment, and what is said with their answers.

    Attributes:
        heads: by what they are, the global one always among them.
        learned: where the own one comes from; see ``Answer``.
        home: the one with the home's names, which tells strangers.
    """

    heads: Mapping[Which, HeadModel]
    learned: OwnModel | None
    home: HomeModel | None


class TryIt:
    """Asks the models that a device holds.

    Args:
        role: the device.
    """

    def __init__(self, role: DeviceRole) -> None:
        self._role = role

    def models(self) -> Models:
        """The models there are: with the home's names, its own, if they still fit the task, and the global one.

        The own one is what the algorithm gives this home and answers here; else what was trained here last, to compare.

        Raises:
            NotPossibleNow: the main server has not sent a model yet. ModelError, StorageError: one cannot be read.
        """
        held, learner, home = self._role.rounds.held(), self._role.rounds.learner, self._role.home.usable()
        learned = learner.answering(held).own
        own, current = learned.model if learned else learner.last_local(held), learner.global_model(held)
        found: dict[Which, HeadModel | None] = {"home": home.head if home else None, "own": own, "global": current}
        return Models({which: model for which, model in found.items() if model is not None}, learned, home)

    def look(self, data: bytes, name: str = "the picture") -> Tried:
        """What the models say about the picture with these bytes.

        Args:
            data: a picture file. name: what errors call it.

        Raises:
            PictureError: it cannot be used.
            NotPossibleNow: there is no model. ModelError, StorageError: model or disk cannot be used.
        """
        models = self.models()
        size = models.heads["global"].picture_size
        pixels = pictures.load(data, size, name=name)
        shown = _as_shown(data, name)
        seen: dict[str, tuple[Floats, Floats]] = {}  # all models have the same backbone, unless it learns
        for model in models.heads.values():
            if model.tuned_sha256 not in seen:
                seen[model.tuned_sha256] = self._see(model, pixels)
        answers = []
        for which, model in models.heads.items():
            features, places = seen[model.tuned_sha256]
            answers.append(_told(_answer(which, model, features, places, shown), models, features))
        return Tried(_jpeg(shown), tuple(answers))

    def _see(self, model: HeadModel, pixels: NDArray[np.uint8]) -> tuple[Floats, Floats]:
        """Features (1, f) of a picture, and the (f, h, w) map before pooling."""
        graph = backbone_of(model, self._backbone(model)).read()
        session = open_session(graph, self._role.settings.threads)
        features, places = session.run([FEATURES_OUTPUT, MAP_OUTPUT], {INPUT: pixels[None]})
        return features, places[0]

    def kept(self, sha256: str) -> list[Answer]:
        """What the models say about a picture whose features are kept, without a heat map.

        Nothing where they are not, or where there is no model, or one cannot be read.

        Args:
            sha256: of the file, in hexadecimal.
        """
        try:
            models = self.models()
        except FanlightError:  # whoever asks is told; the picture can be looked at and labelled all the same
            return []
        heads = models.heads
        found = {which: self._features(model).get(sha256) for which, model in heads.items()}
        asked = {which: x[None] for which, x in found.items() if x is not None}
        return [_told(_scores(which, heads[which], x), models, x) for which, x in asked.items()]

    def measured(self, which: Measured) -> HeadModel:
        """A model that the figures are of; the own one is what was trained here last.

        Raises:
            NotFound: there is no such model. NotPossibleNow, ModelError, StorageError.
        """
        held, learner = self._role.rounds.held(), self._role.rounds.learner
        model = learner.last_local(held) if which == "own" else learner.global_model(held)
        if model is None:
            raise NotFound("No model was trained here yet.", next="Open the page Learning.")
        return model

    def taken_for(self, which: Measured, truth: int, named: int) -> list[str]:
        """Test pictures of class ``truth`` that a model names ``named``, by SHA-256; those that were measured before.

        Raises:
            NotFound: there is no such model or class.
            NotPossibleNow, DataError, ModelError, StorageError.
        """
        model = self.measured(which)
        if not (0 <= truth < len(model.classes) and 0 <= named < len(model.classes)):
            raise NotFound("There is no such class.", next="Open the page Learning.")
        cache = self._features(model)
        members = self._role.library.of_part(model.classes[truth], "test")
        rows = [(sha256, cache.get(sha256)) for sha256 in members]
        head = model.head
        read = [(sha256, model.read(x[None])) for sha256, x in rows if x is not None]
        return [sha256 for sha256, x in read if int(head.logits(x)[0].argmax()) == named]

    def _features(self, model: HeadModel) -> FeatureCache | TunedExtractor:
        state, features = self._role.settings.state, model.weight.shape[0]
        if model.tuned:
            threads = self._role.settings.threads
            return TunedExtractor(model, self._backbone(model), made.features_folder(state), threads=threads)
        return made.feature_cache(state, model.backbone_sha256, model.picture_size, features)

    def _backbone(self, model: HeadModel) -> CompiledBackbone:
        return self._role.backbone(model)


def heat(places: Floats, head: SoftmaxHead, label: int) -> Floats:
    """How much each place speaks for a class against the mean of all classes.

    Args:
        places: (f, h, w) map before pooling. head: of these f features, and perhaps others behind them. label: the
            class.

    Returns:
        (h, w) in [0, 1]: by what part of the strongest share each is above the weakest; all 0 if no place speaks for
        it, or all alike.
    """
    direction = (head.weight[:, label] - head.weight.mean(axis=1))[: len(places)]
    shares = np.maximum(np.tensordot(direction, places, axes=1), 0)
    strongest = float(shares.max())
    result: Floats = ((shares - shares.min()) / strongest if strongest > 0 else shares).astype(np.float32)
    return result


def _told(answer: Answer, models: Models, features: Floats) -> Answer:
    """The answer, with whether the home's model takes it for a stranger, and where an own model comes from."""
    if answer.which == "own":
        return replace(answer, learned=models.learned)
    if answer.which == "home" and models.home is not None:
        return replace(answer, certainty=models.home.certainties(features)[0])
    return answer


def _answer(which: Which, model: HeadModel, features: Floats, places: Floats, shown: Image.Image) -> Answer:
    answer = _scores(which, model, features)
    high, wide = places.shape[1:]
    if min(high, wide) < FEWEST_PLACES:
        why = f"This task's pictures are so small ({model.picture_size} pixels) that the model sees only"
        return replace(answer, why_no_heat=f"{why} {wide} × {high} parts of one: too few to show where it looks.")
    warm = heat(places, model.head, model.classes.index(answer.label))
    if warm.max() < _FAINTEST:
        return replace(answer, why_no_heat="All parts of the picture say much the same to this model.")
    return replace(answer, heat=_jpeg(_glowing(shown, warm / warm.max())))


def _scores(which: Which, model: HeadModel, features: Floats) -> Answer:
    """What a model says by the (1, f) features of a picture."""
    probabilities = softmax(model.head.logits(model.read(features)))[0]
    order = np.argsort(-probabilities, kind="stable")
    scores = tuple((model.classes[label], float(probabilities[label])) for label in order)
    return Answer(which, model.version, scores)


def _glowing(shown: Image.Image, warm: Floats) -> Image.Image:
    """The picture in grey, glowing where it is warm (1: most): grey, so that no colour of its own is taken for heat."""
    strength = Image.fromarray(np.rint(warm**2 * 255 * _STRONGEST).astype(np.uint8))  # squared: the weak half fades
    mask = strength.resize(shown.size, Image.Resampling.BICUBIC)
    grey = shown.convert("L").convert("RGB")
    grey.paste(_GLOW, mask=mask)
    return grey


def _as_shown(data: bytes, name: str) -> Image.Image:
    """The picture, upright and in its own shape, at most ``SHOWN_SIDE`` long."""
    square = Image.fromarray(pictures.load(data, SHOWN_SIDE, name=name))
    width, height, _kind = pictures.header(data, name=name)
    scale = SHOWN_SIDE / max(width, height)
    return square.resize((max(1, round(width * scale)), max(1, round(height * scale))), Image.Resampling.BICUBIC)


def _jpeg(image: Image.Image) -> bytes:
    file = io.BytesIO()
    image.save(file, "JPEG", quality=85)
    return file.getvalue()
