"""Inside a process under test: the moments at which it may die, and the way to say that one has come.

A point has a label, such as ``commit rounds.Rounds.close, before``, and is reached any number of times.  When the armed
point is reached for the armed time, the process dies by its own hand: after SIGKILL nothing of it runs any more.
Everything said goes to a file that is only ever appended to, so it survives the process.
"""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

MOST_TIMES = 4
"""How often a point is listed: what is repeated without end (long-polls) is as good the second time as the tenth."""


class Point(NamedTuple):
    """A point, and how often it was reached when it was."""

    label: str
    occurrence: int


class Events:
    """What a process says, one JSON object a line."""

    def __init__(self, path: Path) -> None:
        self._handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        self._lock = threading.Lock()

    def say(self, kind: str, **more: Any) -> None:
        """Append one line."""
        with self._lock:
            self._write(kind, **more)

    def end(self, kind: str, **more: Any) -> None:
        """Append the last line: no other thread gets a word in any more."""
        self._lock.acquire()
        self._write(kind, **more)

    def _write(self, kind: str, **more: Any) -> None:
        os.write(self._handle, json.dumps({"kind": kind, **more}).encode() + b"\n")


class Points:
    """Counts how often each point is reached; safe from many threads."""

    def __init__(self, events: Events) -> None:
        self._events = events
        self._reached: Counter[str] = Counter()
        self._deadly: Point | None = None
        self._listing = False
        self._lock = threading.Lock()

    def arm(self, point: Point) -> None:
        """Die when ``point`` is reached, counted from now on."""
        with self._lock:
            self._begin_anew()
            self._deadly, self._listing = point, False
            self._events.say("armed", label=point.label)

    def list(self) -> None:
        """From now on, say which points are reached."""
        with self._lock:
            self._begin_anew()
            self._deadly, self._listing = None, True
            self._events.say("listing")

    def _begin_anew(self) -> None:
        if self._deadly is not None:
            self._events.say("missed", label=self._deadly.label, reached=self._reached[self._deadly.label])
        self._reached.clear()

    def reach(self, label: str) -> None:
        """The process is at ``label`` now."""
        with self._lock:
            self._reached[label] += 1
            occurrence = self._reached[label]
            if self._deadly == Point(label, occurrence):
                self._events.end("killed", label=label)
                os.kill(os.getpid(), signal.SIGKILL)
                time.sleep(3600)  # nothing may follow, should the signal need a moment
            if self._listing and occurrence <= MOST_TIMES:
                self._events.say("point", label=label, occurrence=occurrence)
