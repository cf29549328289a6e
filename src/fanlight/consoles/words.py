"""Words of the trade in plain words, for whoever meets them on a page for the first time."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

_MEANINGS: Final[Mapping[str, str]] = {
    "Accuracy": "the share of all held-out pictures that the model names rightly.",
    "Balanced accuracy": "the mean over the classes of the share that was named rightly, so that a class with few "
    "pictures counts as much as one with many.",
    "Recall": "of the pictures of a class, the share that the model found.",
    "Precision": "of the pictures that the model named so, the share that really are of the class.",
    "Loss": "how sure the model is of wrong answers, on average over the pictures. 0 is perfect; lower is better.",
    "Held-out pictures": "pictures that a device does not learn from, but keeps for testing.",
    "Percentage points": "the difference of two shares: from 50 % to 60 % is +10.",
    "SHA-256": "a fingerprint of a file. Two files with the same one are the same; nobody can make a second one to it.",
    "Safetensors": "a file of numbers and nothing else: opening it runs no code.",
    "ONNX": "a form of the model that runs without Fanlight: from the picture to the class's name in one file.",
    "Card": "what a model is for, how it was made and how good it is, to hand on with the file.",
    "Manifest": "the terms of a round, signed by both servers: model, limits, keys. This is its fingerprint.",
    "Backbone": "the part of the model that turns a picture into numbers. It is fixed, and the same on all devices.",
    "Head": "the part that learns: it turns these numbers into one share a class.",
    "Batch": "pictures that are looked at together before the head is corrected.",
    "Learning rate": "how far the head moves at each correction.",
    "Momentum": "how much of the last corrections goes on into the next one.",
    "Head of the chain": "a fingerprint over an entry and everything before it.",
}


def meanings(names: Iterable[str]) -> list[tuple[str, str]]:
    """The words with what they mean, in the order asked for.

    Raises:
        KeyError: there is no such word here.
    """
    return [(name, _MEANINGS[name]) for name in names]
