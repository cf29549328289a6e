"""Settings of a role: from the command line, the environment, a TOML file, or their defaults, in this order.

1. A setting has one name everywhere: ``port`` is ``--port``, ``FANLIGHT_SERVER_PORT`` and ``port = …`` in TOML.
2. A name that no setting has is refused wherever it stands: a misspelt setting must not leave its default in force.
3. Only ``load`` looks at the environment and at files; a class called by itself takes what it is given, and no more.
4. Relative paths are relative to the folder in which the process was started, wherever they are written.
"""

from __future__ import annotations

import difflib
import os
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BeforeValidator, Field, ValidationError
from pydantic_core import ErrorDetails
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)
from pydantic_settings import (
    SettingsError as UnreadableSetting,
)

from fanlight.errors import SettingsError

CONFIG = "config"
_SETTINGS_LIMIT_BYTES = 1 << 20


def _comma_separated(value: object) -> object:
    if isinstance(value, str):
        return tuple(part for part in (part.strip() for part in value.split(",")) if part)
    return value


Names = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_comma_separated)]
"""Several names: a list in TOML, separated by commas in the environment."""
Port = Annotated[int, Field(ge=1, le=65535)]


class RoleSettings(BaseSettings):
    """What every role can be told.  A role adds its own, a default for ``port``, and its ``env_prefix``."""

    model_config = SettingsConfigDict(extra="forbid", frozen=True, env_prefix="FANLIGHT_")

    state: Path = Field(description="Folder that holds the role's keys, database and models.")
    host: str = Field("localhost", description="Address to listen on; localhost keeps the pages on this machine.")
    port: Port = Field(description="TCP port to listen on.")
    hosts: Names = Field((), description="Names, besides localhost, by which browsers and devices call this process.")
    main_url: str | None = Field(
        None, description="Where the main server is now, if it has moved since the federation (or the token) was made."
    )
    log_format: Literal["console", "json"] = Field("console", description="Log lines for people, or JSON.")

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003 the library passes all by name
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,  # noqa: ARG003 the same
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003 the same
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003 the same
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Only what the caller passes (rule 3)."""
        return (init_settings,)


S = TypeVar("S", bound=RoleSettings)


def load(cls: type[S], config: Path | None = None, overrides: Mapping[str, Any] | None = None) -> S:
    """The settings of a role, every value checked.

    Args:
        cls: the role's settings.
        config: a TOML file; by default the one that ``<PREFIX>CONFIG`` names, if it does.
        overrides: from the command line; ``None`` means that the option was not given.

    Raises:
        SettingsError: an unknown or missing setting, a value out of range, or a file that cannot be read.
    """
    prefix = env_prefix(cls)
    config = config or _configured_file(prefix)
    given = {name: value for name, value in (overrides or {}).items() if value is not None}
    from_file = _read_toml(config) if config else {}
    _refuse_unknown(cls, from_file, f"in {config}")
    _refuse_unknown(cls, given, "on the command line")
    from_environment = _read_environment(cls, prefix)
    origins = {
        **dict.fromkeys(from_file, f"in {config}"),
        **{name: f"from {prefix}{name.upper()}" for name in from_environment},
        **dict.fromkeys(given, "on the command line"),
    }
    try:
        return cls(**{**from_file, **from_environment, **given})
    except ValidationError as error:
        raise SettingsError(
            "; ".join(_complaint(detail, origins) for detail in error.errors()),
            next=f"Settings come from options, from variables such as {prefix}STATE, or from a TOML file (--config).",
        ) from error


def read_settings_file(path: Path, what: str, advice: str) -> bytes:
    """The content of a file that people write.

    Args:
        path: where it is.
        what: what errors call it.
        advice: what to do if it cannot be read.

    Raises:
        SettingsError: it cannot be read, or is too long.
    """
    try:
        with path.open("rb") as file:
            data = file.read(_SETTINGS_LIMIT_BYTES + 1)
    except OSError as error:
        raise SettingsError(f"{what} cannot be read: {error.strerror}.", next=advice) from error
    if len(data) > _SETTINGS_LIMIT_BYTES:
        raise SettingsError(f"{what} is longer than {_SETTINGS_LIMIT_BYTES:,} bytes.")
    return data


def env_prefix(cls: type[RoleSettings]) -> str:
    """What the names of the role's environment variables begin with, such as ``FANLIGHT_SERVER_``."""
    return str(cls.model_config.get("env_prefix") or "")


def _configured_file(prefix: str) -> Path | None:
    named = os.environ.get(f"{prefix}{CONFIG.upper()}")
    return Path(named) if named else None


def _read_toml(path: Path) -> dict[str, Any]:
    data = read_settings_file(path, f"The settings file {path}", "Check the path after --config.")
    try:
        return tomllib.loads(data.decode())
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise SettingsError(
            f"The settings file {path} is not TOML: {error}.", next="Write lines like: port = 8000"
        ) from (error)


def _read_environment(cls: type[RoleSettings], prefix: str) -> dict[str, Any]:
    names = {name[len(prefix) :].lower() for name in os.environ if name.upper().startswith(prefix)}
    _refuse_unknown(cls, names - {CONFIG}, "in the environment", prefix)
    try:
        return dict(EnvSettingsSource(cls)())
    except UnreadableSetting as error:
        raise SettingsError(f"A variable {prefix}… cannot be read: {error}.") from error


def _refuse_unknown(cls: type[RoleSettings], names: Iterable[str], where: str, prefix: str = "") -> None:
    known = sorted(cls.model_fields)
    unknown = sorted(set(names) - set(known))
    if not unknown:
        return
    name = unknown[0]
    close = difflib.get_close_matches(name, known, n=1)
    hint = f"Did you mean {_spelt(close[0], prefix)}? " if close else ""
    raise SettingsError(
        f"There is no setting {_spelt(name, prefix)} ({where}).",
        next=f"{hint}The settings are: {', '.join(_spelt(name, prefix) for name in known)}.",
        slug="unknown-setting",
    )


def _spelt(name: str, prefix: str) -> str:
    return f"{prefix}{name.upper()}" if prefix else name


def _complaint(detail: ErrorDetails, origins: Mapping[str, str]) -> str:
    name = ".".join(str(part) for part in detail["loc"]) or "settings"
    if detail["type"] == "missing":
        return f"The setting {name} is missing"
    origin = origins.get(str(detail["loc"][0]) if detail["loc"] else "", "")
    place = f" {origin}" if origin else ""
    return f"The setting {name}{place} is {detail['input']!r}: {detail['msg']}"
