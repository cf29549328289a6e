"""Long steps (training, aggregating) in the background: one worker thread, states that a page can show.

::

    queued -> running -> done
                      -> failed
"""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import CancelledError, Executor, Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, Literal, Protocol

from fanlight.errors import NotFound, NotPossibleNow
from fanlight.services.http.problems import Problem, as_problem

JobState = Literal["queued", "running", "done", "failed"]
Point = Mapping[str, float | int | None]
"""Figures of one moment of a job, by name, for a chart."""


class Progress(Protocol):
    """How a job tells how far it is."""

    def __call__(self, fraction: float, text: str = "", point: Point | None = None) -> None:
        """Report ``fraction`` (0 to 1), what is being done, and, if there are any, figures to draw."""


JobFunction = Callable[[Progress], Any]

_HISTORY = 100
_MOST_POINTS = 1000


class JobStopped(Exception):
    """Raised inside a job, by ``progress`` or by what it waits for, when the process ends: its thread can end too."""


@dataclass(frozen=True)
class Job:
    """A job at one moment.

    Attributes:
        fraction: how much is done, 0 to 1.
        text: what it is doing.
        points: the figures that it reported on the way, oldest first, at most 1,000.
        result: what the function returned (something JSON can hold) once ``done``.
        problem: why it ``failed``.
    """

    id: str
    kind: str
    state: JobState = "queued"
    fraction: float = 0.0
    text: str = ""
    points: tuple[Point, ...] = ()
    result: Any = None
    problem: Problem | None = None

    @property
    def active(self) -> bool:
        """Whether it still waits or runs."""
        return self.state in ("queued", "running")

    def as_json(self) -> dict[str, Any]:
        """As ``GET /api/v1/jobs/{id}`` shows it."""
        problem, points = self.problem, [dict(point) for point in self.points]
        return {
            "id": self.id,
            "kind": self.kind,
            "state": self.state,
            "progress": {"fraction": self.fraction, "text": self.text, "points": points},
            "result": self.result,
            "error": problem and {"slug": problem.slug, "message": problem.message, "next": problem.next},
        }


class Jobs:
    """All jobs of one process.

    Args:
        executor: runs the functions; by default one worker thread of its own.
        on_change: called, from any thread, after each change of a job (a ``Notifier.notify``).
    """

    def __init__(self, executor: Executor | None = None, on_change: Callable[[], None] = lambda: None) -> None:
        self._executor = executor or ThreadPoolExecutor(max_workers=1, thread_name_prefix="fanlight-job")
        self._on_change = on_change
        self._jobs: dict[str, Job] = {}
        self._futures: dict[str, Future[None]] = {}
        self._under_way: set[str] = set()  # kinds: one of each at most
        self._lock = threading.Lock()
        self._stopping = False

    def start(self, kind: str, function: JobFunction) -> Job:
        """Run ``function(progress)`` in the background; ``progress(fraction, text)`` reports how far it is.

        Raises:
            NotPossibleNow: a job of this kind waits or runs already (slug ``already-running``).
        """
        with self._lock:
            if kind in self._under_way:
                raise NotPossibleNow(f"{kind}: already running.", next="Wait until it is done.", slug="already-running")
            job = Job(secrets.token_hex(8), kind)
            self._jobs[job.id] = job
            self._under_way.add(kind)
            self._forget_oldest()
        future = self._executor.submit(self._run, job.id, function)
        with self._lock:
            if self._jobs[job.id].active:  # or nobody would take it away: the future is done a moment after its job
                self._futures[job.id] = future
        self._on_change()
        return job

    def get(self, job_id: str) -> Job:
        """The job ``job_id`` as it is now.

        Raises:
            NotFound: there is none (any more: only the last 100 are kept).
        """
        job = self._jobs.get(job_id)
        if job is None:
            raise NotFound(f"There is no job {job_id[:32]!r} (any more).")
        return job

    def latest(self, kind: str) -> Job | None:
        """The job of this kind that was started last."""
        with self._lock:
            return next((job for job in reversed(self._jobs.values()) if job.kind == kind), None)

    def wait(self, job_id: str, timeout_s: float | None = None) -> Job:
        """Block until the job has ended or ``timeout_s`` seconds passed; the job as it is then."""
        with self._lock:
            future = self._futures.get(job_id)
        if future is not None:
            with suppress(TimeoutError, CancelledError):
                future.exception(timeout_s)
        return self.get(job_id)

    def close(self) -> None:
        """Stop: waiting jobs never start, the running one ends at its next ``progress``."""
        self._stopping = True
        self._executor.shutdown(wait=True, cancel_futures=True)

    def _run(self, job_id: str, function: JobFunction) -> None:
        def progress(fraction: float, text: str = "", point: Point | None = None) -> None:
            if self._stopping:
                raise JobStopped
            points = self._jobs[job_id].points
            if point is not None and len(points) < _MOST_POINTS:
                points = (*points, point)
            self._change(job_id, fraction=min(max(float(fraction), 0.0), 1.0), text=text, points=points)

        self._change(job_id, state="running")
        try:
            result = function(progress)
        except JobStopped:
            self._change(job_id, state="failed", problem=Problem(409, "stopped", "The process was stopped."))
        except Exception as error:  # noqa: BLE001 the worker thread must survive whatever a job does
            self._change(job_id, state="failed", problem=as_problem(error))
        else:
            self._change(job_id, state="done", fraction=1.0, result=result)

    def _change(self, job_id: str, **changes: Any) -> None:
        with self._lock:
            self._jobs[job_id] = job = replace(self._jobs[job_id], **changes)
            if not job.active:
                self._futures.pop(job_id, None)
                self._under_way.discard(job.kind)
        self._on_change()

    def _forget_oldest(self) -> None:
        while len(self._jobs) > _HISTORY:
            ended = next((job.id for job in self._jobs.values() if not job.active), None)
            if ended is None:
                return
            del self._jobs[ended]
