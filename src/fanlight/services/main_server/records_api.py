"""The owner's JSON API of what has been: single versions, their cards."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Depends
from starlette.responses import JSONResponse, Response

from fanlight.services.http.owner import require_owner
from fanlight.services.main_server import model_card
from fanlight.services.main_server.records import Records
from fanlight.services.server.numbers_in_paths import Which


def records_router(records: Records) -> APIRouter:
    """Routes that show; the owner only."""
    router = APIRouter(dependencies=[Depends(require_owner)])

    @router.get("/api/v1/rounds")
    def rounds() -> dict[str, Any]:
        return records.every_round()

    @router.get("/api/v1/rounds/{number}")
    def one_round(number: Which) -> dict[str, Any]:
        return records.round(number)

    @router.get("/api/v1/models")
    def models() -> dict[str, Any]:
        return {"models": records.every_model()}

    @router.get("/api/v1/models/{version}")
    def one_model(version: Which) -> dict[str, Any]:
        return records.model(version)

    @router.get("/api/v1/models/{version}/card.json")
    def card_json(version: Which) -> Response:
        return _download(JSONResponse(records.card(version)), f"fanlight-model-{version}.json")

    @router.get("/api/v1/models/{version}/card.md")
    def card_markdown(version: Which) -> Response:
        text = model_card.as_markdown(records.card(version))
        return _download(Response(text, media_type="text/markdown"), f"fanlight-model-{version}.md")

    @router.get("/api/v1/rounds/{number}/bytes")
    def round_bytes(number: Which) -> dict[str, Any]:
        return records.traffic(number)

    @router.get("/api/v1/class-proposals")
    def proposals() -> dict[str, Any]:
        return {"proposals": records.class_proposals()}

    return router


def _download(response: Response, name: str) -> Response:
    response.headers["Content-Disposition"] = f'attachment; filename="{name}"'
    return response
