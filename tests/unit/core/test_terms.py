"""Terms: a name, a value, parameters."""

from __future__ import annotations

import pytest

from fanlight.core.terms import Term, term_of
from fanlight.errors import SettingsError


@pytest.mark.parametrize(
    ("line", "name", "value", "parameters"),
    [
        ("iid", "iid", "", {}),
        ("dirichlet:0.5", "dirichlet", "0.5", {}),
        (" sign-flip : 0.2 , factor = 3 ", "sign-flip", "0.2", {"factor": "3"}),
        ("trace:C:\\days,loop=", "trace", "C:\\days", {"loop": ""}),
        ("", "", "", {}),
        ("a:,,", "a", "", {}),
    ],
)
def test_a_line_is_taken_apart(line: str, name: str, value: str, parameters: dict[str, str]) -> None:
    term = term_of("subject", line)
    assert (term.subject, term.name, term.value, dict(term.parameters)) == ("subject", name, value, parameters)
    assert term_of("subject", str(term)) == term


@pytest.mark.parametrize(
    ("line", "flaw"), [("a:1,2", "'a' has two values, '1' and '2'"), ("a:b=1,b=2", "'a' has 'b' twice")]
)
def test_what_cannot_be_is_told_with_its_subject(line: str, flaw: str) -> None:
    with pytest.raises(SettingsError, match=f"^attack: {flaw}"):
        term_of("attack", line)


def test_numbers_within_bounds_and_nothing_unknown() -> None:
    term = Term("world", "speeds", "2.5", {"share": "0.3"})
    assert (term.number("e", low=0), term.of("share", "e", low=0, high=1)) == (2.5, 0.3)
    assert term.of("other", "e", low=0, default=7) == 7
    term.takes("e", "share", value=True)
    for refuse in (
        lambda: term.whole("e", low=0, high=9),
        lambda: term.number("e", low=3),
        lambda: term.of("share", "e", low=0, high=0.1),
        lambda: term.of("other", "e", low=0),
        lambda: term.takes("e", value=True),
        lambda: term.takes("e", "share", value=False),
    ):
        with pytest.raises(SettingsError, match=r"^world: 'speeds'"):
            refuse()
