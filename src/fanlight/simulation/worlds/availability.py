"""When devices are there: always, by day, by chance, or as a file says.

| term | a device is there |
|---|---|
| ``always`` | always; the same as no such term |
| ``random:P`` | in each round with probability P, whatever it was before |
| ``diurnal:H,from=7,zones=1,share=1`` | H hours of each day, from 7 o'clock of its own time zone on |
| ``file:PATH`` | in the intervals that a CSV file lists: ``device,from_s,to_s``, seconds of the simulated clock |

Of ``diurnal``, zones are spread evenly over the globe and devices evenly over zones, by lot; devices beyond ``share``
never sleep. The clock starts at midnight in the first zone (availability by hour of day: Bonawitz et al. 1902.01046,
section 9). A file's intervals repeat when the last one has ended; devices that it does not list are never there.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

import numpy as np
from numpy.typing import NDArray

from fanlight.core.terms import Term
from fanlight.errors import DataError
from fanlight.simulation.seeds import chance
from fanlight.simulation.text_file import read_text

There = NDArray[np.bool_]
Availability = Callable[[int, float], There]
"""Round, and seconds since the beginning: (devices,) who is there."""

DAY_S: Final = 86_400.0
_HOUR_S: Final = 3_600.0
_LOOKS: Final = "The first line must be: device,from_s,to_s; then three numbers on each line, to_s after from_s."


def always(term: Term, devices: int, seed: int) -> Availability:
    """``always``."""
    del seed
    term.takes("always", value=False)
    return lambda _round, _at_s: np.ones(devices, np.bool_)


def at_random(term: Term, devices: int, seed: int) -> Availability:
    """``random:P``; independent draws for each round."""
    term.takes("random:0.5", value=True)
    probability = term.number("random:0.5", low=0, high=1)
    return lambda round_number, _at_s: chance(seed, f"world/there/{round_number}").uniforms(devices) < probability


def diurnal(term: Term, devices: int, seed: int) -> Availability:
    """``diurnal:H,…``."""
    example = "diurnal:16,from=7,zones=3,share=0.33"
    term.takes(example, "from", "zones", "share", value=True)
    hours = term.number(example, low=0, high=24)
    start = term.of("from", example, low=0, high=24, default=7.0)
    zones = int(term.of("zones", example, low=1, high=24, default=1))
    share = term.of("share", example, low=0, high=1, default=1.0)
    order = chance(seed, "world/zones").shuffled(np.arange(devices))
    sleeps = np.zeros(devices, np.bool_)
    sleeps[order[: round(share * devices)]] = True
    zone = np.empty(devices)
    zone[order] = np.arange(devices) % zones

    def there(_round: int, at_s: float) -> There:
        local_hour = (at_s / _HOUR_S + 24.0 / zones * zone) % 24.0
        awake: There = ((local_hour - start) % 24.0 < hours) | ~sleeps
        return awake

    return there


def from_file(term: Term, devices: int, seed: int) -> Availability:
    """``file:PATH``.

    Raises:
        SettingsError: no path. StorageError, DataError: the file cannot be read, or says something else.
    """
    del seed
    if not term.value:
        raise term.flaw("takes the path of a file", "file:who-is-there.csv")
    who, begins, ends = _intervals(term.value, devices)
    period = float(ends.max())

    def there(_round: int, at_s: float) -> There:
        now = at_s % period
        found = np.zeros(devices, np.bool_)
        found[who[(begins <= now) & (now < ends)]] = True
        return found

    return there


AVAILABILITIES: Final[Mapping[str, Callable[[Term, int, int], Availability]]] = MappingProxyType(
    {"always": always, "random": at_random, "diurnal": diurnal, "file": from_file}
)


def _intervals(path: str, devices: int) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]:
    lines = csv.reader(io.StringIO(read_text(path)))
    if [word.strip() for word in next(lines, [])] != ["device", "from_s", "to_s"]:
        raise DataError(f"{path}, line 1: not the words device,from_s,to_s", next=_LOOKS)
    who, begins, ends = list[int](), list[float](), list[float]()
    for line in filter(None, lines):
        try:
            device, begin, end = int(line[0]), float(line[1]), float(line[2])
        except (ValueError, IndexError) as error:
            raise DataError(f"{path}, line {lines.line_num}: not three numbers", next=_LOOKS) from error
        if not (0 <= device < devices and 0 <= begin < end < math.inf and len(line) == 3):
            raise DataError(
                f"{path}, line {lines.line_num}: no interval of a device from 0 to {devices - 1}", next=_LOOKS
            )
        who.append(device)
        begins.append(begin)
        ends.append(end)
    if not who:
        raise DataError(f"{path}: nobody is ever there", next=_LOOKS)
    return np.array(who, np.int64), np.array(begins), np.array(ends)
