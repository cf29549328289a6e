"""What every process makes anew, the tests of one process make once: it takes longer than what most of them test.

Templates are compiled by the same code, and kept by Jinja's own means. The backbone is compiled once, and lies where a
device looks for it, as after its first start. Who tests how either is made does without these fixtures.
"""

from __future__ import annotations

import functools
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from jinja2 import BytecodeCache, Environment
from jinja2.bccache import Bucket

from fanlight.consoles import console
from fanlight.learning import backbones
from fanlight.learning.atomic_file import write_atomically
from fanlight.learning.backbones import BACKBONES, DEFAULT_BACKBONE, CompiledBackbone, compile_backbone, kept_backbone


class _InMemory(BytecodeCache):
    def __init__(self) -> None:
        self._kept: dict[str, bytes] = {}

    def load_bytecode(self, bucket: Bucket) -> None:
        if bucket.key in self._kept:
            bucket.bytecode_from_string(self._kept[bucket.key])

    def dump_bytecode(self, bucket: Bucket) -> None:
        self._kept[bucket.key] = bucket.bytecode_to_string()


_TEMPLATES = _InMemory()


@functools.cache
def _compiled() -> bytes:
    with tempfile.TemporaryDirectory(prefix="fanlight-compiled-") as folder:
        return compile_backbone(DEFAULT_BACKBONE, Path(folder)).read()


def _there_already(backbone_id: str, sha256: str, features: int, folder: Path) -> CompiledBackbone:
    compiled = kept_backbone(backbone_id, sha256, features, folder)
    if sha256 == BACKBONES[DEFAULT_BACKBONE].compiled_sha256 and not compiled.path.exists():
        write_atomically(compiled.path, _compiled(), durable=False)
    return compiled


@pytest.fixture(scope="module", autouse=True)
def made_once() -> Iterator[None]:
    """For all tests of a folder whose ``conftest.py`` names it."""
    _compiled()  # before anything is patched
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(console, "Environment", functools.partial(Environment, bytecode_cache=_TEMPLATES))
        patch.setattr(backbones, "kept_backbone", _there_already)
        yield
