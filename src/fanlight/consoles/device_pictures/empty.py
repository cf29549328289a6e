"""What the gallery says where it shows nothing: why, and what comes next."""

from __future__ import annotations

from dataclasses import dataclass

from fanlight.consoles.device_pictures.asked import Asked
from fanlight.consoles.formats import count
from fanlight.services.device.library.records import Counts, Filter, State

_ALL = Filter()
_NOT_LABELLED = Filter(State.UNLABELLED)
_SUGGESTED = Filter(State.SUGGESTED)


@dataclass(frozen=True)
class Empty:
    """Why there is nothing, what one can do, and the view that it is done in, if it is another one."""

    what: str
    next: str
    link: str = ""
    view: Filter = _ALL

    @property
    def href(self) -> str:
        """The address of that view."""
        return Asked(self.view).href()


def empty(wanted: Filter, counts: Counts, *, version: int | None, reading: bool) -> Empty:
    """Words for a view without pictures.

    Args:
        wanted: what the view would show.
        counts: of all pictures.
        version: of the model that would suggest labels; 0 knows nothing yet, None is no model.
        reading: is the folder being read just now?
    """
    binned = counts.states[State.DELETED]
    if wanted.state == State.DELETED:
        return Empty("The bin is empty.", "What you delete comes here first, so that you can have it back.")
    if sum(counts.states.values()) == binned:
        return _none_at_all(binned, reading)
    if wanted.problem:
        return Empty("No picture is like that.", "Nothing to do here.", "All pictures")
    return _of_state(wanted, counts, version)


def _of_state(wanted: Filter, counts: Counts, version: int | None) -> Empty:
    if wanted.state == State.SUGGESTED:
        return _none_suggested(counts.states[State.UNLABELLED], version)
    if wanted.state == State.NOT_USABLE:
        return Empty("No picture is marked as not usable.", "Mark what nothing can be learned from; it stays here.")
    if wanted.state == State.UNLABELLED:
        return _none_waiting(counts)
    return _none_labelled("No picture has this label." if wanted.label else "No picture has a label yet.", counts)


def _none_at_all(binned: int, reading: bool) -> Empty:
    if reading:
        return Empty("The pictures are being read.", "They appear here as soon as that is done.")
    if not binned:
        return Empty("There are no pictures yet.", "Put some in: ten or more of each class are a good start.")
    found = count(binned, "picture is", "pictures are")
    take = f"{found} in the bin: take some back, or put new ones in."
    return Empty("No pictures are left.", take, "Open the bin", Filter(State.DELETED))


def _none_suggested(waiting: int, version: int | None) -> Empty:
    if not waiting:
        return Empty("No suggestions.", "Put pictures in without a label, then let the model suggest what they show.")
    wait = f"{count(waiting, 'picture waits', 'pictures wait')} for a label."
    if version:
        return Empty("No suggestions yet.", f"{wait} Press “Suggest labels” above, or say yourself what they show.")
    if version is None:
        say = f"{wait} There is no model yet: say yourself what they show."
    else:
        say = f"{wait} The model has learned nothing yet: label ten of each class first, then train."
    return Empty("No suggestions yet.", say, "Not labelled", _NOT_LABELLED)


def _none_waiting(counts: Counts) -> Empty:
    suggested = counts.states[State.SUGGESTED]
    if suggested:
        say = f"The model made {count(suggested, 'suggestion')}: say whether it is right."
        return Empty("Every picture has a label or a suggestion.", say, "Suggested", _SUGGESTED)
    if not counts.states[State.LABELLED]:
        return Empty("No picture waits for a label.", "All are marked as not usable: put new ones in.")
    return Empty("All pictures have a label.", "Train now (/modeltrain).")


def _none_labelled(what: str, counts: Counts) -> Empty:
    say = "Choose pictures that show the same, and press the button of their class."
    if counts.states[State.UNLABELLED]:
        return Empty(what, say, "Not labelled", _NOT_LABELLED)
    if counts.states[State.SUGGESTED]:
        return Empty(what, say, "Suggested", _SUGGESTED)
    return Empty(what, say, "All pictures")
