"""The files themselves: they stay as they are, every value is explained, and the reference is one."""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.vectors.files import HERE, all_files

ROOT = HERE.parents[1]
DERIVED = re.compile(r'^SHA-256 of "(fanlight/vectors/v1/[^"]+)"')


def name(path: Path) -> str:
    return path.relative_to(HERE).as_posix()


def test_no_file_has_changed() -> None:
    """A difference means another protocol, which gets a folder of its own beside ``v1``: see ``README.md``."""
    pinned = [line.split("  ", 1)[::-1] for line in (HERE / "SHA256SUMS").read_text("ascii").splitlines()]
    found = [[name(path), hashlib.sha256(path.read_bytes()).hexdigest()] for path in all_files()]
    assert found == sorted(pinned)


@pytest.mark.parametrize("path", all_files(), ids=name)
def test_every_value_is_explained(path: Path) -> None:
    content = json.loads(path.read_text("utf-8"))
    assert content["title"]
    assert content["comment"]
    assert content["source"]
    names = [case["name"] for case in content["cases"]]
    assert names
    assert len(set(names)) == len(names)
    for case in content["cases"]:
        assert case.keys() == {"name", "comment", "given", "expected"}
        assert case["comment"]
        for field in fields_of(case):
            assert len(field) == 2
            assert field["comment"]
            assert all(comment for _, comment in field.get("pieces", ()))


def test_secrets_are_derived_as_they_say() -> None:
    derived = [
        (match[1], field["hex"])
        for path in all_files()
        for case in json.loads(path.read_text("utf-8"))["cases"]
        for field in fields_of(case)
        if (match := DERIVED.match(field["comment"]))
    ]
    assert len(derived) > 40
    for text, secret in derived:
        assert hashlib.sha256(text.encode()).hexdigest() == secret


def test_the_reference_shares_no_code_with_fanlight() -> None:
    """Nor the libraries whose work it does by hand."""
    program = "import sys, tests.vectors.reference_round, tests.vectors.reference_statistics; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    loaded = done.stdout.split()
    assert "tests.vectors.reference_sealing" in loaded
    shared = {"cbor2", "cryptography.hazmat.primitives.hpke", "cryptography.hazmat.primitives.kdf", "fanlight", "numpy"}
    assert not shared & set(loaded)


def fields_of(case: dict[str, Any]) -> list[dict[str, Any]]:
    return [*case["given"].values(), *case["expected"].values()]
