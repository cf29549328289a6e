"""Composition root: each role's whole ASGI application, service and pages, from its settings.

``gunicorn 'fanlight.apps:main_server()'`` builds one from the environment (``FANLIGHT_SERVER_…`` and so on), and sends
its logs where and how the ``fanlight`` commands do.

A process loads what its role needs and nothing more: servers do without ONNX Runtime, and each starts sooner.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from fanlight.services.settings import RoleSettings, load

if TYPE_CHECKING:
    from fastapi import FastAPI

    from fanlight.services.aggregator.settings import AggregatorSettings
    from fanlight.services.device.settings import DeviceSettings
    from fanlight.services.main_server.settings import MainServerSettings

S = TypeVar("S", bound=RoleSettings)


def main_server(settings: MainServerSettings | None = None) -> FastAPI:
    """The main server; settings from the environment if none are given."""
    from fanlight.consoles import main_server as pages
    from fanlight.services.main_server.app import create_app
    from fanlight.services.main_server.settings import MainServerSettings

    app, parts = create_app(settings or _from_environment(MainServerSettings))
    pages.install(app, parts)
    return app


def aggregator(settings: AggregatorSettings | None = None) -> FastAPI:
    """The secure aggregator; settings from the environment if none are given."""
    from fanlight.consoles import aggregator as pages
    from fanlight.services.aggregator.app import create_app
    from fanlight.services.aggregator.settings import AggregatorSettings

    app, parts = create_app(settings or _from_environment(AggregatorSettings))
    pages.install(app, parts)
    return app


def device(settings: DeviceSettings | None = None) -> FastAPI:
    """A device; settings from the environment if none are given."""
    from fanlight.consoles import device as pages
    from fanlight.services.device.app import create_app
    from fanlight.services.device.settings import DeviceSettings

    app, role = create_app(settings or _from_environment(DeviceSettings))
    pages.install(app, role)
    return app


def _from_environment(cls: type[S]) -> S:
    from fanlight.services.http.logging import configure_logging

    settings = load(cls)
    configure_logging(json=settings.log_format == "json")
    return settings
