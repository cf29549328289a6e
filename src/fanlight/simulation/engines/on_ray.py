"""The same work by actors on Ray: on this machine, or on a cluster that is there already (``RAY_ADDRESS``).

Each actor gets the workshop once. In a round the global model goes into the object store once, groups are dealt out one
by one as actors get free, and every actor answers with one sum. Algorithms that have devices remember need a folder
that all nodes see.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fanlight.core import ring
from fanlight.errors import FanlightError, LocalError, SettingsError
from fanlight.simulation.learners import Published
from fanlight.simulation.modules import ModuleLearner
from fanlight.simulation.orders import Done, Note, Order, Words
from fanlight.simulation.threads import single_threaded
from fanlight.simulation.workshop import Workshop

_AHEAD = 2
"""Pieces that an actor has before it, so that it never waits for the next."""
_PIECES_A_WORKER = 8


class OnRay:
    """The engine; actors are started when it is made.

    Args:
        workshop: what they work with.
        workers: how many, at least 1.

    Raises:
        SettingsError: Ray is not installed.
    """

    def __init__(self, workshop: Workshop, workers: int) -> None:
        try:
            import ray
        except ImportError as error:
            raise SettingsError(
                "The engine ray needs Ray, which is not installed.", next="pip install 'fanlight[ray]'", slug="no-ray"
            ) from error
        self._ray, self._workshop = ray, workshop
        self._started = not ray.is_initialized()
        if self._started:
            ray.init(num_cpus=None, include_dashboard=False, log_to_driver=False, configure_logging=False)
        self._names = workshop.algorithm.publishes
        shared = ray.put(workshop)
        actor = ray.remote(num_cpus=1)(_Actor)
        self._actors = [actor.remote(shared) for _ in range(max(workers, 1))]

    def carry_out(self, order: Order, published: Published) -> Done:
        """Have all groups of an order learn.

        Raises:
            FanlightError: what a device failed with. LocalError: an actor has died.
        """
        ray, data = self._ray, order.encode()
        rows = [published.parameters, *(published.memory[name] for name in self._names)]
        model = ray.put(np.stack(rows))
        try:
            ray.get([actor.begin.remote(data, model) for actor in self._actors])
            self._deal(order)
            answers = ray.get([actor.end.remote() for actor in self._actors])
        except ray.exceptions.RayTaskError as error:
            cause = error.cause
            raise cause if isinstance(cause, FanlightError) else LocalError(str(cause)) from error
        except ray.exceptions.RayError as error:
            raise LocalError("A worker on Ray has ended before its work was done.", slug="worker-died") from error
        total, notes = self._workshop.empty_sums(order), list[Note]()
        for sums, said in answers:
            ring.add_into(total.reshape(-1), sums.reshape(-1))
            notes += [Note(*each) for each in said]
        return Done(total, tuple(sorted(notes)))

    def close(self) -> None:
        """End the actors, and Ray if it was started here."""
        for actor in self._actors:
            self._ray.kill(actor)
        if self._started:
            self._ray.shutdown()

    def _deal(self, order: Order) -> None:
        ray = self._ray
        size = max(1, len(order.groups) // (_PIECES_A_WORKER * len(self._actors)))
        pieces = list(range(0, len(order.groups), size))[::-1]
        working: dict[Any, Any] = {}
        for actor in self._actors * _AHEAD:
            if pieces:
                working[actor.work.remote(pieces.pop(), size)] = actor
        while working:
            (done,), _ = ray.wait(list(working), num_returns=1)
            ray.get(done)
            actor = working.pop(done)
            if pieces:
                working[actor.work.remote(pieces.pop(), size)] = actor


class _Actor:
    """One worker."""

    def __init__(self, workshop: Workshop) -> None:
        self._workshop = workshop
        self._threads = single_threaded(modules=isinstance(workshop.learner, ModuleLearner))
        self._threads.__enter__()

    def begin(self, data: bytes, model: NDArray[np.float32]) -> None:
        self._order = Order.decode(data)
        memory = dict(zip(self._workshop.algorithm.publishes, model[1:], strict=True))
        self._published = Published(model[0], memory)
        self._sums: Words = self._workshop.empty_sums(self._order)
        self._notes = list[Note]()

    def work(self, start: int, size: int) -> None:
        for group in self._order.groups[start : start + size]:
            self._notes += self._workshop.carry_out(self._order, self._published, group, self._sums)

    def end(self) -> tuple[Words, list[Note]]:
        return self._sums, self._notes
