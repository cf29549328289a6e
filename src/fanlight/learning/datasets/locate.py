"""Where data files are looked for: never a hub, never the network.

In this order: the folder that the caller names, the one in ``FANLIGHT_DATA_DIR``, the files of an installed package
(found without importing it), and ``share/fanlight-data`` of the Python environment, where ``make`` unpacks them.
"""

from __future__ import annotations

import gzip
import importlib.util
import os
import sys
import zlib
from dataclasses import dataclass
from pathlib import Path

from fanlight.errors import DataError

ENVIRONMENT_NAME = "FANLIGHT_DATA_DIR"


@dataclass(frozen=True)
class Places:
    """Folders to look in, the first one first; ``packages`` tells whether installed packages count too."""

    folders: tuple[Path, ...]
    packages: bool = True

    def find(self, relative: str, *, what: str, next: str, elsewhere: tuple[Path, ...] = ()) -> Path:
        """The first file or folder that exists.

        Args:
            relative: path below each folder; its first part is the package's name.
            what: the data set, for the error.
            next: how to get it, for the error.
            elsewhere: whole paths to try after the folders, such as where Debian puts the files.

        Raises:
            DataError: it is nowhere.
        """
        candidates = [folder / relative for folder in self.folders]
        if self.packages:
            candidates[-1:-1] = _in_package(relative)
        for path in (*candidates, *elsewhere):
            if path.exists():
                return path
        raise DataError(f"the data of {what} are not on this machine ({relative})", slug="data-missing", next=next)


def places(data_dir: Path | None = None) -> Places:
    """The usual places, after ``data_dir`` if one is given."""
    named = [data_dir] if data_dir is not None else []
    from_environment = os.environ.get(ENVIRONMENT_NAME)
    if from_environment:
        named.append(Path(from_environment))
    return Places((*named, Path(sys.prefix) / "share" / "fanlight-data"))


def _in_package(relative: str) -> list[Path]:
    package, _, rest = relative.partition("/")
    if not package.isidentifier():
        return []
    spec = importlib.util.find_spec(package)  # finds a top-level package without running any of its code
    return [Path(place) / rest for place in (spec.submodule_search_locations or ())] if spec else []


def read_gzip(path: Path, most_bytes: int) -> bytes:
    """The contents of a gzip file, at most ``most_bytes`` of them.

    Raises:
        DataError: unreadable, damaged, or longer.
    """
    try:
        with gzip.open(path, "rb") as file:
            data = file.read(most_bytes + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path}: cannot be read as gzip: {error}", next="Get the file again.") from error
    if len(data) > most_bytes:
        raise DataError(f"{path}: unpacks to more than {most_bytes} bytes", next="Get the file again.")
    return data
