"""From the options of a command to the task that a federation works on."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from fanlight.core.terms import term_of
from fanlight.errors import DataError, UsageError

if TYPE_CHECKING:
    from fanlight.learning.backbones import CompiledBackbone
    from fanlight.services.main_server.task import Task


Algorithm = Annotated[
    str | None,
    typer.Option(
        "--algorithm",
        metavar="NAME[:P=V,…]",
        help="How updates become the next model, such as fedadam or fedprox:mu=0.5,combine=median; see"
        " docs/algorithms.md."
        "  [default: fedavg]",
        show_default=False,
    ),
]
"""The option of all commands that make a task."""

Augment = Annotated[
    str | None,
    typer.Option(
        "--augment",
        metavar="N[:P=V,…]",
        help="Learn from N variants of each training picture, too: 4, or 4:flip=no,zoom=10,light=0; see"
        " docs/augmentation.md."
        "  [default: 0]",
        show_default=False,
    ),
]
"""The same of pictures that are varied."""


ClassWeights = Annotated[
    str | None,
    typer.Option(
        "--class-weights",
        metavar="own|off|N,N,…",
        help="By what classes of few pictures weigh more in training: each device's own pictures, nothing, or those of"
        " the whole federation, one number for each class in their order; see docs/augmentation.md."
        "  [default: own]",
        show_default=False,
    ),
]
"""And of classes of few pictures."""


class Pictures(NamedTuple):
    """What a task takes from its data set: classes in order, side of the pictures in pixels, may they be mirrored?"""

    classes: tuple[str, ...]
    picture_size: int
    flip: bool = True


def pictures_of(dataset: str) -> Pictures:
    """Classes and picture size of a data set by name, or of a folder of pictures.

    Raises:
        DataError: there is no such data set or folder.
        UsageError: the folder has fewer than two classes.
    """
    from fanlight.learning.datasets import own_folder
    from fanlight.learning.datasets.prepare import OWN_FOLDER_PICTURE_SIZE, SOURCES

    source = SOURCES.get(dataset)
    if source is not None:
        return Pictures(source.classes, source.picture_size, source.flip)
    folder = Path(dataset)
    if not folder.is_dir():
        raise DataError(
            f"There is no data set and no folder called {dataset}.",
            next=f"Choose one of {', '.join(SOURCES)}, or give the path of a folder with pictures.",
            slug="unknown-dataset",
        )
    devices = own_folder.device_folders(folder) or (folder,)
    return Pictures(own_folder.classes_of_devices(devices), OWN_FOLDER_PICTURE_SIZE)


def class_list(text: str) -> tuple[str, ...]:
    """The classes of ``--classes a,b``.

    Raises:
        UsageError: fewer than two.
    """
    classes = tuple(name.strip() for name in text.split(",") if name.strip())
    if len(classes) < 2:
        raise UsageError("--classes needs two or more class names.", next="Write them like: --classes cat,dog")
    return classes


def policy_fields(given: Sequence[str]) -> dict[str, object]:
    """The fields of ``--policy NAME=VALUE``: numbers, ``true`` or ``false``, or else texts.

    Raises:
        UsageError: one is not of that form.
    """
    fields: dict[str, object] = {}
    for each in given:
        name, equals, value = each.partition("=")
        if not equals:
            raise UsageError(f"--policy {each} has no value.", next="Write it like: --policy patience_rounds=5")
        words: dict[str, object] = {"true": True, "false": False}
        fields[name] = int(value) if value.isascii() and value.isdigit() else words.get(value, value)
    return fields


def algorithm_fields(given: str | None) -> dict[str, object] | None:
    """The choice of ``--algorithm NAME[:PARAMETER=VALUE,…]``, where ``combine`` takes a word; None if none was made.

    Raises:
        SettingsError: it is not of that form.
    """
    from fanlight.learning.algorithms.written import read_algorithm

    if given is None:
        return None
    written = read_algorithm("--algorithm", given)
    choice: dict[str, object] = {"name": written.name, "parameters": written.parameters}
    return choice if written.combine is None else choice | {"combine": written.combine}


_FIELDS_OF = {"zoom": "zoom_percent", "light": "light_percent"}
_WORDS: Mapping[str, bool] = {"yes": True, "no": False}


def augmentation_fields(given: str | None, *, flip: bool = True) -> dict[str, object] | None:
    """The choice of ``--augment N[:flip=yes|no,zoom=PERCENT,light=PERCENT]``; None if none was made.

    ``flip``: are pictures mirrored, unless it is said?

    Raises:
        SettingsError, UsageError: it is not of that form.
    """
    if given is None:
        return None
    term = term_of("--augment", given)
    term.takes("--augment 4:flip=no,zoom=10", *term.parameters, value=False)
    choice: dict[str, object] = {"variants": _whole(term.name), "flip": flip}
    for name, value in term.parameters.items():
        choice[_FIELDS_OF.get(name, name)] = _flag(name, value) if name == "flip" else _whole(value)
    return choice


def _flag(name: str, text: str) -> bool:
    if text not in _WORDS:
        raise UsageError(f"--augment: {name} is yes or no, not {text!r}.", next="Write it like: --augment 4:flip=no")
    return _WORDS[text]


def _whole(text: str) -> int:
    text = text.strip()
    if not (text.isascii() and text.isdigit()):
        raise UsageError(
            f"--augment: {text!r} is no whole number.",
            next="Write it like: --augment 4, or --augment 4:flip=no,zoom=10",
        )
    return int(text)


def check_augmentation(given: str | None) -> None:
    """Can pictures be varied so?

    Raises:
        UsageError, SettingsError: see ``augmentation_fields``; a name or number that there is not.
    """
    from fanlight.services.main_server.task import Task

    choice = augmentation_fields(given)
    if choice is not None:
        Task.default(classes=("a", "b")).with_augmentation(choice)


def class_weights_fields(given: str | None) -> dict[str, object] | None:
    """The choice of ``--class-weights own|off|N,N,…``; None if none was made.

    Raises:
        UsageError: it is not of that form.
    """
    if given is None or given in ("own", "off"):
        return None if given is None else {"class_weights": given == "own", "class_counts": ()}
    numbers = [number.strip() for number in given.split(",")]
    if not all(number.isascii() and number.isdigit() for number in numbers):
        raise UsageError(
            f"--class-weights: {given!r} is neither 'own' nor 'off' nor a number for each class.",
            next="Write it like: --class-weights 500,480,35,20",
        )
    return {"class_weights": True, "class_counts": tuple(int(number) for number in numbers)}


class Choices(NamedTuple):
    """What was chosen of what may change from one start to the next; None: what there was, or the default."""

    algorithm: Mapping[str, object] | None = None
    augmentation: Mapping[str, object] | None = None
    class_weights: Mapping[str, object] | None = None


class Head(StrEnum):
    """``--head``: how the head is learned."""

    SOFTMAX = "softmax"
    ANALYTIC = "analytic"
    PROTOTYPES = "prototypes"


HEAD_HELP = "How it learns: round by round, or first in one round from sums of features, or of class means."


def make_task(
    pictures: Pictures,
    *,
    head: Head = Head.SOFTMAX,
    demo: bool = False,
    by_itself: bool = False,
    rounds: int = 0,
    k_min: int | None = None,
    policy: Mapping[str, object] | None = None,
    algorithm: Mapping[str, object] | None = None,
    augmentation: Mapping[str, object] | None = None,
    class_weights: Mapping[str, object] | None = None,
) -> Task:
    """The task with the defaults of the project; ``policy`` may name any further field of it.

    ``algorithm`` has the fields of ``AlgorithmChoice``, ``augmentation`` those of ``AugmentationChoice``,
    ``class_weights`` those of ``task.ClassWeights``.

    Raises:
        SettingsError: a class name or number cannot be used, or numbers that do not go together.
    """
    from fanlight.services.main_server.task import Task

    task = Task.default(classes=pictures.classes, picture_size=pictures.picture_size, demo=demo, head=head.value)
    changes: dict[str, object] = {"by_itself": by_itself, "rounds": rounds, **(policy or {})}
    if k_min is not None:
        changes["k_min"] = k_min
    task = task.with_policy(**changes)
    task = task if algorithm is None else task.with_algorithm(algorithm)
    task = task if augmentation is None else task.with_augmentation(augmentation)
    return task if class_weights is None else task.with_class_weights(class_weights)


def checked_backbone(name: str | None) -> str | None:
    """The name of a backbone, if the registry has one.

    Raises:
        UsageError: it has none; says which there are.
    """
    from fanlight.learning.backbones import BACKBONES

    if name is not None and name not in BACKBONES:
        raise UsageError(
            f"There is no backbone {name}.",
            next=f"Choose one of {', '.join(BACKBONES)}. One of your own goes into a federation of your own: "
            "fanlight federation init --backbone FILE.",
        )
    return name


def with_any_backbone(task: Task, given: str) -> tuple[Task, tuple[str, bytes] | None]:
    """The task with a backbone of the registry, by name, or of somebody's own, which is a file; and that file.

    Raises:
        UsageError: it is neither. ModelError: see ``with_backbone``.
    """
    from fanlight.learning.backbones import BACKBONES

    if given in BACKBONES:
        return task.with_line(task.head, given), None
    path = Path(given)
    if not path.exists():
        raise UsageError(
            f"There is no backbone and no file called {given}.",
            next=f"Choose one of {', '.join(BACKBONES)}, or make a file with: fanlight backbone compile",
        )
    return with_backbone(task, path)


def task_backbone(task: Task, path: Path | None) -> CompiledBackbone:
    """The backbone of a task: the registry's, made here, or the one in the file ``path``.

    Raises:
        ModelError, StorageError: it cannot be made or kept.
    """
    from fanlight.cli.user_backbones import made_here
    from fanlight.learning.backbones import MAX_BACKBONE_BYTES, CompiledBackbone

    if path is None:
        return made_here(task.backbone)
    return CompiledBackbone(task.backbone, path, MAX_BACKBONE_BYTES, task.backbone_sha256, task.plan.features)


def with_backbone(task: Task, path: Path) -> tuple[Task, tuple[str, bytes]]:
    """The task with a backbone of somebody's own, and its file: name and content.

    Raises:
        ModelError: the file is no backbone, or cannot be read.
    """
    from fanlight.learning.backbones import kept_backbone
    from fanlight.learning.own_backbones import read_backbone
    from fanlight.services.main_server.task import OwnBackbone

    data, said = read_backbone(path)
    sha256 = hashlib.sha256(data).hexdigest()
    own = OwnBackbone(sha256=sha256, features=said.features, title=said.title, licence=said.licence)
    name = kept_backbone(said.id, sha256, said.features, Path()).path.name
    return task.model_copy(update={"backbone": said.id, "own_backbone": own}), (name, data)
