"""``fanlight simulate --connect``: simulated devices at live servers."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from fanlight.cli.saying import say
from fanlight.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from fanlight.simulation import Line, Result, Study


def connect(
    make_study: Callable[[], Study],
    url: str,
    tokens: Path | None,
    *,
    aggregator_url: str | None,
    accept_demo: bool,
    k_min: int,
    out: Path | None,
    state: Path,
) -> Result | None:
    """Have simulated devices work at the servers; what was found, or None if no round was.

    Raises:
        UsageError: there are no tokens. FanlightError: see ``fleet.connecting.connect``.
    """
    from fanlight.cli.serve import allow_many_connections
    from fanlight.services.fleet import connecting
    from fanlight.services.fleet.tokens import read_tokens
    from fanlight.services.http.logging import configure_logging
    from fanlight.simulation import folder

    if tokens is None:
        raise UsageError(
            "--connect needs --tokens: devices join by tokens of the operator, each by its own.",
            next="The operator makes them: fanlight federation token DIR --count 30.",
        )
    study = make_study()
    asked = study.devices if "devices" in study.model_fields_set else None
    found = read_tokens(tokens, main_url=url, aggregator_url=aggregator_url, count=asked)
    study = study.model_copy(update={"devices": len(found)})
    place = out or connecting.folder_of(found, state)
    configure_logging(level="WARNING")  # what devices log each for itself, ``on_news`` says once
    allow_many_connections()
    result = connecting.connect(
        study,
        found,
        connecting.Places(place, state),
        connecting.floors(k_min=k_min, accept_demo=accept_demo),
        connecting.Watch(on_line=_say_line, on_news=say, on_features=_features),
    )
    if result is not None:
        say(f"Report: {place / folder.REPORT}")
    return result


def _say_line(line: Line) -> None:
    live = line.live or {}
    say(
        f"round {line.round}: version {live.get('version')} of {line.participants} devices, {live.get('included')} of "
        f"{live.get('built')} here; balanced accuracy {line.balanced_accuracy:.3f}, loss {line.loss:.3f}, "
        f"{line.seconds:.1f} s"
    )


def _features(done: int, total: int) -> None:
    if done == total or done <= 8:
        say(f"Features of {done} of {total} pictures are worked out, once.")
