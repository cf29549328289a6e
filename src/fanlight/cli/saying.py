"""What a command says on the way, on standard error; results go to standard output."""

from __future__ import annotations

import sys

from fanlight.core.printable import printable


def say(*lines: str) -> None:
    """Tell the person; names in the lines come from outside, and can neither move the cursor nor begin a line."""
    print(*map(printable, lines), sep="\n", file=sys.stderr, flush=True)
