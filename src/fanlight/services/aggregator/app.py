"""The secure aggregator as an ASGI application, without its pages."""

from __future__ import annotations

import os
import random
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

from fastapi import FastAPI

from fanlight.protocol.exchange import PREFIX
from fanlight.protocol.identities import Role
from fanlight.services.aggregator.gauges import Gauges
from fanlight.services.aggregator.owner_api import owner_router
from fanlight.services.aggregator.reception import Reception
from fanlight.services.aggregator.records import Records
from fanlight.services.aggregator.reports_api import protocol_routes
from fanlight.services.aggregator.service import ROLE, AggregatorService
from fanlight.services.aggregator.settings import AggregatorSettings
from fanlight.services.aggregator.step_jobs import Steps
from fanlight.services.federation import load_server_identity, moved
from fanlight.services.http.address import known_address
from fanlight.services.http.application import new_application
from fanlight.services.http.health import health_router, storage_checks
from fanlight.services.http.hosts import authorities_of
from fanlight.services.http.metrics import metrics_token
from fanlight.services.http.sessions import OwnerSessions
from fanlight.services.http.signing_in import announce_login
from fanlight.services.http.stopping import on_stop_signal
from fanlight.services.http.threads import in_thread
from fanlight.services.server.log_api import log_router
from fanlight.services.server.log_file import LogWriter

_PATIENCE_S: Final = 2.0
"""How long the work at hand, which may wait for the main server, can take when the process ends."""


@dataclass(frozen=True)
class AggregatorParts:
    """What the composition root puts pages on."""

    service: AggregatorService
    steps: Steps
    sessions: OwnerSessions
    records: Records


def create_app(
    settings: AggregatorSettings,
    *,
    clock: Callable[[], float] = time.time,
    monotonic: Callable[[], float] = time.monotonic,
    random_bytes: Callable[[int], bytes] = os.urandom,
    jitter: Callable[[], float] = random.random,
    reception: type[Reception] = Reception,
) -> tuple[FastAPI, AggregatorParts]:
    """Build the application of one aggregator; its state folder must be a federation's ``aggregator/``.

    Args:
        settings: the owner's.
        clock, monotonic, random_bytes, jitter: time and chance, for tests.
        reception: takes the reports; another one for benchmarks.

    Raises:
        NotFound, SettingsError, StorageError: the folder is not one, or cannot be used.
    """
    identity = moved(
        load_server_identity(settings.state, Role.AGGREGATOR),
        main_url=settings.main_url,
        aggregator_url=settings.aggregator_url,
    )
    service = AggregatorService(settings.state, identity, clock, monotonic, random_bytes, jitter, reception)
    steps, records = Steps(service), Records(service)
    sessions = OwnerSessions.of(ROLE, settings.port, settings.state, clock)

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        announce_login("secure aggregator", settings.host, settings.port, sessions)
        service.start()
        with on_stop_signal(service.pages.close), known_address(settings.state, settings.host, settings.port):
            yield
        await in_thread(service.stop, _PATIENCE_S)
        await in_thread(service.close)

    app = new_application(
        "Fanlight secure aggregator",
        sessions,
        metrics_token=metrics_token(settings.state),
        hosts=settings.hosts,
        large_bodies=(PREFIX,),
        lifespan=lifespan,
    )
    app.state.metrics.registry.register(Gauges(service))
    checks = storage_checks(service.database, settings.state) | {"main": service.why_without_main}
    app.include_router(health_router(ROLE, checks))
    authorities = authorities_of(identity.aggregator_url, settings.host, settings.port)
    app.router.routes[:0] = protocol_routes(service, authorities)
    app.include_router(owner_router(service, steps, records))
    app.include_router(log_router(records.log, LogWriter(service.database, service.log, identity, clock)))
    return app, AggregatorParts(service, steps, sessions, records)
