"""Federations on few features: sums over them are short, so that a round of statistics costs little.

Over the 1,280 features of the usual backbone they have 820 thousand numbers, which is most of what such a round takes.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.crash import own_backbones
from tests.services_world import PICTURE_SIZE, ServiceDevice, World, running


@contextmanager
def running_small(folder: Path, **policy: Any) -> Iterator[World]:
    """A world with both servers running, whose heads are solved from sums over 48 features."""
    backbone = own_backbones.small(folder, PICTURE_SIZE)
    with running(folder, head="analytic", backbone=backbone, **policy) as world:
        yield world


def started(world: World) -> ServiceDevice:
    """One more device with pictures, which runs; its owner allows the world's backbone."""
    own = world.task.own_backbone
    assert own is not None
    return world.add_device(backbones=(f"{world.task.backbone}={own.sha256}",)).start()
