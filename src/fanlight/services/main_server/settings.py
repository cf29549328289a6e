"""Settings of the main server."""

from __future__ import annotations

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from fanlight.services.settings import Port, RoleSettings


class MainServerSettings(RoleSettings):
    """``state`` is the folder ``main/`` that ``fanlight federation init`` made."""

    model_config = SettingsConfigDict(env_prefix="FANLIGHT_SERVER_")

    port: Port = Field(8000, description="TCP port to listen on.")
