"""A device's page *Pictures*: look through them, put new ones in, say what they show, take back what was wrong."""

from __future__ import annotations

from fastapi import APIRouter

from fanlight.consoles.console import Console
from fanlight.consoles.device_pictures.asked import PICTURES
from fanlight.consoles.device_pictures.gallery import gallery_router
from fanlight.consoles.device_pictures.picture import picture_router
from fanlight.services.device.role import DeviceRole


def pictures_router(console: Console, role: DeviceRole) -> APIRouter:
    """The gallery with what its buttons do, and each picture's own page."""
    router = APIRouter(include_in_schema=False)
    router.include_router(gallery_router(console, role))  # first: "add" and "change" are no pictures
    router.include_router(picture_router(console, role))
    return router


__all__ = ["PICTURES", "pictures_router"]
