"""Told to end, a server with open long-polls answers them and ends: it neither waits them out nor cancels them."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from fanlight.services.federation import init_federation
from fanlight.services.main_server.protocol_api import LONGEST_WAIT_S
from fanlight.services.main_server.task import Task
from tests.e2e.terminals import LIMIT_S, Terminals, free_ports, until

MAIN = {
    "uvicorn": "exec python -m fanlight server --state {state} --port {port}",
    "gunicorn": (
        "FANLIGHT_SERVER_STATE={state} FANLIGHT_SERVER_LOG_FORMAT=json exec gunicorn -k uvicorn_worker.UvicornWorker "
        "--workers 1 --bind localhost:{port} --timeout 600 'fanlight.apps:main_server()'"
    ),
}
LONG_POLL_S = LONGEST_WAIT_S
"""The aggregator's, here: so long that no machine ends as late as one that waits a long-poll out."""
PATIENT_AGGREGATOR = f"""
from fanlight.services.aggregator import service
service.LONG_POLL_S = {LONG_POLL_S}
from fanlight import cli
cli.main()
"""
AGGREGATOR = f"exec python -c '{PATIENT_AGGREGATOR}' aggregator --state {{state}} --port {{port}}"


@pytest.fixture
def terminals(tmp_path: Path) -> Iterator[Terminals]:
    path = f"{sys.prefix}/bin{os.pathsep}{os.environ['PATH']}"
    made = Terminals(tmp_path, {**os.environ, "PATH": path})
    yield made
    made.close()


@pytest.mark.timeout(2 * LIMIT_S)
@pytest.mark.parametrize(
    ("server", "number"),
    [
        pytest.param("uvicorn", signal.SIGINT, id="uvicorn-ctrl-c"),
        pytest.param("gunicorn", signal.SIGTERM, id="gunicorn-sigterm"),
        pytest.param("uvicorn", signal.SIGTERM, id="uvicorn-sigterm", marks=pytest.mark.long),
        pytest.param("gunicorn", signal.SIGINT, id="gunicorn-ctrl-c", marks=pytest.mark.long),
    ],
)
def test_it_ends_with_long_polls_open(
    terminals: Terminals, tmp_path: Path, server: str, number: signal.Signals
) -> None:
    main, aggregator = free_ports(2)
    folder = tmp_path / "federation"
    init_federation(
        folder,
        main_url=f"http://localhost:{main}",
        aggregator_url=f"http://localhost:{aggregator}",
        task_json=Task.default(classes=("cat", "dog"), demo=True).to_json(),
    )
    terminals.start(MAIN[server].format(state=folder / "main", port=main), main)
    terminals.start(AGGREGATOR.format(state=folder / "aggregator", port=aggregator), aggregator)
    token = (folder / "main" / "api-token").read_text().strip()

    def aggregator_waits_for_orders() -> bool:
        address, headers = f"http://localhost:{main}/api/v1/status", {"Authorization": f"Bearer {token}"}
        answer = httpx.get(address, headers=headers, trust_env=False, timeout=LIMIT_S).json()
        return bool(answer["aggregator_connected"])

    until(aggregator_waits_for_orders, "the aggregator asks for orders")
    logs = terminals.close(number, patience_s=LONG_POLL_S * 3 / 4)  # gunicorn would wait the long-poll out
    assert len(logs) == 2
    assert ('"event": "Application shutdown complete."' in logs[0]) == (server == "gunicorn")  # its logs are as asked
    for log in logs:
        assert "Application shutdown complete" in log
        assert "Traceback" not in log
        assert "timeout graceful shutdown exceeded" not in log
