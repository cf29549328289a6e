"""The Python that `make` takes for its environments."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "scripts" / "choose_python.sh"
OPTIMISED = """
import sys, sysconfig
sys.base_prefix = "/opt/python"
sysconfig.get_config_vars()["CONFIG_ARGS"] = "'--enable-shared' '--enable-optimizations'"
"""
NOT_OPTIMISED = OPTIMISED.replace(" '--enable-optimizations'", "")
OF_THE_SYSTEM = NOT_OPTIMISED.replace("/opt/python", "/usr")
WINDOWS_SAYS_NOTHING = OPTIMISED.replace("\"'--enable-shared' '--enable-optimizations'\"", "None")
OLD = f"{OPTIMISED}sys.version_info = (3, 10, 9, 'final', 0)\n"
WITHOUT_ENSUREPIP = f"{OPTIMISED}sys.modules['ensurepip'] = None\n"
PYTHONS = {
    "fast": OPTIMISED,
    "system": OF_THE_SYSTEM,
    "slow": NOT_OPTIMISED,
    "slower": WINDOWS_SAYS_NOTHING,
    "old": OLD,
    "bare": WITHOUT_ENSUREPIP,
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Pythons: this one, as if it had been built or installed in another way."""
    folder = tmp_path_factory.mktemp("pythons")
    for name, changed in PYTHONS.items():
        (folder / f"of-{name}").mkdir()
        # A module "venv" or "ensurepip" that this Python may lack is not what is tested here.
        (folder / f"of-{name}" / "sitecustomize.py").write_text(
            f"import sys, types\nsys.modules.update(ensurepip=types.ModuleType('e'), venv=types.ModuleType('v'))\n"
            f"{changed}"
        )
        python = folder / name
        python.write_text(f'#!/bin/sh\nPYTHONPATH={folder}/of-{name} exec {os.path.realpath(sys.executable)} "$@"\n')
        python.chmod(0o755)
    return folder


def choose(*names: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["sh", SCRIPT, *names], capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("names", "chosen"),
    [
        (("fast", "slow"), "fast"),
        (("slow", "fast"), "fast"),
        (("slow", "system"), "system"),
        (("slow", "slower"), "slow"),
        (("slower", "fast"), "fast"),
        (("old", "bare", "slow"), "slow"),
        (("missing", "old", "slow", "fast"), "fast"),
    ],
)
def test_the_first_that_will_do_unless_only_another_is_optimised(
    folder: Path, names: tuple[str, ...], chosen: str
) -> None:
    found = choose(*(folder / name for name in names))
    assert (found.returncode, found.stdout) == (0, f"{folder / chosen}\n")
    passed_over = [name for name in names[: names.index(chosen)] if name.startswith("slow")]
    assert [name for name in passed_over if f"make PYTHON={folder / name} " in found.stderr] == passed_over[:1]


def test_where_none_will_do_each_is_named_with_the_reason(folder: Path) -> None:
    found = choose(folder / "old", folder / "bare", folder / "missing")
    assert (found.returncode, found.stdout) == (1, "")
    _, old, bare, missing, advice = found.stderr.splitlines()
    assert old == f"  {folder / 'old'}: it is Python 3.10"
    assert bare.startswith(f"  {folder / 'bare'}: it lacks ensurepip")
    assert "python3-venv" in bare
    assert missing.startswith(f"  {folder / 'missing'}: ")
    assert "not found" in missing or "No such file" in missing
    assert "make PYTHON=" in advice
