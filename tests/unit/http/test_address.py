from __future__ import annotations

from pathlib import Path

import pytest

from fanlight.services.http.address import known_address, local_url


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("localhost", "http://localhost:8000"),
        ("0.0.0.0", "http://localhost:8000"),
        ("::", "http://localhost:8000"),
        ("fd00::1", "http://[fd00::1]:8000"),
        ("lights.example", "http://lights.example:8000"),
    ],
)
def test_how_programs_on_this_machine_reach_it(host: str, url: str) -> None:
    assert local_url(host, 8000) == url


def test_the_file_is_there_as_long_as_the_role_is(tmp_path: Path) -> None:
    with known_address(tmp_path, "localhost", 8000):
        assert (tmp_path / "address").read_text() == "http://localhost:8000\n"
    assert not (tmp_path / "address").exists()


def test_a_disk_that_does_not_take_it_stops_nobody(tmp_path: Path) -> None:
    with known_address(tmp_path / "missing", "localhost", 8000):
        assert not (tmp_path / "missing").exists()
