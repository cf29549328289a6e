"""The owner's library of pictures."""

from fanlight.services.device.library.library import Library
from fanlight.services.device.library.records import (
    Added,
    Counts,
    Filter,
    Finding,
    Operation,
    Page,
    Picture,
    Problem,
    State,
)
from fanlight.services.device.library.surroundings import Surroundings

__all__ = [
    "Added",
    "Counts",
    "Filter",
    "Finding",
    "Library",
    "Operation",
    "Page",
    "Picture",
    "Problem",
    "State",
    "Surroundings",
]
