"""``python -m benchmarks.idle ARGUMENTS``: the program ``fanlight``, but for the learning.

What rounds cost by themselves is measured with devices that do nothing, as one measures other frameworks. Everything
else is as it is in earnest: processes, routes, signatures, masks, databases, files. Two stand-ins:

- the backbone ``idle-N`` with N features, which exists only as an entry of the registry;
- a learner that returns a random update at once, and says that it got every picture right (``idle_learner``).
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import sys
from collections.abc import Sequence
from types import MappingProxyType

from fastapi import FastAPI

from fanlight.learning import backbones

FEATURES_VARIABLE = "FANLIGHT_BENCHMARK_FEATURES"
"""Length of the stand-in's feature vector."""


def backbone_id(features: int) -> str:
    """Name of the stand-in backbone."""
    return f"idle-{features}"


def register(features: int) -> None:
    """Add the stand-in backbone to the registry; call before anything else of fanlight is imported."""
    entry = dataclasses.replace(
        backbones.BACKBONES[backbones.DEFAULT_BACKBONE],
        id=backbone_id(features),
        title=f"Stand-in of {features} features",
        features=features,
        compiled_sha256=f"{features:064x}",
    )
    backbones.BACKBONES = MappingProxyType({**backbones.BACKBONES, entry.id: entry})


def serve_idle_device(words: Sequence[str]) -> None:
    """As ``fanlight device``, with a learner that does nothing.

    Args:
        words: the options ``--token``, ``--data``, ``--state``, ``--port`` and ``--accept-demo``.
    """
    from benchmarks.idle_learner import IdleLearner
    from fanlight.cli.serve import serve
    from fanlight.consoles.device import install
    from fanlight.services.device.app import create_app
    from fanlight.services.device.settings import DeviceSettings

    parser = argparse.ArgumentParser()
    for name in ("token", "data", "state", "port"):
        parser.add_argument(f"--{name}")
    parser.add_argument("--accept-demo", action="store_true")

    def application(settings: DeviceSettings) -> FastAPI:
        app, role = create_app(settings, learner=IdleLearner)
        install(app, role)
        return app

    serve(DeviceSettings, application, None, vars(parser.parse_args(words)))


if __name__ == "__main__":
    register(int(os.environ[FEATURES_VARIABLE]))
    if sys.argv[1:2] == ["device"]:
        serve_idle_device(sys.argv[2:])
    else:
        from fanlight.cli import main

        main()
