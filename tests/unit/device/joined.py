"""Bring a device to where a test begins, without its thread."""

from __future__ import annotations

from contextlib import suppress

from fanlight.errors import NotFound
from fanlight.services.device.role import DeviceRole
from fanlight.services.device.store import DeviceStore
from fanlight.services.http.jobs import Job


def turn(role: DeviceRole) -> None:
    """One turn of the agent's loop; whatever it raises comes out."""
    with role.rounds.main.remote.open_line() as line:
        role.agent._turn(line)


def done(role: DeviceRole, job: Job) -> Job:
    """The job, ended well."""
    ended = role.jobs.wait(job.id, 60)
    assert ended.state == "done", ended.problem
    return ended


def failed(role: DeviceRole, job: Job) -> str:
    """The slug of why the job failed."""
    ended = role.jobs.wait(job.id, 60)
    assert ended.state == "failed"
    assert ended.problem
    return ended.problem.slug


def announced(role: DeviceRole) -> None:
    """Steps 1 and 2."""
    turn(role)
    done(role, role.steps.train())
    done(role, role.steps.announce())


def kept_y(store: DeviceStore, mh: bytes) -> bytes | None:
    """y of a report, as long as it is kept; whether in the database or as a file."""
    with suppress(NotFound), store.open_y(mh) as y:
        return y.read()
    return None
