from __future__ import annotations

import structlog
from structlog.testing import capture_logs

from tests.unit.http.support import client, make_app


def test_each_answer_has_an_id_that_no_stranger_chooses() -> None:
    http = client(make_app())
    ids = [http.get("/page", headers={"X-Request-Id": "mine"}).headers["x-request-id"] for _ in range(2)]
    assert len(set(ids)) == 2
    assert all(len(found) == 8 and set(found) <= set("0123456789abcdef") for found in ids)


def test_log_lines_of_a_request_carry_its_id() -> None:
    app = make_app()

    @app.get("/broken")
    def broken() -> None:  # in a thread of its own, as most routes
        raise RuntimeError

    with capture_logs(processors=[structlog.contextvars.merge_contextvars]) as lines:
        answer = client(app).get("/broken")
    assert answer.status_code == 500
    assert [line["request"] for line in lines] == [answer.headers["x-request-id"]]
    assert structlog.contextvars.get_contextvars() == {}
