"""``fanlight aggregator``: the secure aggregator."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fanlight.cli.serve import AggregatorUrl, Config, Host, Hosts, LogFormat, MainUrl, Port, serve


def aggregator(
    state: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", help="The folder aggregator/ that 'fanlight federation init' made.", show_default=False
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
    """Run the secure aggregator (port 8003 unless told otherwise).

    It adds up what devices send, without being able to read any of it, and releases one sum for each round.
    Every option can be set by a variable FANLIGHT_AGGREGATOR_… or in a TOML file.
    """
    from fanlight import apps
    from fanlight.services.aggregator.settings import AggregatorSettings

    options = {
        "state": state,
        "port": port,
        "host": host,
        "hosts": hosts,
        "main_url": main_url,
        "aggregator_url": aggregator_url,
        "log_format": log_format,
    }
    serve(AggregatorSettings, apps.aggregator, config, options)
