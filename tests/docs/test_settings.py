"""``docs/settings.md`` lists every setting there is, with its default and its limits, as the code has them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, get_args

import pytest
from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from fanlight.learning.training_settings import TrainingSettings
from fanlight.services.aggregator.settings import AggregatorSettings
from fanlight.services.device.settings import DeviceSettings
from fanlight.services.main_server.algorithm_choice import AlgorithmChoice
from fanlight.services.main_server.augmentation_choice import AugmentationChoice
from fanlight.services.main_server.fine_tuning import FineTuning
from fanlight.services.main_server.policy import Policy
from fanlight.services.main_server.settings import MainServerSettings
from fanlight.services.main_server.task import Task, Training
from fanlight.services.settings import RoleSettings, env_prefix
from tests.docs.current import check

ROLES: dict[str, type[RoleSettings]] = {
    "server": MainServerSettings,
    "aggregator": AggregatorSettings,
    "device": DeviceSettings,
}

HEAD = """\
# Settings

## Roles

A setting has one name everywhere: `port` is the option `--port`, the variable `FANLIGHT_SERVER_PORT`, and `port = 8000`
in a TOML file (`--config FILE`, or the variable `FANLIGHT_SERVER_CONFIG`). The command line wins over variables,
variables over the file, the file over the default. A name that no setting has is refused, in the file as well as among
the variables with the role's prefix. Several names are a list in TOML, and separated by commas in a variable.
Not every setting is an option as well: [commands](commands.md) lists those.
"""

TASK_HEAD = """\
## The task

`fanlight federation init` writes `main/task.json`; the main server reads it when it starts. Unknown names are refused.
Classes, backbone, picture size and training are the plan that all devices share: changing them later makes devices
prepare anew. Augmentation, class weights, algorithm and policy may be changed while the main server runs, on its page
Task or by `PUT /api/v1/augmentation`, `PUT /api/v1/class-weights`, `PUT /api/v1/algorithm` and `PUT /api/v1/policy`;
they hold from the next round on.
[Algorithms](algorithms.md) lists which there are, and their parameters; [augmentation](augmentation.md) tells what that
does.
"""

OTHERS = """\
## Other variables

| variable | meaning |
|---|---|
| `FANLIGHT_DATA_DIR` | where data sets by name are looked for first |
| `FANLIGHT_END_WITH_STDIN` | set: a role or a simulation ends when its standard input does (`fanlight demo` uses it) |
| `XDG_CACHE_HOME` | where `fanlight predict` keeps the compiled backbone (default `~/.cache`) |
"""


def described(docstring: str | None) -> dict[str, str]:
    """Meaning by name, from the ``Attributes:`` of a docstring; several names may share a line."""
    found: dict[str, str] = {}
    for names, text in re.findall(r"^    {4}([a-z0-9_, ]+): (.+(?:\n {8} +.+)*)", docstring or "", re.MULTILINE):
        for name in names.split(","):
            found[name.strip()] = " ".join(text.split()).rstrip(".")
    return found


def default_of(value: Any) -> str:
    if value is PydanticUndefined:
        return "must be set"
    if value is None:
        return "none"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if value in ((), ""):
        return "none"
    return f"`{value}`"


def limits_of(field: Any) -> str:
    choices = [value for value in get_args(field.annotation) if isinstance(value, str)]
    if choices:
        return ", ".join(f"`{choice}`" for choice in choices)
    limits = {key: value for item in field.metadata for key, value in _bounds(item).items()}
    if {"ge", "le"} <= set(limits):
        return f"{limits['ge']:,} to {limits['le']:,}"
    return ""


def _bounds(item: Any) -> Mapping[str, float]:
    inner = getattr(item, "metadata", [item])
    return {key: getattr(part, key) for part in inner for key in ("ge", "le") if hasattr(part, key)}


def role_table(name: str, settings: type[RoleSettings]) -> Iterator[str]:
    yield f"### fanlight {name}\n"
    yield f"Variables begin with `{env_prefix(settings)}`.\n"
    yield "| setting | default | allowed | meaning |\n|---|---|---|---|"
    for key, field in settings.model_fields.items():
        assert field.description, f"{settings.__name__}.{key} has no description"
        meaning = field.description.rstrip(".").replace("|", "\\|")
        yield f"| `{key}` | {default_of(field.default)} | {limits_of(field)} | {meaning} |"
    yield ""


def task_table(title: str, model: type[BaseModel], meanings: Mapping[str, str]) -> Iterator[str]:
    yield f"### {title}\n"
    yield "| name | default | allowed | meaning |\n|---|---|---|---|"
    for key, field in model.model_fields.items():
        assert key in meanings, f"{model.__name__}.{key} is not described in its docstring"
        yield f"| `{key}` | {default_of(field.default)} | {limits_of(field)} | {meanings[key]} |"
    yield ""


def test_every_setting_is_listed_as_it_is() -> None:
    parts = [HEAD]
    for name, settings in ROLES.items():
        parts.extend(role_table(name, settings))
    parts.append(TASK_HEAD)
    fields = ", ".join(f"`{name}`" for name in Task.model_fields)
    parts.append(f"Its parts: {fields}.\n")
    parts.extend(task_table("`training`", Training, described(TrainingSettings.__doc__)))
    parts.extend(task_table("`augmentation`", AugmentationChoice, described(AugmentationChoice.__doc__)))
    parts.extend(task_table("`algorithm`", AlgorithmChoice, described(AlgorithmChoice.__doc__)))
    parts.extend(task_table("`fine_tune` (none by default)", FineTuning, described(FineTuning.__doc__)))
    parts.extend(task_table("`policy`", Policy, described(Policy.__doc__)))
    parts.append(OTHERS)
    check("settings.md", "\n".join(parts))


@pytest.mark.parametrize("settings", ROLES.values(), ids=ROLES)
def test_every_role_has_a_prefix_of_its_own(settings: type[RoleSettings]) -> None:
    others = [env_prefix(other) for other in ROLES.values() if other is not settings]
    assert not any(env_prefix(settings).startswith(other) for other in others)
