"""Who has which pictures, as a line of a study says: ``iid``, ``dirichlet:0.1``, or ``classes:1+rotation:30``.

| term | the pictures of a device |
|---|---|
| ``iid`` | any, of all the same number (McMahan et al. 1602.05629) |
| ``dirichlet:A`` | classes in shares from a Dirichlet distribution of concentration A (Hsu et al. 1909.06335) |
| ``classes:K`` | of K classes only (McMahan et al. 1602.05629, shards) |
| ``quantity:dirichlet=A`` | any, their numbers from a Dirichlet distribution (Li et al. 2102.02079) |
| ``quantity:power=A`` | any, their numbers as rank to the power of -A |
| ``key:COLUMN`` | those of one value of a column that the data set has, such as a folder or a writer |
| ``file:PATH`` | those that a JSON or CSV file lists, counted in the whole data set |

One of these goes with terms of ``feature_skew``; without one it is ``iid``. Every picture is on exactly one device.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final

import numpy as np

from fanlight.core.terms import Term
from fanlight.errors import SettingsError
from fanlight.learning.datasets import partition as dealing
from fanlight.learning.datasets.chance import Chance
from fanlight.learning.datasets.partition import Indices
from fanlight.simulation.feature_skew import SKEWS, FeatureSkew, skews_of
from fanlight.simulation.partition_file import read_lists
from fanlight.simulation.specs import terms_of

Columns = Mapping[str, Sequence[Any]]
"""By name, (n,) values that a data set knows of its pictures."""
Deal = Callable[[Indices, int, Chance, Columns], list[Indices]]
NO_COLUMNS: Final[Columns] = MappingProxyType({})

LEAST: Final = 10
"""Pictures that a Dirichlet distribution leaves each device (Li et al. 2102.02079), where an even share is far more."""


def partition(spec: str, labels: Indices, devices: int, chance: Chance, columns: Columns = NO_COLUMNS) -> list[Indices]:
    """The pictures of each device.

    Args:
        spec: the line, see the module.
        labels: (n,), the class of each picture.
        devices: how many there are, at least 1.
        chance: what is drawn by lot is drawn of it.
        columns: for ``key``.

    Returns:
        For each device its indices, sorted, at least one; every index of ``labels`` is in exactly one of them.

    Raises:
        SettingsError: a bad line. DataError: the data, or a file, do not go with it. StorageError: no such file.
    """
    return _read(spec)[0](labels, devices, chance, columns)


def feature_skews(spec: str, devices: int, chance: Chance) -> list[FeatureSkew] | None:
    """What each device's camera does to its pictures; None: nothing, on any. Errors as in ``check``."""
    return skews_of(_read(spec)[1], devices, chance)


def lists_everything(spec: str) -> bool:
    """Does the line list pictures of the whole data set, those that are held back for tests among them?"""
    return any(term.name == "file" for term in terms_of("partition", spec, (*_DEALS, *SKEWS), paths=("file",)))


def check(spec: str) -> None:
    """See whether a line can be read, before there are any data.

    Raises:
        SettingsError: it cannot; says where and why.
    """
    _read(spec)


def _read(spec: str) -> tuple[Deal, tuple[Term, ...]]:
    terms = terms_of("partition", spec, (*_DEALS, *SKEWS), paths=("file",))
    skews = tuple(term for term in terms if term.name in SKEWS)
    deals = [term for term in terms if term.name in _DEALS]
    if len(deals) > 1:
        raise SettingsError(
            f"partition: {deals[0]} and {deals[1]} both say who has what.",
            next=f"Keep one of them; only {', '.join(SKEWS)} can be added to it.",
        )
    skews_of(skews, 1, Chance("checked", 0))
    return (_DEALS[deals[0].name](deals[0]) if deals else _iid(Term("partition", "iid"))), skews


def _iid(term: Term) -> Deal:
    term.takes("iid", value=False)
    return lambda labels, devices, chance, _columns: dealing.iid(labels, devices, chance)


def _dirichlet(term: Term) -> Deal:
    example = "dirichlet:0.5"
    term.takes(example, value=True)
    concentration = term.number(example, low=1e-3, high=1e6)
    return lambda labels, devices, chance, _columns: dealing.dirichlet(labels, devices, chance, concentration, LEAST)


def _classes(term: Term) -> Deal:
    term.takes("classes:2", value=True)
    count = term.whole("classes:2", low=1)
    return lambda labels, devices, chance, _columns: dealing.by_shards(labels, devices, chance, count)


def _quantity(term: Term) -> Deal:
    example = "quantity:power=1 or quantity:dirichlet=0.5"
    term.takes(example, "power", "dirichlet", value=False)
    if len(term.parameters) != 1:
        raise term.flaw("takes either power or dirichlet", example)
    if "dirichlet" in term.parameters:
        concentration = term.of("dirichlet", example, low=1e-3, high=1e6)
        return lambda labels, devices, chance, _columns: dealing.by_quantity(
            labels, devices, chance, chance.dirichlet(concentration, devices)
        )
    power = term.of("power", example, low=0, high=10)

    def by_rank(labels: Indices, devices: int, chance: Chance, _columns: Columns) -> list[Indices]:
        shares = np.arange(1.0, devices + 1) ** -power
        return dealing.by_quantity(labels, devices, chance, shares / shares.sum())

    return by_rank


def _key(term: Term) -> Deal:
    term.takes("key:folder", value=True)
    if not term.value:
        raise term.flaw("takes the name of a column", "key:folder")

    def by_column(labels: Indices, devices: int, chance: Chance, columns: Columns) -> list[Indices]:
        if term.value not in columns:
            known = f"It has {', '.join(columns)}." if columns else "It has none; choose another partition."
            raise SettingsError(f"partition: the data set has no column {term.value!r}.", next=known)
        return dealing.by_key(labels, devices, chance, columns[term.value])

    return by_column


def _file(term: Term) -> Deal:
    if not term.value:
        raise term.flaw("takes the path of a file", "file:who-has-what.json")
    return lambda labels, devices, _chance, _columns: dealing.as_given(labels, devices, read_lists(term.value))


_DEALS: Final[Mapping[str, Callable[[Term], Deal]]] = MappingProxyType(
    {
        "iid": _iid,
        "dirichlet": _dirichlet,
        "classes": _classes,
        "quantity": _quantity,
        "key": _key,
        "file": _file,
    }
)
