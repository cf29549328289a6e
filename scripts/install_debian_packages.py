"""Installs the missing Debian packages that a list names, where this process is root on Debian.

Elsewhere it prints one line for each missing package and succeeds: the tests that need it are then skipped, and the
test run counts them. Nothing is printed, and nothing is asked of a registry, when no package is missing.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path


def wanted(listing: Path) -> list[str]:
    """Names of the packages in ``listing``: the first word of each line that is neither empty nor a comment."""
    lines = listing.read_text(encoding="utf-8").splitlines()
    return [line.split()[0] for line in lines if line.strip() and not line.startswith("#")]


def is_installed(package: str) -> bool:
    """Whether dpkg has ``package``, unpacked and configured; False where there is no dpkg."""
    if shutil.which("dpkg-query") is None:
        return False
    query = ["dpkg-query", "--show", "--showformat=${db:Status-Status}", package]
    answer = subprocess.run(query, capture_output=True, text=True, check=False)
    return answer.stdout.strip() == "installed"


def can_install() -> bool:
    """Whether this process is root on a system with apt."""
    return shutil.which("apt-get") is not None and os.geteuid() == 0


def install(packages: list[str]) -> bool:
    """Installs ``packages`` with apt, its output on standard error; whether it succeeded."""
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    # Standard input must not be the terminal: dpkg would stop and ask there.
    for arguments in (["update", "-qq"], ["install", "-qq", "-y", "--no-install-recommends", *packages]):
        done = subprocess.run(
            ["apt-get", *arguments], env=environment, stdin=subprocess.DEVNULL, stdout=sys.stderr, check=False
        )
    return done.returncode == 0


def main() -> int:
    """Installs what the list in the first argument names; 0 unless an installation was tried and failed."""
    missing = [package for package in wanted(Path(sys.argv[1])) if not is_installed(package)]
    if not missing:
        return 0
    if can_install():
        sys.stderr.write(f"installing Debian packages: {' '.join(missing)}\n")
        return 0 if install(missing) else 1
    for package in missing:
        sys.stderr.write(f"missing Debian package: {package} (the tests that need it are skipped and counted below)\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
