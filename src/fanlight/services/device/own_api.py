"""The owner's routes to the names that only this home knows, and to what its head says of a picture."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends
from pydantic import BaseModel, ConfigDict
from starlette.requests import Request
from starlette.responses import Response

from fanlight.learning.home_model import Certainty
from fanlight.learning.pictures import MAX_FILE_BYTES
from fanlight.services.device.library.own_names import OwnName
from fanlight.services.device.library_api import at_most
from fanlight.services.device.role import DeviceRole
from fanlight.services.device.try_it import TryIt
from fanlight.services.http.job_routes import accepted
from fanlight.services.http.owner import Owner, require_owner, require_owner_post
from fanlight.services.http.threads import in_thread

OWN: Final = "/api/v1/own"
TRY: Final = "/api/v1/learning/try"

Reader = Annotated[Owner, Depends(require_owner)]
Actor = Annotated[Owner, Depends(require_owner_post)]


class GivenName(BaseModel):
    """The body of ``POST`` and ``PUT``: a name, the class that it is one of, and whether it counts as that."""

    model_config = ConfigDict(extra="forbid", strict=True)

    name: str
    kind: str | None = None
    counts: bool = False


class GivenRate(BaseModel):
    """The body of ``PUT /api/v1/own/strangers``: so many of a hundred may be named without a "perhaps"."""

    model_config = ConfigDict(extra="forbid", strict=True)

    percent: int


def own_router(role: DeviceRole) -> APIRouter:
    """All of them."""
    router = APIRouter()
    library, home, trying = role.library, role.home, TryIt(role)

    @router.get(OWN)
    def show(_owner: Reader) -> dict[str, Any]:
        return own(role)

    @router.post(OWN, status_code=201)
    def add(given: GivenName, _owner: Actor) -> dict[str, Any]:
        return named(library.add_own(given.name, given.kind, given.counts), 0)

    @router.put(f"{OWN}/strangers")
    def let_pass(given: GivenRate, _owner: Actor) -> dict[str, Any]:
        home.models.let_pass(given.percent)
        home.follow()
        return own(role)

    @router.post(f"{OWN}/learn")
    def learn(request: Request, _owner: Actor) -> Response:
        return accepted(request, home.learn())

    @router.put(f"{OWN}/{{number}}")
    def change(number: int, given: GivenName, _owner: Actor) -> dict[str, Any]:
        changed = library.change_own(number, given.name, given.kind, given.counts)
        return named(changed, library.counts().own.get(changed.name, 0))

    @router.delete(f"{OWN}/{{number}}")
    def remove(number: int, _owner: Actor) -> dict[str, int]:
        return {"count": library.remove_own(number)}

    @router.post(TRY, dependencies=[Depends(at_most(MAX_FILE_BYTES))])
    async def try_it(request: Request, _owner: Actor) -> dict[str, Any]:
        tried = await in_thread(trying.look, await request.body())
        return {
            "answers": [
                {
                    "model": answer.which,
                    "version": answer.version,
                    "learned": answer.learned and answer.learned.as_json(),
                    "class": None if answer.certainty is Certainty.UNKNOWN else answer.label,
                    "certainty": answer.certainty,
                    "likeliest": answer.label,
                    "confidence": answer.confidence,
                    "scores": dict(answer.scores),
                }
                for answer in tried.answers
            ]
        }

    return router


def own(role: DeviceRole) -> dict[str, Any]:
    """``GET /api/v1/own``: for the owner alone; nothing of it is ever sent."""
    counts, kept, job = role.library.counts().own, role.home.models.kept, role.home.job
    return {
        "names": [named(each, counts.get(each.name, 0)) for each in role.library.own.all],
        "strangers_percent": role.home.models.strangers_percent,
        "model": kept and {**asdict(kept.findings), "made_at": kept.made_at},
        "job": job and job.as_json(),
    }


def named(own_name: OwnName, pictures: int) -> dict[str, Any]:
    """A name as JSON."""
    return {**asdict(own_name), "pictures": pictures}
