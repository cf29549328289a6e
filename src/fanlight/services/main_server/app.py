"""The main server as an ASGI application, without its pages."""

from __future__ import annotations

import asyncio
import math
import os
import random
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

import structlog
from fastapi import FastAPI

from fanlight.protocol.exchange import PREFIX
from fanlight.protocol.identities import Role
from fanlight.services.federation import load_server_identity, moved
from fanlight.services.http.address import known_address
from fanlight.services.http.application import new_application
from fanlight.services.http.backoff import Backoff
from fanlight.services.http.health import health_router, storage_checks
from fanlight.services.http.hosts import authorities_of
from fanlight.services.http.metrics import metrics_token
from fanlight.services.http.problems import as_problem
from fanlight.services.http.sessions import OwnerSessions
from fanlight.services.http.signing_in import announce_login
from fanlight.services.http.stopping import on_stop_signal
from fanlight.services.http.threads import in_thread
from fanlight.services.main_server.changes_api import changes_router
from fanlight.services.main_server.conductor import Conductor
from fanlight.services.main_server.gauges import Gauges
from fanlight.services.main_server.overview import Overview
from fanlight.services.main_server.owner_api import owner_router
from fanlight.services.main_server.protocol_api import protocol_routes
from fanlight.services.main_server.records import Records
from fanlight.services.main_server.records_api import records_router
from fanlight.services.main_server.service import ROLE, MainService
from fanlight.services.main_server.settings import MainServerSettings
from fanlight.services.main_server.step_jobs import Steps
from fanlight.services.main_server.studies.studies import Studies
from fanlight.services.main_server.studies.studies_api import studies_router
from fanlight.services.server.log_api import log_router
from fanlight.services.server.log_file import LogWriter

log = structlog.get_logger(__name__)

STUDIES_FOLDER: Final = "studies"
TICK_S: Final = 0.5
"""The policy looks at the clock so often while news waits, or it cannot go on; whatever happens wakes it at once."""
_SHORTEST_TICK_S: Final = 0.01
LONGEST_TICK_S: Final = 5.0
"""It looks at least so often, whatever it knows: the clock on the wall may be set."""
LONGEST_PAUSE_S: Final = 10.0
"""The same while it cannot go on."""


@dataclass(frozen=True)
class MainServerParts:
    """What the composition root puts pages on."""

    service: MainService
    conductor: Conductor
    overview: Overview
    steps: Steps
    sessions: OwnerSessions
    records: Records
    studies: Studies


def create_app(
    settings: MainServerSettings,
    *,
    clock: Callable[[], float] = time.time,
    monotonic: Callable[[], float] = time.monotonic,
    random_bytes: Callable[[int], bytes] = os.urandom,
    jitter: Callable[[], float] = random.random,
) -> tuple[FastAPI, MainServerParts]:
    """Build the application of one main server; its state folder must be a federation's ``main/``.

    Raises:
        NotFound, SettingsError, StorageError: the folder is not one, or cannot be used.
    """
    identity = moved(load_server_identity(settings.state, Role.MAIN), main_url=settings.main_url)
    service = MainService(settings.state, identity, clock, monotonic, random_bytes)
    if service.task.flaw:
        log.warning("rounds lack the shards that are to be combined", problem=service.task.flaw)
    conductor = Conductor(service)
    overview, steps = Overview(service, conductor), Steps(service, conductor)
    records = Records(service, conductor.course)
    studies = Studies(settings.state / STUDIES_FOLDER, clock, service.pages.notify)
    sessions = OwnerSessions.of(ROLE, settings.port, settings.state, clock)

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        announce_login("main server", settings.host, settings.port, sessions)
        conducting = asyncio.create_task(
            _conduct(service, conductor, Backoff(jitter, first_s=TICK_S, longest_s=LONGEST_PAUSE_S))
        )
        await in_thread(studies.open)
        with on_stop_signal(service.news.close), known_address(settings.state, settings.host, settings.port):
            yield
        conducting.cancel()
        await asyncio.wait((conducting,))  # it may be at the database
        await in_thread(studies.close)
        await in_thread(service.close)

    app = new_application(
        "Fanlight main server",
        sessions,
        metrics_token=metrics_token(settings.state),
        hosts=settings.hosts,
        large_bodies=(PREFIX,),
        lifespan=lifespan,
    )
    app.state.metrics.registry.register(Gauges(service, overview))
    checks = storage_checks(service.database, settings.state) | {"policy": service.why_policy_stands}
    app.include_router(health_router(ROLE, checks))
    authorities = authorities_of(identity.main_url, settings.host, settings.port)
    app.router.routes[:0] = protocol_routes(service, authorities)
    app.include_router(owner_router(service, conductor, overview, records, steps))
    app.include_router(records_router(records))
    app.include_router(log_router(records.log, LogWriter(service.database, service.log, identity, clock)))
    app.include_router(changes_router(service))
    app.include_router(studies_router(service, studies))
    return app, MainServerParts(service, conductor, overview, steps, sessions, records, studies)


async def _conduct(service: MainService, conductor: Conductor, backoff: Backoff) -> None:
    """The one place that runs the policy: after every change, and when the clock may have made something due.

    It ends when the process is about to: nobody waits for news any more, and the next start does what is left.
    """
    while not service.news.policy.closed:
        version = service.news.policy.version
        try:
            stands = conductor.stands() and not service.rounds.has_spent_key
            due_in_s = _spread(service) if stands else await in_thread(_go_on, service, conductor)
            service.policy_problem, pause_s = None, min(max(_SHORTEST_TICK_S, due_in_s), LONGEST_TICK_S)
            backoff.reset()
        except Exception as error:  # noqa: BLE001 - the loop must survive whatever happens in it
            problem, before = as_problem(error), service.policy_problem
            if before is None or before.slug != problem.slug:
                log.warning("the policy could not go on", slug=problem.slug, problem=problem.message)
            service.policy_problem, pause_s = problem, max(TICK_S, backoff.next())
        await service.news.policy.wait_beyond(version, pause_s)


def _go_on(service: MainService, conductor: Conductor) -> float:
    """Do all there is to do now; in how many seconds the clock may make something due, infinite if never.

    The key of a released round is destroyed right after it: the next round's mostly has taken its place by then.
    """
    try:
        while conductor.advance():
            pass
    finally:
        service.rounds.destroy_spent_key()
    return min(_spread(service), conductor.due_in_s())


def _spread(service: MainService) -> float:
    """Wake the devices if there is news for them; in how many seconds to look again, infinite if never."""
    return TICK_S if service.news.spread(service.latest) else math.inf
