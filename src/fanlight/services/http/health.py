"""``GET /healthz``: is the process up; for supervisors, without login."""

from __future__ import annotations

from fastapi import APIRouter

from fanlight import __version__


def health_router(role: str) -> APIRouter:
    """The route for one role."""
    router = APIRouter()

    @router.get("/healthz")
    async def healthz() -> dict[str, str]:
        return {"role": role, "version": __version__}

    return router
