"""What a device can be told: ``--help``, ``FANLIGHT_DEVICE_…`` and TOML all read these."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from fanlight.protocol.manifest import MOST_REJECTED_PERCENT
from fanlight.services.settings import Port, RoleSettings


class DeviceSettings(RoleSettings):
    """Settings of a device.  What is said of devices, answers, rejections, demos and backbones are its floors."""

    model_config = SettingsConfigDict(extra="forbid", frozen=True, env_prefix="FANLIGHT_DEVICE_")

    state: Path = Field(Path("fanlight-state/device"), description="Folder that holds keys, database and models.")
    port: Port = Field(8001, description="TCP port of the owner's pages.")
    token: Path = Field(
        description="Token file from the operator, needed at every start: whom to trust, and to join, once."
    )
    data: Path = Field(description="Folder with the labelled pictures: CLASS/… or {train,valid,test}/CLASS/….")
    aggregator_url: str | None = Field(None, description="The same for the secure aggregator.")
    client: str | None = Field(None, description="Which Client# to take, where the data folder holds several.")
    name: str | None = Field(None, min_length=1, max_length=64, description="Name on this device's own pages.")
    accept_demo: bool = Field(
        False, description="Take part in demonstration rounds of two devices: each can work out the other's update."
    )
    k_min: Annotated[int, Field(ge=2, le=1 << 20)] = Field(5, description="Fewest devices in a sum joined by this one.")
    r_max_percent: Annotated[int, Field(ge=0, le=MOST_REJECTED_PERCENT)] = Field(
        MOST_REJECTED_PERCENT, description="Most of a round's reports that the main server may leave out, percent."
    )
    answers_per_day: Annotated[int, Field(ge=1, le=1_000_000)] = Field(
        500, description="Most reports in 24 hours, over all tasks."
    )
    backbones: tuple[str, ...] = Field(
        (), description='Backbones beside the known ones that may run here: ["NAME=SHA256", …].'
    )
    threads: Annotated[int, Field(ge=1, le=256)] = Field(1, description="Threads that compute features.")
    batch: Annotated[int, Field(ge=1, le=1024)] = Field(8, description="Pictures computed at once; costs memory.")
    poll_wait_s: Annotated[float, Field(ge=0, le=25)] = Field(
        10, description="Longest wait for news from the main server in one request, in seconds."
    )
