"""Backbones on the command line: by the registry's name, or a file."""

from __future__ import annotations

import pytest

from fanlight.cli.task_options import Head, Pictures, checked_backbone, make_task, with_any_backbone
from fanlight.errors import UsageError

LEVELS = "efficientnet-lite0-levels"


def test_a_name_of_the_registry_is_a_backbone() -> None:
    task = make_task(Pictures(("a", "b"), 64), head=Head.ANALYTIC)
    chosen, file = with_any_backbone(task, LEVELS)
    assert file is None
    assert (chosen.backbone, chosen.plan.features, chosen.own_backbone) == (LEVELS, 2024, None)
    assert (chosen.head, chosen.policy) == (task.head, task.policy)
    assert checked_backbone(LEVELS) == LEVELS
    assert checked_backbone(None) is None


def test_what_is_neither_a_name_nor_a_file_is_refused_with_what_there_is() -> None:
    task = make_task(Pictures(("a", "b"), 64))
    for refuse in (lambda: with_any_backbone(task, "alexnet"), lambda: checked_backbone("alexnet")):
        with pytest.raises(UsageError, match="alexnet") as caught:
            refuse()
        assert LEVELS in caught.value.next
