"""What the commands of the three roles share: claim the port, build the application, serve it."""

from __future__ import annotations

import ctypes
import errno
import gc
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Annotated, Any, TypeVar, cast

import typer

from fanlight.errors import NotPossibleNow, SettingsError
from fanlight.services.lifeline import end_with_stdin_if_asked

if TYPE_CHECKING:
    import uvicorn
    from fastapi import FastAPI
    from starlette.types import ASGIApp

    from fanlight.services.settings import RoleSettings

S = TypeVar("S", bound="RoleSettings")

Config = Annotated[
    Path | None, typer.Option("--config", metavar="FILE", help="TOML file with settings; options and variables win.")
]
Host = Annotated[
    str | None, typer.Option(metavar="ADDRESS", help="Address to listen on.  [default: localhost]", show_default=False)
]
Port = Annotated[int | None, typer.Option(metavar="PORT", min=1, max=65535, show_default=False)]
Hosts = Annotated[
    str | None,
    typer.Option(metavar="NAME,…", help="More names by which this process is called, besides localhost."),
]
MainUrl = Annotated[
    str | None,
    typer.Option(metavar="URL", help="Where the main server is now, if it has moved since.", show_default=False),
]
AggregatorUrl = Annotated[
    str | None, typer.Option(metavar="URL", help="The same for the secure aggregator.", show_default=False)
]
LogFormat = Annotated[
    str | None, typer.Option(metavar="console|json", help="Log for people, or as JSON lines.  [default: console]")
]

_SHUTDOWN_S = 3
_M_TRIM_THRESHOLD = -1
_M_MMAP_THRESHOLD = -3
_M_ARENA_MAX = -8
"""Of ``mallopt``, see ``malloc.h``."""
_LONG = 2 << 20
_SPARE = 4 << 20


@contextmanager
def _nothing_painted() -> Iterator[None]:
    """In here nothing finds rich and Pygments.

    httpx, structlog and Alembic's templates load them wherever they are, for a command line and for tracebacks in
    colour, which no role has: 7 MB at a first start, 3 MB at the others.
    """
    hidden = [name for name in ("rich", "pygments") if name not in sys.modules]
    sys.modules.update(dict.fromkeys(hidden, cast("ModuleType", None)))  # whoever imports them is told there are none
    try:
        yield
    finally:
        for name in hidden:
            sys.modules.pop(name, None)


@_nothing_painted()
def serve(
    settings: type[S],
    application: Callable[[S], FastAPI],
    config: Path | None,
    options: dict[str, Any],
) -> None:
    """Serve one role until it is told to stop.

    Args:
        settings: the role's settings class.
        application: makes the role's ASGI application from its settings.
        config: the TOML file after ``--config``.
        options: from the command line, ``None`` where not given.

    Raises:
        SettingsError: a setting is wrong, or the address cannot be listened on.
        NotPossibleNow: the port is taken.
    """
    from fanlight.services.http.logging import configure_logging
    from fanlight.services.settings import load

    end_with_stdin_if_asked()
    loaded = load(settings, config, options)
    allow_many_connections()
    share_one_heap()
    sockets = claim(loaded.host, loaded.port)
    try:
        configure_logging(json=loaded.log_format == "json")
        server = _new_server(application(loaded), loaded)
        gc.freeze()  # what is loaded now stays: to look through it again and again takes tenths of a second
        server.run(sockets=sockets)
    finally:
        _close(sockets)


def _new_server(app: ASGIApp, settings: RoleSettings) -> uvicorn.Server:
    import uvicorn

    config = uvicorn.Config(
        app,
        host=settings.host,
        port=settings.port,
        loop="auto" if sys.platform == "win32" else "uvloop",
        http="httptools",
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=_SHUTDOWN_S,
    )
    return uvicorn.Server(config)


def allow_many_connections() -> None:
    """Raise this process's limit of open files as far as it may: each device that waits for news is one."""
    if sys.platform != "win32":
        import resource

        _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        with suppress(OSError, ValueError):  # macOS refuses "unlimited"; the limit stays as it is
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def share_one_heap() -> None:
    """Have all threads allocate from one heap: glibc's own for each thread keep megabytes, for locks that rarely wait.

    Threads of Python take turns anyway. Other C libraries have no such heaps. What is longer than two MiB, vectors and
    models, is not allocated from it: what they leave would have holes, and the system would not get it back. A few MiB
    may stay free at its end: pieces of what comes over the line would be given back and asked for again all the time.
    """
    with suppress(OSError, AttributeError, TypeError):  # no glibc
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(_M_ARENA_MAX, 1)
        mallopt(_M_MMAP_THRESHOLD, _LONG)
        mallopt(_M_TRIM_THRESHOLD, _SPARE)


def claim(host: str, port: int) -> list[socket.socket]:
    """Bind every address of ``host`` (localhost has two) before anything else is done.

    Raises:
        NotPossibleNow: another program has the port (slug ``port-taken``).
        SettingsError: the port is not allowed, or the host is not this machine.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError as error:
        raise SettingsError(f"The host {host!r} is not known: {error.strerror}.", next="Use localhost.") from error
    sockets: list[socket.socket] = []
    refused: OSError | None = None
    for family, _, _, _, address in dict.fromkeys(found):
        try:
            sockets.append(_bind(family, address))
        except OSError as error:
            refused = error
            if error.errno not in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):  # no IPv6 here: IPv4 is enough
                _close(sockets)
                raise _explain(error, host, port) from error
    if not sockets and refused is not None:
        raise _explain(refused, host, port) from refused
    return sockets


def _bind(family: int, address: Any) -> socket.socket:
    from fanlight.services.http.silence import LISTENING_OPTIONS

    listening = socket.socket(family, socket.SOCK_STREAM)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        for option in LISTENING_OPTIONS:
            listening.setsockopt(*option)
        if family == socket.AF_INET6:
            listening.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listening.bind(address)
        listening.listen(1)  # on Linux, two sockets may bind one port with SO_REUSEADDR; only one may listen
    except OSError:
        listening.close()
        raise
    return listening


def _close(sockets: list[socket.socket]) -> None:
    for listening in sockets:
        listening.close()


def _explain(error: OSError, host: str, port: int) -> SettingsError | NotPossibleNow:
    if error.errno == errno.EADDRINUSE:
        return NotPossibleNow(
            f"Port {port} of {host} is taken by another program.",
            next="Stop that program, or choose another port.",
            slug="port-taken",
        )
    if error.errno in (errno.EACCES, errno.EPERM):
        return SettingsError(f"Port {port} of {host} may not be used.", next="Choose a port from 1024 on.")
    return SettingsError(f"{host}:{port} cannot be listened on: {error.strerror}.", next="Choose another address.")
