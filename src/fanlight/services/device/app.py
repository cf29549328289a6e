"""The device's web application: the owner's routes, and the agent for as long as it runs."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import structlog
from fastapi import FastAPI

from fanlight.errors import DataError
from fanlight.services.device.gauges import Gauges
from fanlight.services.device.learner import Learner
from fanlight.services.device.owner_api import owner_router
from fanlight.services.device.role import Chances, DeviceRole, MakeLearner, build_role
from fanlight.services.device.settings import DeviceSettings
from fanlight.services.http.address import known_address
from fanlight.services.http.application import new_application
from fanlight.services.http.health import health_router, storage_checks
from fanlight.services.http.metrics import metrics_token
from fanlight.services.http.sessions import OwnerSessions
from fanlight.services.http.signing_in import announce_login
from fanlight.services.http.stopping import on_stop_signal
from fanlight.services.http.threads import in_thread

log = structlog.get_logger(__name__)

TAKE_PICTURES = ("/api/v1/pictures", "/api/v1/learning/try", "/pictures/add", "/learning/try")
"""Prefixes of the routes that take pictures, and bound their bodies themselves."""


def create_app(
    settings: DeviceSettings,
    *,
    chances: Chances | None = None,
    transport: httpx.MockTransport | None = None,
    learner: MakeLearner = Learner,
) -> tuple[FastAPI, DeviceRole]:
    """A device as an ASGI application, and its parts.

    Args:
        settings: what the owner said.
        chances: clock and generators, for tests.
        transport: replaces the network, for tests.
        learner: as in ``build_role``.

    Raises:
        NotFound, NotAuthentic, SettingsError, StorageError: see ``build_role``.
    """
    role = build_role(settings, chances=chances, transport=transport, learner=learner)
    sessions = OwnerSessions.of("device", settings.port, settings.state, role.chances.clock)

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        announce_login(f"device {role.name}", settings.host, settings.port, sessions)
        _warn_of_missing_pictures(role)
        role.agent.start()
        try:
            with on_stop_signal(role.pages.close), known_address(settings.state, settings.host, settings.port):
                yield
        finally:
            await in_thread(role.stop)

    app = new_application(
        f"Fanlight device {role.name}",
        sessions,
        metrics_token=metrics_token(settings.state),
        hosts=settings.hosts,
        large_bodies=TAKE_PICTURES,
        lifespan=lifespan,
    )
    app.state.metrics.registry.register(Gauges(role))
    checks = storage_checks(role.store.database, settings.state) | {"membership": role.membership.why_not_ready}
    app.include_router(health_router("device", checks))
    app.include_router(owner_router(role))
    return app, role


def _warn_of_missing_pictures(role: DeviceRole) -> None:
    """Most often a mistyped ``--data``; the device goes on, since the folder may come later."""
    try:
        role.pictures.check_folder()
    except DataError as error:
        log.warning("no pictures", reason=error.message, next="Is --data right? Else put the folder there.")
