"""The task as it is now: the one place that knows it, on disk and in memory."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from fanlight.errors import NotPossibleNow, SettingsError
from fanlight.services.main_server.task import Task
from fanlight.storage.secret_files import write_secret

FIXED: Final = frozenset({"demo"})
"""Never changed later: figures of rounds that were none of a demonstration would come to light."""


class TaskFile:
    """``task.json``, and what it says. Whoever needs the task asks here each time.

    Args:
        path: the file.
        check: raises for a task whose rounds could not be summed.

    Raises:
        SettingsError, MalformedMessage: see ``Task.load`` and ``check``.
    """

    def __init__(self, path: Path, check: Callable[[Task], None]) -> None:
        self._path = path
        self._check = check
        self._lock = threading.Lock()
        self._task = Task.load(path)
        check(self._task)

    @property
    def task(self) -> Task:
        """The task, which changes as a whole."""
        return self._task

    def change_policy(self, **changes: Any) -> Task:
        """Change the policy; it holds from the next manifest on. The file is replaced as a whole.

        Raises:
            SettingsError, MalformedMessage: see ``Task.with_policy`` and ``check``; nothing is changed.
            NotPossibleNow: somebody has edited the file since this process read it.
            StorageError: the disk refuses.
        """
        if fixed := sorted(FIXED & changes.keys()):
            raise SettingsError(f"{fixed[0]} is fixed when a federation is made.", next="Make a new federation.")
        return self._change(lambda task: task.with_policy(**changes))

    def change_algorithm(self, **choice: Any) -> Task:
        """Change the algorithm, see ``Task.with_algorithm``; the rest as in ``change_policy``."""
        return self._change(lambda task: task.with_algorithm(choice))

    def change_augmentation(self, **choice: Any) -> Task:
        """Change how pictures are varied, see ``Task.with_augmentation``; the rest as in ``change_policy``."""
        return self._change(lambda task: task.with_augmentation(choice))

    def change_class_weights(self, **choice: Any) -> Task:
        """Change by what classes weigh, see ``Task.with_class_weights``; the rest as in ``change_policy``."""
        return self._change(lambda task: task.with_class_weights(choice))

    def with_line(self, head: str, backbone: str) -> Task:
        """The task with another head or backbone, checked; see ``Task.with_line`` and ``check`` for what it raises."""
        changed = self._task.with_line(head, backbone)
        self._check(changed)
        return changed

    def change_line(self, head: str, backbone: str) -> Task:
        """Change head and backbone, see ``Task.with_line``; the rest as in ``change_policy``."""
        return self._change(lambda task: task.with_line(head, backbone))

    def _change(self, changed_from: Callable[[Task], Task]) -> Task:
        with self._lock:
            if Task.load(self._path) != self._task:
                raise NotPossibleNow(
                    f"{self._path.name} was edited by hand since this server started.",
                    next="Start the server again, then make the change here.",
                    slug="task-edited",
                )
            changed = changed_from(self._task)
            self._check(changed)
            write_secret(self._path, changed.to_json(), replace=True)
            self._task = changed
        return changed
