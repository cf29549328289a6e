"""``GET`` on a step's route: its page, with its state, the progress of its job, and its button.

``POST`` on the same route is the owner API's; the page only carries the form.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated

from fastapi import APIRouter, Depends
from starlette.requests import Request
from starlette.responses import Response

from fanlight.consoles.console import Console
from fanlight.services.http.owner import Owner, require_owner
from fanlight.services.http.steps import StepView

Reader = Annotated[Owner, Depends(require_owner)]


def step_router(
    console: Console,
    routes: Sequence[str],
    read: Callable[[], tuple[Sequence[StepView], bool]],
    supply: Callable[[], object] = lambda: None,
) -> APIRouter:
    """The pages of a role's steps.

    Args:
        console: draws them.
        routes: of the steps.
        read: the role's steps as they are now, and whether this is a demonstration of two devices.
        supply: what a device has to learn from, so that the page can say what is missing; None elsewhere.
    """
    router = APIRouter(include_in_schema=False)

    def page(request: Request, owner: Reader) -> Response:
        steps, demo = read()
        shown = next(step for step in steps if step.route == request.url.path)
        return console.page(request, owner, "step.html", step=shown, steps=steps, demo=demo, supply=supply())

    for route in routes:
        router.add_api_route(route, page, methods=["GET"], response_model=None)
    return router
