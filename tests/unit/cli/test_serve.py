"""Ports are claimed before anything else is done."""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path

import pytest

from fanlight.cli.serve import claim
from fanlight.errors import NotPossibleNow, SettingsError
from fanlight.services.http.silence import LISTENING_OPTIONS
from tests.e2e.terminals import free_ports
from tests.unit.consoles.federation import make_folder

_LOOK = """
import sys
from fanlight.apps import main_server
from fanlight.cli.serve import serve
from fanlight.errors import SettingsError
from fanlight.services.main_server.settings import MainServerSettings

def application(settings):
    main_server(settings)
    print(sorted(name for name, module in sys.modules.items() if module and name in ("alembic", "rich", "pygments")))
    raise SettingsError("seen")

try:
    serve(MainServerSettings, application, None, {"state": sys.argv[1], "port": int(sys.argv[2])})
except SettingsError as error:
    print(error)
import rich, pygments
print(rich.__name__, pygments.__name__)
"""


def test_a_claimed_port_is_held_on_every_address_of_the_host() -> None:
    (port,) = free_ports(1)
    sockets = claim("localhost", port)
    try:
        assert "127.0.0.1" in {held.getsockname()[0] for held in sockets}
        assert {held.getsockname()[1] for held in sockets} == {port}
        with pytest.raises(NotPossibleNow):
            claim("localhost", port)
    finally:
        for held in sockets:
            held.close()


def test_a_taken_port_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(NotPossibleNow, match=f"Port {port} of localhost is taken") as caught:
            claim("localhost", port)
    assert caught.value.slug == "port-taken"


def test_a_host_that_is_not_this_machine_is_refused() -> None:
    with pytest.raises(SettingsError, match=r"192\.0\.2\.1"):
        claim("192.0.2.1", 0)


def test_the_kernel_watches_the_connections_that_are_accepted() -> None:
    (held,) = claim("127.0.0.1", *free_ports(1))
    with held, socket.create_connection(held.getsockname()):
        accepted, _ = held.accept()
        with accepted:
            assert all(accepted.getsockopt(level, option) == told for level, option, told in LISTENING_OPTIONS)
    assert LISTENING_OPTIONS[0] == (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)


def test_a_role_is_made_without_what_paints_tracebacks_and_nobody_else_misses_it(tmp_path: Path) -> None:
    federation = make_folder(tmp_path / "federation")
    words = [sys.executable, "-c", _LOOK, str(federation / "main"), str(free_ports(1)[0])]
    said = subprocess.run(words, capture_output=True, text=True, check=True).stdout.splitlines()
    assert said == ["['alembic']", "seen", "rich pygments"]
