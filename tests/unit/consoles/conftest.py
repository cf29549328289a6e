"""Pages are drawn of templates, and devices run a backbone, that are made once."""

from __future__ import annotations

from tests.made_once import made_once

__all__ = ["made_once"]
