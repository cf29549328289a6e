"""Composition root: each role's whole ASGI application, service and pages, from its settings.

``gunicorn 'fanlight.apps:main_server()'`` builds one from the environment (``FANLIGHT_SERVER_…`` and so on), and sends
its logs where and how the ``fanlight`` commands do.
"""

from __future__ import annotations

from typing import TypeVar

from fastapi import FastAPI

from fanlight.consoles import aggregator as aggregator_pages
from fanlight.consoles import main_server as main_server_pages
from fanlight.services.aggregator.app import create_app as create_aggregator
from fanlight.services.aggregator.settings import AggregatorSettings
from fanlight.services.http.logging import configure_logging
from fanlight.services.main_server.app import create_app as create_main_server
from fanlight.services.main_server.settings import MainServerSettings
from fanlight.services.settings import RoleSettings, load

S = TypeVar("S", bound=RoleSettings)


def main_server(settings: MainServerSettings | None = None) -> FastAPI:
    """The main server; settings from the environment if none are given."""
    app, parts = create_main_server(settings or _from_environment(MainServerSettings))
    main_server_pages.install(app, parts)
    return app


def aggregator(settings: AggregatorSettings | None = None) -> FastAPI:
    """The secure aggregator; settings from the environment if none are given."""
    app, parts = create_aggregator(settings or _from_environment(AggregatorSettings))
    aggregator_pages.install(app, parts)
    return app


def device(settings: object | None = None) -> FastAPI:
    """A device; settings from the environment if none are given."""
    # Servers must not load what only devices need (ONNX Runtime).
    from fanlight.consoles import device as device_pages
    from fanlight.services.device.app import create_app as create_device
    from fanlight.services.device.settings import DeviceSettings

    assert settings is None or isinstance(settings, DeviceSettings)
    app, role = create_device(settings or _from_environment(DeviceSettings))
    device_pages.install(app, role)
    return app


def _from_environment(cls: type[S]) -> S:
    settings = load(cls)
    configure_logging(json=settings.log_format == "json")
    return settings
