"""``--fine-tune``: how much of the backbone learns."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from fanlight.core.terms import term_of
from fanlight.errors import SettingsError, UsageError

if TYPE_CHECKING:
    from fanlight.learning.backbones import CompiledBackbone
    from fanlight.services.main_server.task import Task

FineTune = Annotated[
    str | None,
    typer.Option(
        "--fine-tune",
        metavar="K|all[:P=V,…]",
        help="Let the backbone's last K blocks learn, or all of it, such as 1 or 2:batch_norm=local; devices then need"
        " the extra torch; see docs/fine-tuning.md.  [default: the head alone learns]",
        show_default=False,
    ),
]
"""The option of all commands that make a task."""


def fine_tune_fields(given: str) -> dict[str, object]:
    """The choice of ``K[:batch_norm=WORD,learning_rate=NUMBER]``.

    Raises:
        UsageError, SettingsError: it is not of that form.
    """
    term = term_of("--fine-tune", given)
    term.takes("--fine-tune 2:batch_norm=local,learning_rate=0.0003", *term.parameters, value=False)
    blocks = term.name
    if not (blocks == "all" or (blocks.isascii() and blocks.isdigit())):
        raise UsageError(
            f"--fine-tune {given}: {blocks!r} is neither a number of blocks nor the word all.",
            next="Write it like: --fine-tune 1, --fine-tune all or --fine-tune 2:batch_norm=local,learning_rate=0.0003",
        )
    fields: dict[str, object] = {"blocks": blocks if blocks == "all" else int(blocks)}
    for name, value in term.parameters.items():
        try:
            fields[name] = float(value) if name == "learning_rate" else value
        except ValueError as error:
            raise UsageError(f"--fine-tune: {value!r} is no number.") from error
    return fields


def with_fine_tuning(task: Task, given: str, compiled: CompiledBackbone, *, most_pictures: bool = True) -> Task:
    """The task with a part of its backbone that learns.

    Args:
        task: whose.
        given: the option.
        compiled: the task's backbone.
        most_pictures: is that rule of the rounds left to this option? Updates then are rounded finely enough.

    Raises:
        UsageError, SettingsError, ModelError: it is not of that form, or does not go with the task or its backbone.
    """
    from fanlight.services.main_server.fine_tuning import MOST_PICTURES, check_first, count_parameters

    fields = fine_tune_fields(given)
    norm = str(fields.get("batch_norm", "frozen"))
    if norm not in ("frozen", "local"):
        raise UsageError(f"--fine-tune: batch_norm is frozen or local, not {norm}.")
    fields["parameters"] = count_parameters(compiled, fields["blocks"], norm)  # type: ignore[arg-type]
    tuned = task.with_fine_tuning(fields)
    assert tuned.fine_tune is not None
    check_first(tuned.algorithm.algorithm, compiled, tuned.fine_tune)
    return tuned.with_policy(most_pictures=MOST_PICTURES) if most_pictures else tuned


def check_fine_tuning(given: str | None, head: str) -> None:
    """Before anything is made: is it of that form, and for a head that is trained?

    Raises:
        UsageError, SettingsError: see ``fine_tune_fields``; the head is solved from sums.
    """
    if given is None:
        return
    fine_tune_fields(given)
    if head != "softmax":
        raise UsageError(
            f"--fine-tune and --head {head} do not go together: features change with the backbone, so a head like that"
            " cannot be solved.",
            next="Leave one of them out.",
        )


def check_can_run() -> None:
    """For commands that start devices on this machine.

    Raises:
        SettingsError: PyTorch is not installed.
    """
    from fanlight.learning.torch_extra import has_torch

    if not has_torch():
        raise SettingsError(
            "--fine-tune needs PyTorch, which is not installed here.", next="pip install 'fanlight[torch]'"
        )
