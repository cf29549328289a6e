"""How a study is told, in one line a subject: who has what, in which world, attacked by whom.

    dirichlet:0.5+rotation:30          diurnal:8+speeds:mixed+deadline:600          sign-flip:0.2,factor=3

Terms (``core.terms``) are joined by ``+``. The same line stands in a study's TOML file and behind a flag. A term that
takes a path takes all that follows its colon, and is the last.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from typing import Final

from fanlight.core.terms import Term, term_of
from fanlight.errors import SettingsError

_MOST_LETTERS: Final = 4096


def terms_of(subject: str, line: str, names: Collection[str], paths: Collection[str] = ()) -> tuple[Term, ...]:
    """The terms of a line, one or more, each of another name, in lower case.

    Args:
        subject: what the line is about, for errors.
        line: as a person wrote it, at most 4,096 letters.
        names: the terms that there are.
        paths: those of them that take a path.

    Raises:
        SettingsError: an empty, unknown or repeated term, or one that is not of the form above.
    """
    if len(line) > _MOST_LETTERS:
        raise SettingsError(f"{subject}: a line of {len(line)} letters is too long.", next="Write less than 4,096.")
    known = f"Choose one of {', '.join(names)}; join several with +."
    terms: list[Term] = []
    rest = line.strip()
    while rest or not terms:
        head, colon, told = rest.partition(":")
        name = head.partition("+")[0].strip().lower()
        if name not in names:
            raise SettingsError(f"{subject}: there is no {name!r} (in {line!r}).", next=known, slug=f"no-{subject}")
        if name in {term.name for term in terms}:
            raise SettingsError(f"{subject}: {name!r} is there twice (in {line!r}).", next=known)
        if name in paths and colon and "+" not in head:
            terms.append(Term(subject, name, told.strip()))
            break
        this, plus, rest = rest.partition("+")
        rest = rest.strip()
        if plus and not rest:
            raise SettingsError(f"{subject}: nothing follows the last + (in {line!r}).", next=known)
        terms.append(replace(term_of(subject, this), name=name))
    return tuple(terms)
