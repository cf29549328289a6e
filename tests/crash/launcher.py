"""Starts a role by its normal command, with eyes on what it does to its disk and says to others.

Nothing in the product knows of this: SQLAlchemy's commits, the functions of ``os`` that change files, and the ASGI
application are wrapped from outside, and then ``fanlight``'s own entry point gets its command line.  Commands come over
a pipe: ``("arm", point)``, ``("list",)``, ``("shift", seconds)`` of the clock; its end ends the process.
"""

from __future__ import annotations

import inspect
import os
import re
import signal
import sqlite3
import stat
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Final

from sqlalchemy.engine.default import DefaultDialect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from fanlight import cli
from fanlight.cli import serve
from tests.crash.disk import SyncedDisk
from tests.crash.points import Events, Point, Points
from tests.crash.witness import hear_servers, keep_vectors

_VARYING: Final = re.compile(r"(?<=\.new-)\w+|(?<=/)[0-9a-f]{2}(?=/)|[0-9a-f]{16,}|\d+")
_OURS: Final = "fanlight."
_NOT_A_NAME: Final = "fanlight.storage"


def label_of(path: str | Path) -> str:
    """A path or address without what differs from round to round."""
    return _VARYING.sub("#", str(path))


def asker() -> str:
    """The innermost function of Fanlight's, above its storage, that is at work in this thread.

    Not a context manager's: it is whoever stands in its block that changes something.
    """
    frame = sys._getframe(1)
    while frame is not None:
        module = str(frame.f_globals.get("__name__", ""))
        is_context = frame.f_code.co_flags & inspect.CO_GENERATOR
        if module.startswith(_OURS) and not module.startswith(_NOT_A_NAME) and not is_context:
            return f"{module.rpartition('.')[2]}.{frame.f_code.co_qualname}"
        if frame.f_back is None:
            break
        frame = frame.f_back
    return "start"


def watch_commits(points: Points, disk: SyncedDisk) -> None:
    """A point before and after every commit that changes something."""
    commit: Callable[..., None] = DefaultDialect.do_commit
    changes: dict[int, int] = {}

    def do_commit(dialect: DefaultDialect, connection: Any) -> None:
        raw: sqlite3.Connection = connection.dbapi_connection
        changed, name = raw.total_changes != changes.get(id(raw), 0), asker()
        if changed:
            points.reach(f"commit {name}, before")
        commit(dialect, connection)
        changes[id(raw)] = raw.total_changes
        if changed:
            disk.committed(raw)
            points.reach(f"commit {name}, after")

    setattr(DefaultDialect, do_commit.__name__, do_commit)


class WatchedFiles:
    """The functions of ``os`` that change files, with a point at every step on a file of the state folder."""

    def __init__(self, points: Points, disk: SyncedDisk) -> None:
        self._points, self._disk = points, disk
        self._open, self._replace, self._unlink = os.open, os.replace, os.unlink
        self._fsync, self._fdatasync, self._pwrite = os.fsync, os.fdatasync, os.pwrite

    def install(self) -> None:
        """Put them in the places of the real ones."""
        for wrapped in (self.open, self.pwrite, self.fsync, self.fdatasync, self.replace, self.unlink):
            setattr(os, wrapped.__name__, wrapped)

    def open(self, path: Any, flags: int, *arguments: Any, **options: Any) -> int:
        """As ``os.open``."""
        named = Path(os.fsdecode(path))
        is_new = bool(flags & os.O_CREAT) and not named.exists()
        handle = self._open(path, flags, *arguments, **options)
        if is_new and self._disk.holds(named.resolve()):
            self._disk.made(os.fstat(handle).st_ino)
            self._reach("made", named)
        return handle

    def pwrite(self, handle: int, data: Any, at: int) -> int:
        """As ``os.pwrite``: what arrives in parts is written so."""
        written = self._pwrite(handle, data, at)
        self._reach("part written", Path(f"/proc/self/fd/{handle}").readlink())
        return written

    def fsync(self, handle: Any) -> None:
        """As ``os.fsync``."""
        number = handle if isinstance(handle, int) else handle.fileno()
        path = Path(f"/proc/self/fd/{number}").readlink()
        is_folder = stat.S_ISDIR(os.fstat(number).st_mode)
        if not is_folder:
            self._reach("written", path)
        self._fsync(handle)
        if self._disk.holds(path):
            self._disk.synced(path, number)
        self._reach("names synced" if is_folder else "synced", path)

    def fdatasync(self, handle: int) -> None:
        """As ``os.fdatasync``: of a file whose length stays as it is, that is no less."""
        path = Path(f"/proc/self/fd/{handle}").readlink()
        self._reach("written", path)
        self._fdatasync(handle)
        if self._disk.holds(path):
            self._disk.synced(path, handle)
        self._reach("synced", path)

    def replace(self, source: Any, target: Any, **options: Any) -> None:
        """As ``os.replace``."""
        self._replace(source, target, **options)
        self._reach("renamed", Path(target))

    def unlink(self, path: Any, **options: Any) -> None:
        """As ``os.unlink``."""
        self._unlink(path, **options)
        self._reach("deleted", Path(path))

    def _reach(self, what: str, path: Path) -> None:
        path = path.resolve()
        if self._disk.holds(path):
            self._points.reach(f"file {label_of(path.relative_to(self._disk.root))}, {what}")


class WatchedReplies:
    """ASGI middleware: a point when a reply is computed and nothing of it is sent, and when all of it is sent."""

    def __init__(self, app: ASGIApp, points: Points) -> None:
        self._app, self._points = app, points

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        is_http, changes = scope["type"] == "http", scope.get("method") in ("POST", "PUT", "DELETE")
        if not (is_http and (changes or scope["path"].startswith("/protocol/"))):
            await self._app(scope, receive, send)
            return
        label = f"reply {scope['method']} {label_of(scope['path'])}"

        async def watched(message: Message) -> None:
            if message["type"] == "http.response.start":
                self._points.reach(f"{label}, computed")
            await send(message)
            if message["type"] == "http.response.body" and not message.get("more_body"):
                self._points.reach(f"{label}, sent")

        await self._app(scope, receive, watched)


def obey(commands: Connection, points: Points, events: Events) -> None:
    """Follow the commands; end with whoever gives them."""
    from tests.crash.clock import CLOCK

    with suppress(EOFError, OSError):
        while True:
            match commands.recv():
                case ["arm", point]:
                    points.arm(point)
                case ["list"]:
                    points.list()
                case ["shift", seconds]:
                    CLOCK.shift_s = seconds
                    events.say("shifted")
    os.kill(os.getpid(), signal.SIGKILL)


@dataclass(frozen=True)
class Life:
    """One life of a role: where its log and witnesses lie, its state, its command line, where to die, its clock."""

    folder: Path
    state: Path
    words: list[str]
    armed: Point | None
    shift_s: float


def launch(life: Life, commands: Connection) -> None:
    """Become the role."""
    from tests.crash.clock import CLOCK

    output = os.open(life.folder / "output.txt", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    for stream in (1, 2):
        os.dup2(output, stream)
    CLOCK.shift_s = life.shift_s
    events = Events(life.folder / "events.jsonl")
    points = Points(events)
    if life.armed is not None:
        points.arm(life.armed)
    else:
        points.list()
    life.state.mkdir(mode=0o700, exist_ok=True)
    disk = SyncedDisk(life.state, life.folder / "disk")
    hear_servers(events)
    keep_vectors(life.folder)
    watch_commits(points, disk)
    WatchedFiles(points, disk).install()
    new_server = serve._new_server
    serve._new_server = lambda app, settings: new_server(WatchedReplies(app, points), settings)
    threading.Thread(target=obey, args=(commands, points, events), daemon=True).start()
    events.say("started")
    sys.argv = ["fanlight", *life.words]
    cli.main()
