"""The owner's API of a server's log: page by page, and as a file."""

from __future__ import annotations

from typing import Any, Final

from fastapi import APIRouter, Depends
from starlette.responses import StreamingResponse

from fanlight.services.http.owner import require_owner
from fanlight.services.http.paging import PageNumber
from fanlight.services.server.log_file import LogWriter
from fanlight.services.server.log_reader import LogReader

LOG_FILE: Final = "/api/v1/log/file"


def log_router(reader: LogReader, writer: LogWriter) -> APIRouter:
    """Routes that show; the owner only."""
    router = APIRouter(dependencies=[Depends(require_owner)])

    @router.get("/api/v1/log")
    def log(page: PageNumber = 1, *, again: bool = False) -> dict[str, Any]:
        return reader.page(page, again=again)

    @router.get(LOG_FILE)
    def log_file() -> StreamingResponse:
        headers = {"Content-Disposition": f'attachment; filename="{writer.name}"'}
        return StreamingResponse(writer.lines(), media_type="application/jsonl", headers=headers)

    return router
