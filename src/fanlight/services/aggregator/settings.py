"""Settings of the secure aggregator."""

from __future__ import annotations

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from fanlight.services.settings import Port, RoleSettings


class AggregatorSettings(RoleSettings):
    """``state`` is the folder ``aggregator/`` that ``fanlight federation init`` made."""

    model_config = SettingsConfigDict(env_prefix="FANLIGHT_AGGREGATOR_")

    port: Port = Field(8003, description="TCP port to listen on.")
    aggregator_url: str | None = Field(None, description="The same for the secure aggregator.")
