"""Logs on standard error, by structlog, as lines for people or JSON; secrets are dropped on the way.

Standard output stays free for what a command prints.  The libraries' own records (uvicorn's above all) get the same
form, since an access log quotes the address of a login link.
"""

from __future__ import annotations

import functools
import logging
import re
import sys
from collections.abc import Mapping
from contextlib import suppress
from textwrap import indent
from typing import Any, TextIO, cast

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from fanlight.core.printable import printable

DROPPED = "[dropped]"
_SECRET_KEY = re.compile(
    r"token|secret|passw|passphrase|private|seed|cookie|authorization|csrf|credential|api[_-]?key|signing[_-]?key",
    re.IGNORECASE,
)
_SECRET_IN_TEXT = re.compile(r"((?:token|csrf)=)[^&\s\"']+|(Bearer\s+)[^\s\"']+", re.IGNORECASE)

_SEVERAL_LINES = frozenset({"exception", "stack"})
_TALKATIVE = ("httpx", "httpcore", "alembic")  # a line a request, ten lines a start


def drop_secrets(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """A structlog processor: values under secret-looking keys, bytes, and tokens inside texts do not reach the log."""
    for key, value in event.items():
        event[key] = _clean(key, value)
    return event


def keep_to_the_line(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """A structlog processor: no text can begin a line of its own or speak to the terminal; tracebacks are indented."""
    for key, value in event.items():
        if isinstance(value, str):
            several = key in _SEVERAL_LINES
            event[key] = indent(printable(value, keep="\n"), "  ") if several else printable(value)
    return event


class _StandardError:
    """Where lines go; as with ``logging``, a full disk or a closed terminal does no harm to what is logged."""

    def write(self, text: str) -> None:
        with suppress(OSError, ValueError):
            sys.stderr.write(text)

    def flush(self) -> None:
        with suppress(OSError, ValueError):
            sys.stderr.flush()


def configure_logging(*, json: bool = False, level: str = "INFO") -> None:
    """Send all logs to standard error, as JSON lines or coloured text."""
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    # Our own lines do not go through ``logging``, which takes twice as long for each of a thousand reports a second.
    structlog.configure(
        processors=[*shared, *_renderers(json)],
        logger_factory=structlog.WriteLoggerFactory(cast("TextIO", _StandardError())),
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *_renderers(json)],
        )
    )
    logging.basicConfig(handlers=[handler], level=level.upper(), force=True)
    for name in ("uvicorn", "uvicorn.access", "uvicorn.error"):
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate = [], True
    for name in _TALKATIVE:
        logging.getLogger(name).setLevel(logging.WARNING)


def _renderers(json: bool) -> list[Processor]:
    # tracebacks become text before the secrets are dropped: exceptions quote them too
    shared: list[Processor] = [structlog.processors.format_exc_info, drop_secrets]
    if json:
        return [*shared, structlog.processors.JSONRenderer()]
    plain = structlog.dev.plain_traceback
    console = structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), exception_formatter=plain)
    return [*shared, keep_to_the_line, console]


@functools.lru_cache(maxsize=256)
def _is_secret(key: str) -> bool:
    """By its name; there are few of them, and each line has several."""
    return _SECRET_KEY.search(key) is not None


def _clean(key: str, value: Any) -> Any:
    if _is_secret(key):
        return DROPPED
    if isinstance(value, str):
        return _SECRET_IN_TEXT.sub(lambda found: f"{found[1] or found[2]}{DROPPED}", value)
    if isinstance(value, bytes | bytearray | memoryview):  # ids are logged as hexadecimal digits; the rest are keys
        return f"[{len(value)} bytes]"
    if isinstance(value, Mapping):
        return {inner: _clean(str(inner), content) for inner, content in value.items()}
    return value
