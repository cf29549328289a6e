"""``fanlight demo --head``: heads that are solved in one round, with real processes and pictures.

In the usual run ``test_demo_augmentation`` has such a demo, whose pictures come with variants.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.test_demo import LIMIT_S, Demo


def solved(folder: Path, *arguments: object) -> Iterator[dict[str, Any]]:
    demo = Demo(folder, *arguments, "--rounds", 1, "--exit", "--json")
    try:
        code, out = demo.wait()
        assert code == 0, demo.errors.read_text()
        yield json.loads(out)
    finally:
        demo.close()


@pytest.mark.long
@pytest.mark.timeout(2 * LIMIT_S)
@pytest.mark.parametrize("head", ["analytic", "prototypes"])
def test_one_round_teaches_what_each_device_has_half_of(tmp_path: Path, head: str) -> None:
    for result in solved(tmp_path, "--dataset", "shapes", "--head", head):
        (only,) = result["rounds"]
        assert only["accuracy_before"] == pytest.approx(0.25)
        assert only["balanced_accuracy_after"] > 0.9
        assert result["model"]["version"] == 1


@pytest.mark.long
@pytest.mark.timeout(900)
def test_two_devices_with_five_digits_each_know_all_ten_after_one_round(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Averaging of updates does not get there: .83 to .89 after ten rounds."""
    monkeypatch.setattr("tests.e2e.test_demo.LIMIT_S", 800)
    for result in solved(tmp_path, "--dataset", "digits", "--head", "analytic"):
        (only,) = result["rounds"]
        assert only["balanced_accuracy_after"] >= 0.92
