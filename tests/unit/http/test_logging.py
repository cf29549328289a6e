import json
import logging
import sys
from contextlib import suppress
from pathlib import Path

import pytest
import structlog

from fanlight.services.http.logging import configure_logging, drop_secrets

pytestmark = pytest.mark.usefixtures("restored_logging")


@pytest.mark.parametrize(
    "key", ["token", "api_token", "Authorization", "set-cookie", "csrf", "seed_M", "private_key", "password", "api-key"]
)
def test_secret_looking_keys_are_dropped_at_any_depth(key: str) -> None:
    assert drop_secrets(None, "info", {key: "s3cret", "inner": {key: b"s3cret", "round": 3}}) == {
        key: "[dropped]",
        "inner": {key: "[dropped]", "round": 3},
    }


def test_bytes_are_not_written_out() -> None:
    event = {"key": b"\x01\x02", "inner": {"y": bytearray(5)}, "device": "ab"}
    assert drop_secrets(None, "info", event) == {"key": "[2 bytes]", "inner": {"y": "[5 bytes]"}, "device": "ab"}


def test_json_lines_go_to_standard_error_without_secrets(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging(json=True)
    structlog.get_logger("fanlight").info("enrolled", device="ab", token="s3cret")
    logging.getLogger("uvicorn.access").info('%s "GET %s"', "127.0.0.1", "/login?token=s3cret&next=/")
    structlog.get_logger("fanlight").error("failed", exc_info=ValueError("Authorization: Bearer s3cret"))
    out, err = capsys.readouterr()
    assert out == ""
    assert "s3cret" not in err
    first, second, third = (json.loads(line) for line in err.splitlines())
    assert (first["event"], first["device"], first["level"]) == ("enrolled", "ab", "info")
    assert "/login?token=[dropped]&next=/" in second["event"]
    assert "ValueError" in third["exception"]


def test_lines_for_people_hide_secrets_too(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging()
    structlog.get_logger("fanlight").warning("hello", csrf="s3cret", url="http://h/login?token=s3cret")
    structlog.get_logger("fanlight").error("failed", exc_info=ValueError("Authorization: Bearer s3cret"))
    err = capsys.readouterr().err
    assert "hello" in err
    assert "ValueError" in err
    assert "s3cret" not in err


def test_a_request_that_went_well_is_no_news(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging()
    for name in ("httpx", "httpcore.connection", "alembic.runtime.migration"):
        logging.getLogger(name).info("GET /protocol/v1/offer 200")
        logging.getLogger(name).warning("%s is in trouble", name)
    err = capsys.readouterr().err
    assert "offer" not in err
    assert err.count("is in trouble") == 3


def test_a_line_that_cannot_be_written_hurts_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    with Path("/dev/full").open("w") as full:
        monkeypatch.setattr(sys, "stderr", full)
        configure_logging()
        structlog.get_logger("test").info("the disk is full")
        with suppress(OSError):
            full.close()
