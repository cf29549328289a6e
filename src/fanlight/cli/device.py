"""``fanlight device``: one device."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fanlight.cli.serve import AggregatorUrl, Config, Host, Hosts, LogFormat, MainUrl, Port, serve


def device(
    *,
    token: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Token file of the operator; needed at every start.", show_default=False),
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Folder of labelled pictures: CLASS/… or {train,valid,test}/CLASS/…"),
    ] = None,
    state: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Folder for its key, features and models; made if missing."),
    ] = None,
    client: Annotated[
        str | None,
        typer.Option(metavar="CLIENT#", help="Which client's folder to take, where --data holds several."),
    ] = None,
    accept_demo: Annotated[
        bool,
        typer.Option("--accept-demo", help="Join even a demo federation of two devices, which protects neither."),
    ] = False,
    allow_backbone: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=SHA256",
            help="Let this backbone run here too, which this program does not know; may be repeated.",
            show_default=False,
        ),
    ] = None,
    port: Port = None,
    host: Host = None,
    hosts: Hosts = None,
    main_url: MainUrl = None,
    aggregator_url: AggregatorUrl = None,
    log_format: LogFormat = None,
    config: Config = None,
) -> None:
    """Run one device (port 8001 unless told otherwise).

    It learns from its own pictures, which never leave it, and sends what it learned masked for both servers.
    Every option can be set by a variable FANLIGHT_DEVICE_… or in a TOML file.
    """
    from fanlight import apps
    from fanlight.services.device.settings import DeviceSettings

    options = {
        "token": token,
        "data": data,
        "state": state,
        "client": client,
        "accept_demo": accept_demo or None,
        "backbones": allow_backbone or None,
        "port": port,
        "host": host,
        "hosts": hosts,
        "main_url": main_url,
        "aggregator_url": aggregator_url,
        "log_format": log_format,
    }
    serve(DeviceSettings, apps.device, config, options)
