"""Servers measure by a backbone that is made once."""

from __future__ import annotations

from tests.made_once import made_once

__all__ = ["made_once"]
