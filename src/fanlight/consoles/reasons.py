"""Names that both servers sign and programs read, in words: why something came to nothing, kinds, how far it is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from fanlight.services.main_server.made_room import made_room
from fanlight.services.server.incidents import MEANINGS

_WORDS: Final[Mapping[str, str]] = {
    "window-passed": "its time had passed with too few reports",
    "made-room-for-measuring": "for measuring the model",
    "made-room-for-version": "for another version",
    "made-room-for-rules": "for a round by the new rules",
    "ordered-by-main": "the main server gave it up",
    "abandoned-by-operator": "the aggregator's operator gave it up",
    "too-few-reports": "too few reports could be accepted",
    "too-many-reports": "more reports than the round allows",
    "too-many-rejected": "too many reports had to be rejected",
    "sum-lost": "the secure aggregator's disk had lost the sum after it was signed",
    "round-key-lost": "a server had lost the round's key",
    "report-damaged": "a report on the aggregator's disk had lost its end",
    "report-lost": "a report was lost on the aggregator's disk",
    "not-a-member": "the device is not a member any more",
    "not-invited": "the device was not drawn for this round",
    "not-the-receipted-report": "the aggregator listed another report than it had given a receipt for",
    "receipted-but-unlisted": "the aggregator had given a receipt, but did not list the report",
    "foreign-report": "the report was for another round or from another device",
    "second-report": "the device had sent a different report before",
    "swapped-seed": "a sealed seed was not the one that the device had signed",
    "seed-unopenable": "a sealed seed could not be opened",
    "swapped-vector": "the numbers were not those that the device had signed",
    "update-norm-too-large": "the sum was larger than honest reports can be",
    "sum-not-usable": "the sum could not be right",
    "control-norm-too-large": "the sum of control variates was larger than honest reports can have",
    "steps-out-of-range": "the sum said more training steps than honest reports can",
    "shard-left-out": "without a shard whose sum could not be right",
    "too-few-good-shards": "in most of its shards the sum could not be right",
    "no-pictures": "nobody had a picture to learn from",
    "padding-set": "the report said something behind its last number",
    "wrong-length": "the report had the wrong length",
    "not-enrolled": "the device is not a member",
    "not-confirmed": "the device was not yet a member at both servers",
    "below-floor": "the round may sum fewer devices than the owner allows",
    "may-reject-too-many": "the main server may leave out more of the round's reports than the owner allows",
    "demo-refused": "the owner takes part in no demonstrations",
    "backbone-refused": "the owner, or the device's version, does not allow this backbone",
    "head-refused": "the owner, or the device's version, does not allow this head",
    "needs-torch": "the device lacks PyTorch, which it would need to train a part of the backbone",
    "answers-per-day": "the day's reports are used up that the owner allows",
    "answered-before": "this plan and model have been answered before",
    "bad-layout": "the round asks for other numbers than the plan says",
    "unknown-suite": "the device's version does not know this kind of round",
    "nothing-changed": "nothing has changed on the device since its pictures were counted",
    "to-be-forgotten": "the device waits for company to be forgotten",
    "too-few-left": "so few devices would be left in the sums that these would show what each has",
    "collected-anew": "the sums that it would have changed are not there any more",
    "nothing-to-learn-from": "there are no pictures on the device for it: to learn from, or to measure on",
    "paused": "the owner has paused the device",
    "other": "the device refuses the round for another reason",
    "report-late": "the round's time had passed",
    "round-over": "the round was over",
    "round-full": "the round was full",
    "not-authentic": "a signature did not fit",
    "malformed-message": "the report could not be read",
    "message-too-large": "the report was larger than the round allows",
}

_OUT_OF_RANGE: Final = "-out-of-range"
"""How the reasons end that name a segment of the sum."""


def why(slug: str | None) -> str:
    """A reason in words; the name itself if there are no words for it, nothing for ``ok``."""
    if not slug or slug == "ok":
        return ""
    if slug.endswith(_OUT_OF_RANGE):
        return "a number in the sum was none that honest reports could add up to"
    return _WORDS.get(slug, slug)


_SAID: Final[Mapping[str, str]] = {
    "proposal": "The main server proposed the terms of a round.",
    "manifest": "Both servers signed the terms of a round: it is open.",
    "close": "The aggregator closed a round, with a list of the reports that it held.",
    "verdict": "The main server said which reports of the round count.",
    "cohort": "The main server named the devices that the shards of a round are drawn of.",
    "release": "The aggregator released the one sum of a round, or of a shard.",
    "outcome": "A server signed how a round ended.",
    "enrolled": "A device came in.",
    "rekeyed": "A device changed its key.",
    "left": "A device left, because its owner wished so.",
    "revoked": "A device, or a token, was shut out.",
    "policy": "The operator changed the rules of the rounds.",
    "algorithm": "The operator changed how updates become the next model.",
    "augmentation": "The operator changed how pictures are varied.",
    "class-weights": "The operator changed by what classes of few pictures weigh more.",
    "current-model": "Another version of the model became current.",
    "stopped": "A rule stopped training.",
    "resumed": "The operator let rounds go on.",
    "collect-anew": "The operator has the head solved anew.",
    "new-line": "A new line of models began, with another head or backbone.",
    "take-changes": "The operator has a round take in what has changed on devices.",
    **MEANINGS,
}


def said(entry_type: str) -> str:
    """What an entry of a server's log says, in a sentence; the type itself if there is none for it."""
    return _SAID.get(entry_type, entry_type)


_PLAINLY: Final[Mapping[str, str]] = {
    "train": "training",
    "statistics": "solving",
    "changes": "taking in changes",
    "measure": "measuring",
    "idle": "not trained yet",
    "committed": "not arrived yet",
    "receipted": "arrived",
    "confirmed": "arrived, and confirmed",
    "ended": "round over",
    "abandoned": "given up",
    "agreed": "added up",
    "released": "the sum is known",
}


def plainly(name: str) -> str:
    """The kind of a round, or how far a round, a report or a device is; the name itself if it is a plain word."""
    return _PLAINLY.get(name, name)


REASONS: Final[Mapping[str, Callable[..., Any]]] = {
    "why": why,
    "made_room": made_room,
    "said": said,
    "plainly": plainly,
}
