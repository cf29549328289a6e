"""``python -m benchmarks.idle ARGUMENTS``: the program ``fanlight``, but for the learning.

What rounds cost by themselves is measured with devices that do nothing, as one measures other frameworks. Everything
else is as it is in earnest: processes, routes, signatures, masks, databases, files. The stand-ins:

- the backbone ``idle-N`` with N features, which exists only as an entry of the registry;
- a learner that returns a random update at once, and says that it got every picture right (``idle_learner``);
- if asked for, an aggregator that stores no reports (``forgetful``): what durability costs is the difference;
- if asked for, vectors that nobody masks (``plain``): what secure aggregation costs is the difference.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import sys
from collections.abc import Sequence
from types import MappingProxyType
from typing import Any

from fastapi import FastAPI

from fanlight.learning import backbones

FEATURES_VARIABLE = "FANLIGHT_BENCHMARK_FEATURES"
"""Length of the stand-in's feature vector."""
FORGETFUL_VARIABLE = "FANLIGHT_BENCHMARK_FORGETFUL"
"""With this variable set, the aggregator verifies reports and signs receipts, but stores nothing."""

PLAIN_VARIABLE = "FANLIGHT_BENCHMARK_PLAIN"
"""With this variable set, vectors are sent and summed without masks."""


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

    def application(settings: DeviceSettings) -> FastAPI:
        app, role = create_app(settings, learner=IdleLearner)
        install(app, role)
        return app

    serve(DeviceSettings, application, None, _options(words, "token", "data"))


def serve_forgetful_aggregator(words: Sequence[str]) -> None:
    """As ``fanlight aggregator``, with a reception that stores nothing.

    Args:
        words: the options ``--state`` and ``--port``.
    """
    from benchmarks.forgetful import ForgetfulReception
    from fanlight.cli.serve import serve
    from fanlight.services.aggregator.app import create_app
    from fanlight.services.aggregator.settings import AggregatorSettings

    def application(settings: AggregatorSettings) -> FastAPI:
        return create_app(settings, reception=ForgetfulReception)[0]

    serve(AggregatorSettings, application, None, _options(words))


def _options(words: Sequence[str], *more: str) -> dict[str, Any]:
    parser = argparse.ArgumentParser()
    for name in ("state", "port", *more):
        parser.add_argument(f"--{name}")
    parser.add_argument("--accept-demo", action="store_const", const=True)
    return {name: value for name, value in vars(parser.parse_args(words)).items() if value is not None}


if __name__ == "__main__":
    register(int(os.environ[FEATURES_VARIABLE]))
    if os.environ.get(PLAIN_VARIABLE):
        from benchmarks.plain import mask_nothing

        mask_nothing()
    if sys.argv[1:2] == ["device"]:
        serve_idle_device(sys.argv[2:])
    elif sys.argv[1:2] == ["aggregator"] and os.environ.get(FORGETFUL_VARIABLE):
        serve_forgetful_aggregator(sys.argv[2:])
    else:
        from fanlight.cli import main

        main()
