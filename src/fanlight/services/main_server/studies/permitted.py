"""Which studies may be asked for from afar.

Whoever starts ``fanlight simulate`` in a terminal may name files and code of their own. This server is reached over a
network, and holds keys: here a study names neither, and everything in it is bounded before anything is made of it.

The laboratory is loaded when the first study is asked for: a server starts without it.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from fanlight.errors import SettingsError

if TYPE_CHECKING:
    from fanlight.simulation.study import Study

MOST_DEVICES: Final = 5_000
MOST_ROUNDS: Final = 1_000
MOST_IN_PROTOCOL: Final = 200
"""Devices, where the role machines and masks are run: each of them costs as much as a real one."""
MOST_EPOCHS: Final = 100
MOST_LETTERS: Final = 300
MOST_TOML_BYTES: Final = 8_192
_MOST: Final[Mapping[str, int]] = MappingProxyType(
    {
        "devices": MOST_DEVICES,
        "cohort": MOST_DEVICES,
        "rounds": MOST_ROUNDS,
        "seed": 2**63 - 1,
        "picture_size": 256,
        "n_max": 1_000_000,
        "most_pictures": 1_000_000,
        "update_bits": 32,
        "supporters": MOST_DEVICES,
        "shards": 64,
        "test_percent": 100,
        "valid_percent": 100,
    }
)
_MOST_IN_TRAINING: Final[Mapping[str, int]] = MappingProxyType(
    {"epochs": MOST_EPOCHS, "batch_size": 4_096, "patience": 1_000}
)
_FILES: Final = "file"
"""No term but those that read a file has it in its name; it is looked for anywhere, whatever the grammar says."""


def permitted(fields: Mapping[str, Any]) -> Study:
    """The study with these fields.

    Args:
        fields: as in a study's TOML file, from anybody who is logged in.

    Raises:
        SettingsError: slug ``study-not-permitted``: it names a file, a folder or code, or is too large to be run here;
            or see ``Study.of``.
    """
    from fanlight.learning.datasets.prepare import NAMES
    from fanlight.simulation.study import Study

    for name, value in fields.items():
        if isinstance(value, str):
            _check_text(name, value)
    dataset = fields.get("dataset", Study.model_fields["dataset"].default)
    if dataset not in NAMES:
        raise _refused(f"There is no data set {str(dataset)[:40]!r} here.", f"Choose one of {', '.join(NAMES)}.")
    if fields.get("module"):
        raise _refused("A study at a server runs no module of your own.", _ELSEWHERE)
    for name in ("partition", "world"):
        if _FILES in str(fields.get(name, "")).lower():
            raise _refused(f"{name}: a study at a server reads no file.", _ELSEWHERE)
    _check_numbers(fields, _MOST)
    training = fields.get("training", {})
    if isinstance(training, Mapping):
        _check_numbers(training, _MOST_IN_TRAINING)
    study = Study.of(fields)
    if study.fidelity == "protocol" and study.per_round > MOST_IN_PROTOCOL:
        raise _refused(
            f"fidelity = protocol with {study.per_round} devices in a round is too much for a server at work.",
            f"Take a cohort of at most {MOST_IN_PROTOCOL}, or leave fidelity out: fast gives the same bits.",
        )
    return study


def read_toml(text: str) -> dict[str, Any]:
    """The fields in TOML that somebody has typed; those of a study are checked by ``permitted``.

    Raises:
        SettingsError: it is too long, or no TOML.
    """
    if len(text.encode("utf-8", "replace")) > MOST_TOML_BYTES:
        raise SettingsError(f"TOML: more than {MOST_TOML_BYTES:,} bytes.", next="A study needs a few lines.")
    try:
        return tomllib.loads(text.replace("\r\n", "\n"))  # as forms send it
    except (ValueError, RecursionError) as error:
        why = "too deep" if isinstance(error, RecursionError) else str(error)
        raise SettingsError(f"TOML: {why}.", next='Write lines like: partition = "dirichlet:0.1"') from error


def as_toml(study: Study) -> str:
    """A permitted study as its TOML file; its texts are printable ASCII, and so written as in JSON."""
    fields = study.as_json()
    training = fields.pop("training")
    del fields["module"]
    lines = [f"{name} = {json.dumps(value)}" for name, value in fields.items()]
    return "\n".join([*lines, "", "[training]", *(f"{name} = {json.dumps(v)}" for name, v in training.items()), ""])


def training_of(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Those of ``fields`` that a study's training has."""
    from fanlight.simulation.study import Training

    return {name: fields[name] for name in Training.model_fields if name in fields}


_ELSEWHERE: Final = "Run it by fanlight simulate, where the files are; see docs/simulation.md."


def _check_text(name: str, text: str) -> None:
    if len(text) > MOST_LETTERS or not (text.isascii() and text.isprintable()):
        raise _refused(
            f"{name[:40]}: at most {MOST_LETTERS} letters, digits and signs of ASCII.", "See docs/simulation.md."
        )


def _check_numbers(fields: Mapping[str, Any], most: Mapping[str, int]) -> None:
    for name in most.keys() & fields.keys():
        value = fields[name]
        if type(value) is not int:
            raise _refused(f"{name}: {str(value)[:40]!r} is not a whole number.", "")
        if value > most[name]:
            raise _refused(f"{name}: at most {most[name]:,} at a server.", _ELSEWHERE)


def _refused(what: str, next: str) -> SettingsError:
    return SettingsError(what, next=next, slug="study-not-permitted")
