"""``GET /healthz``: is the process up. ``GET /readyz``: can it do its work. For supervisors, without login.

Neither says more than that: no address, no folder, no name; the details are in the log and on the owner's pages.
"""

from __future__ import annotations

import math
import os
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import structlog
from fastapi import APIRouter
from sqlalchemy import select
from starlette.responses import JSONResponse, Response

from fanlight import __version__
from fanlight.errors import StorageError
from fanlight.services.http.threads import in_thread
from fanlight.storage.database import Database

log = structlog.get_logger(__name__)

Check = Callable[[], str]
"""Returns why the role is not ready, for everybody to read; an empty text if it is."""

KEPT_S: Final = 1.0
_PROBE_BYTES: Final = 4096


def health_router(role: str, checks: Mapping[str, Check], *, kept_s: float = KEPT_S) -> APIRouter:
    """The routes for one role, which is ready when all ``checks`` say so.

    Args:
        role: what the answers call it.
        checks: by name.
        kept_s: seconds for which what they said is said again: everybody may ask, and each look costs an fsync.
    """
    router = APIRouter()
    looking = threading.Lock()
    found: dict[str, str] = {}
    looked_at = -math.inf

    def look() -> dict[str, str]:
        nonlocal found, looked_at
        with looking:
            if time.monotonic() - looked_at >= kept_s:
                found = {name: why for name, check in checks.items() if (why := check())}
                looked_at = time.monotonic()
            return found

    @router.get("/healthz")
    async def healthz() -> dict[str, str]:
        return {"role": role, "version": __version__}

    @router.get("/readyz")
    async def readyz() -> Response:
        return _answer(role, await in_thread(look))

    return router


def storage_checks(database: Database, state: Path) -> dict[str, Check]:
    """What every role needs: its database answers, and its folder can be written."""
    return {"database": lambda: _why_no_database(database), "disk": lambda: _why_no_disk(state)}


def _answer(role: str, reasons: Mapping[str, str]) -> Response:
    body: dict[str, Any] = {"role": role, "ready": not reasons, "reasons": dict(reasons)}
    return JSONResponse(body, status_code=503 if reasons else 200)


def _why_no_database(database: Database) -> str:
    try:
        with database.transaction() as tx:
            tx.execute(select(1))
    except StorageError as error:
        log.warning("not ready: the database does not answer", reason=error.message)
        return "The database does not answer."
    return ""


def _why_no_disk(state: Path) -> str:
    try:
        with tempfile.TemporaryFile(dir=state) as probe:
            probe.write(bytes(_PROBE_BYTES))
            probe.flush()
            os.fsync(probe.fileno())
    except OSError as error:
        log.warning("not ready: the state folder cannot be written", reason=error.strerror)
        return "The state folder cannot be written, or the disk is full."
    return ""
