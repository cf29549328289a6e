"""The process that runs a study: ``fanlight simulate``, with no secret, below everything else, and never without us.

It gets a few variables of this server's environment, by name, and none of its open files; whatever else needs a core
goes first, and when memory runs short, the kernel ends it before any other process.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

from fanlight.core.cores import usable_cores
from fanlight.core.printable import printable
from fanlight.errors import from_os_error
from fanlight.services.lifeline import END_WITH_STDIN
from fanlight.services.main_server.studies.folder import STUDY, StudyFolder

PASSED_ON: Final = ("PATH", "PYTHONPATH", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "TMPDIR", "FANLIGHT_DATA_DIR")
"""Variables that the process gets; what is not here may be a secret."""
NICENESS: Final = 15
_PATIENCE_S: Final = 5.0
_MOST_LETTERS: Final = 600
_ERROR: Final = "Error: "
_TODO: Final = "What to do: "
"""As ``cli.report`` begins its two lines."""


class StudyProcess:
    """A process at work.

    Args:
        run: whose folder it works in.
        shared: folder of what runs share: features of pictures, the compiled backbone.

    Raises:
        StorageError: it cannot be started.
    """

    def __init__(self, run: StudyFolder, shared: Path) -> None:
        self._run = run
        try:
            with run.said_file.open("wb") as said:
                self._process = subprocess.Popen(
                    command(run.path, shared),
                    cwd=run.path,
                    env=environment(os.environ),
                    stdin=subprocess.PIPE,
                    stdout=subprocess.DEVNULL,
                    stderr=said,
                    start_new_session=True,
                )
        except OSError as error:
            raise from_os_error(error, str(run.path)) from error
        with suppress(OSError):  # only Linux has it
            Path(f"/proc/{self._process.pid}/oom_score_adj").write_text("1000", "ascii")

    @property
    def pid(self) -> int:
        """Its number, and that of its group."""
        return self._process.pid

    def ended(self, within_s: float) -> bool:
        """Has it ended, or does it within so many seconds?"""
        try:
            self._process.wait(within_s)
        except subprocess.TimeoutExpired:
            return False
        self._close()
        return True

    def end(self) -> None:
        """End it with all that it has forked. A round that is not done is done again when the run goes on."""
        for number in (signal.SIGTERM, signal.SIGKILL):
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, number)
            if self.ended(_PATIENCE_S):
                return

    @property
    def error(self) -> str:
        """Of one that has ended: why it failed, in its own words; empty if it did not."""
        code = self._process.returncode
        if code == 0:
            return ""
        if code < 0:
            return f"The process was ended by {signal.Signals(-code).name}. Is there enough memory?"
        said = self._run.said
        last = said[said.rfind(_ERROR) + len(_ERROR) :] if _ERROR in said else said.rpartition("\n")[2]
        what, _, todo = last.partition(_TODO)
        words = f"{what.strip().rstrip('.')}. {todo}" if todo else what
        return printable(" ".join(words.split()))[:_MOST_LETTERS] or f"The process ended with {code}, and said nothing."

    def _close(self) -> None:
        if self._process.stdin is not None:
            self._process.stdin.close()


def command(folder: Path, shared: Path) -> list[str]:
    """What is started: Python without the working folder on its path."""
    workers = max(1, usable_cores() // 2)
    words = ["simulate", STUDY, "--out", str(folder), "--state", str(shared), "--workers", str(workers)]
    return ["nice", "-n", str(NICENESS), sys.executable, "-P", "-m", "fanlight", *words]


def environment(ours: Mapping[str, str]) -> dict[str, str]:
    """The variables of the process."""
    threads = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
    return {name: ours[name] for name in PASSED_ON if name in ours} | threads | {END_WITH_STDIN: "1"}
