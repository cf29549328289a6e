"""``fanlight version``."""

from __future__ import annotations


def version() -> None:
    """Print the version of Fanlight."""
    from fanlight import __version__

    print(__version__)
