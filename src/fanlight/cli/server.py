"""``fanlight server``: the main server."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fanlight.cli.serve import Config, Host, Hosts, LogFormat, MainUrl, Port, serve


def server(
    state: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="The folder main/ that 'fanlight federation init' made.", show_default=False),
    ] = None,
    port: Port = None,
    host: Host = None,
    hosts: Hosts = None,
    main_url: MainUrl = None,
    log_format: LogFormat = None,
    config: Config = None,
) -> None:
    """Run the main server (port 8000 unless told otherwise).

    It proposes rounds, takes off its own masks from the sum that the aggregator releases, and publishes the models.
    Every option can be set by a variable FANLIGHT_SERVER_… or in a TOML file.
    """
    from fanlight.apps import main_server
    from fanlight.services.main_server.settings import MainServerSettings

    options = {
        "state": state,
        "port": port,
        "host": host,
        "hosts": hosts,
        "main_url": main_url,
        "log_format": log_format,
    }
    serve(MainServerSettings, main_server, config, options)
