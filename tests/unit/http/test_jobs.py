import threading
from collections.abc import Iterator
from concurrent.futures import Executor, Future
from typing import Any

import pytest
from starlette.requests import Request
from starlette.responses import Response

from fanlight.errors import DataError, NotFound, NotPossibleNow
from fanlight.services.http.job_routes import accepted, jobs_router
from fanlight.services.http.jobs import Jobs, Progress
from tests.unit.http.support import TOKEN, client, make_app

BEARER = {"Authorization": f"Bearer {TOKEN}"}


@pytest.fixture
def jobs() -> Iterator[Jobs]:
    made = Jobs()
    yield made
    made.close()


def test_a_job_runs_reports_and_ends(jobs: Jobs) -> None:
    half, go_on = threading.Event(), threading.Event()

    def work(progress: Progress) -> dict[str, int]:
        progress(0.5, "half-way")
        half.set()
        go_on.wait(10)
        return {"answer": 42}

    job = jobs.start("train", work)
    assert job.active
    half.wait(10)
    now = jobs.get(job.id)
    assert (now.state, now.fraction, now.text) == ("running", 0.5, "half-way")
    go_on.set()
    assert jobs.wait(job.id).as_json() == {
        "id": job.id,
        "kind": "train",
        "state": "done",
        "progress": {"fraction": 1.0, "text": "half-way", "points": []},
        "result": {"answer": 42},
        "error": None,
    }
    assert jobs.latest("train") == jobs.get(job.id)
    assert jobs.latest("other") is None


def test_one_thread_runs_them_in_order_and_the_same_kind_only_once(jobs: Jobs) -> None:
    go_on, names = threading.Event(), []

    def work(_progress: Progress) -> None:
        go_on.wait(10)
        names.append(threading.current_thread().name)

    first, second = jobs.start("train", work), jobs.start("measure", work)
    with pytest.raises(NotPossibleNow) as caught:
        jobs.start("train", work)
    assert caught.value.slug == "already-running"
    assert jobs.get(second.id).state == "queued"
    go_on.set()
    jobs.wait(second.id)
    assert len(set(names)) == 1
    assert jobs.wait(jobs.start("train", work).id).state == "done"
    assert jobs.get(first.id).state == "done"


def test_a_failure_keeps_its_advice_and_an_unexpected_one_its_secrets(jobs: Jobs) -> None:
    def expected(_progress: Progress) -> None:
        raise DataError("no pictures", next="label some")

    def unexpected(_progress: Progress) -> None:
        raise ZeroDivisionError("secret")

    failed = jobs.wait(jobs.start("a", expected).id)
    assert failed.state == "failed"
    assert failed.as_json()["error"] == {"slug": "bad-data", "message": "no pictures", "next": "label some"}
    error = jobs.wait(jobs.start("b", unexpected).id).as_json()["error"]
    assert error["slug"] == "unexpected-error"
    assert "secret" not in str(error)
    assert jobs.wait(jobs.start("b", lambda _: None).id).state == "done"


def test_the_history_is_bounded(jobs: Jobs) -> None:
    ids = [jobs.wait(jobs.start("a", lambda _: None).id).id for _ in range(105)]
    assert len(set(ids)) == 105
    with pytest.raises(NotFound):
        jobs.get(ids[0])
    assert jobs.get(ids[-1]).state == "done"


class AtOnce(Executor):
    """Calls what it is given before it says how that can be waited for, which it does not know to have ended."""

    def submit(self, function: Any, /, *arguments: Any, **options: Any) -> Future[Any]:
        function(*arguments, **options)
        return Future()


def test_nothing_is_kept_to_wait_for_of_a_job_that_has_ended_before_it_could_be() -> None:
    jobs = Jobs(AtOnce())
    job = jobs.start("a", lambda _: 42)
    assert jobs.wait(job.id, timeout_s=0).result == 42
    assert not jobs._futures


def test_closing_ends_the_running_job_at_its_next_report() -> None:
    jobs, running = Jobs(), threading.Event()

    def endless(progress: Progress) -> None:
        while True:
            progress(0.1, "on and on")
            running.set()

    job = jobs.start("train", endless)
    running.wait(10)
    jobs.close()
    assert jobs.get(job.id).state == "failed"
    assert jobs.get(job.id).as_json()["error"]["slug"] == "stopped"


def test_every_change_is_announced() -> None:
    changes = []
    jobs = Jobs(on_change=lambda: changes.append(1))
    jobs.wait(jobs.start("a", lambda progress: progress(0.5, "")).id)
    jobs.close()
    assert len(changes) == 4


def test_over_http(jobs: Jobs) -> None:
    app = make_app()
    app.include_router(jobs_router(jobs))

    @app.post("/modeltrain")
    async def train(request: Request) -> Response:
        return accepted(request, jobs.start("train", lambda _: "fine"))

    http = client(app)
    answer = http.post("/modeltrain")
    assert answer.status_code == 202
    assert answer.json().keys() == {"job", "status_url"}
    jobs.wait(answer.json()["job"])
    assert http.get(answer.json()["status_url"]).status_code == 401
    assert http.get(answer.json()["status_url"], headers=BEARER).json()["result"] == "fine"
    assert http.get("/api/v1/jobs/none", headers=BEARER).status_code == 404
    form = http.post("/modeltrain", headers={"Accept": "text/html"})
    assert (form.status_code, form.headers["location"]) == (303, "/modeltrain")


def test_the_same_step_twice_is_409_and_says_what_to_do(jobs: Jobs) -> None:
    app, go_on = make_app(), threading.Event()

    @app.post("/modeltrain")
    async def train(request: Request) -> Response:
        return accepted(request, jobs.start("train", lambda _: go_on.wait(10)))

    http = client(app)
    assert http.post("/modeltrain").status_code == 202
    again = http.post("/modeltrain")
    go_on.set()
    assert again.status_code == 409
    assert again.json()["error"]["next"]
