"""``GET`` on a step's route: its page, with its state, the progress of its job, and its button.

``POST`` on the same route is the owner API's; the page only carries the form.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, Depends
from starlette.requests import Request
from starlette.responses import Response

from fanlight.consoles.console import Console
from fanlight.services.http.owner import Owner, require_owner
from fanlight.services.http.steps import Now, StepView

Reader = Annotated[Owner, Depends(require_owner)]


@dataclass(frozen=True)
class Shown:
    """What the pages of a role's steps show.

    Attributes:
        steps: as they are now.
        demo: is this a demonstration of two devices.
        supply: what a device has to learn from, so that the page can say what is missing; None elsewhere.
        now: the one thing to do now, by the role's guide.
    """

    steps: Sequence[StepView]
    demo: bool
    supply: object = None
    now: Now | None = None


def step_router(
    console: Console,
    routes: Sequence[str],
    read: Callable[[], Shown],
) -> APIRouter:
    """The pages of a role's steps.

    Args:
        console: draws them.
        routes: of the steps.
        read: what they show at this moment.
    """
    router = APIRouter(include_in_schema=False)

    def page(request: Request, owner: Reader) -> Response:
        shown = read()
        step = next(step for step in shown.steps if step.route == request.url.path)
        return console.page(request, owner, "step.html", step=step, **vars(shown))

    for route in routes:
        router.add_api_route(route, page, methods=["GET"], response_model=None)
    return router
