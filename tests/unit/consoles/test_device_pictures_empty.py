"""What the gallery says where it shows nothing."""

from __future__ import annotations

import pytest

from fanlight.consoles.device_pictures.empty import empty
from fanlight.services.device.library.records import Counts, Filter, Problem, State


def counts(**states: int) -> Counts:
    return Counts({state: states.get(state, 0) for state in State}, {})


@pytest.mark.parametrize(
    ("wanted", "found", "what", "follows"),
    [
        (Filter(), counts(), "There are no pictures yet.", "Put some in"),
        (Filter(), counts(deleted=2), "No pictures are left.", "2 pictures are in the bin"),
        (Filter(State.UNLABELLED), counts(deleted=2), "No pictures are left.", "in the bin"),
        (Filter(State.DELETED), counts(labelled=2), "The bin is empty.", "comes here first"),
        (Filter(State.UNLABELLED), counts(labelled=2), "All pictures have a label.", "(/modeltrain)"),
        (Filter(State.UNLABELLED), counts(not_usable=2), "No picture waits for a label.", "put new ones in"),
        (Filter(State.UNLABELLED), counts(suggested=1), "Every picture has a label or a suggestion.", "1 suggestion:"),
        (Filter(State.SUGGESTED), counts(labelled=2), "No suggestions.", "Put pictures in"),
        (Filter(State.SUGGESTED), counts(unlabelled=1), "No suggestions yet.", "1 picture waits for a label. Press"),
        (Filter(State.NOT_USABLE), counts(labelled=1), "No picture is marked as not usable.", "Mark"),
        (Filter(State.LABELLED), counts(unlabelled=1), "No picture has a label yet.", "Choose"),
        (Filter(State.LABELLED, "cat"), counts(labelled=1), "No picture has this label.", "Choose"),
        (Filter(problem=Problem.TINY), counts(labelled=1), "No picture is like that.", "Nothing to do"),
    ],
)
def test_it_says_why_and_what_comes_next(wanted: Filter, found: Counts, what: str, follows: str) -> None:
    words = empty(wanted, found, version=1, reading=False)
    assert words.what == what
    assert follows in words.next


def test_a_link_leads_where_the_next_step_is_done() -> None:
    assert empty(Filter(), counts(deleted=1), version=1, reading=False).href == "/pictures?state=deleted"
    for found, leads in ((counts(unlabelled=1, labelled=1), "unlabelled"), (counts(suggested=1), "suggested")):
        words = empty(Filter(State.LABELLED, "cat"), found, version=1, reading=False)
        assert words.href == f"/pictures?state={leads}"


def test_without_a_model_nothing_waits_for_suggestions() -> None:
    words = empty(Filter(State.SUGGESTED), counts(unlabelled=2), version=None, reading=False)
    assert "There is no model yet" in words.next
    assert words.href == "/pictures?state=unlabelled"


def test_a_model_that_has_learned_nothing_suggests_nothing() -> None:
    words = empty(Filter(State.SUGGESTED), counts(unlabelled=2), version=0, reading=False)
    assert "label ten of each class first, then train" in words.next
    assert words.href == "/pictures?state=unlabelled"


def test_while_the_folder_is_read_nobody_is_told_that_it_is_empty() -> None:
    assert empty(Filter(), counts(), version=1, reading=True).what == "The pictures are being read."
