from __future__ import annotations

from contextlib import ExitStack

import pytest

from fanlight.errors import Busy, Refused
from fanlight.services.http.room import Room

ONE, OTHER = bytes(16), bytes([1]) * 16


def test_one_sender_has_so_many_places_and_gets_them_back() -> None:
    room = Room("uploads", each=2, total=100, retry_s=5)
    with ExitStack() as inside:
        for _ in range(2):
            inside.enter_context(room.taken(ONE))
        with pytest.raises(Refused, match="Too many uploads of this device") as caught, room.taken(ONE):
            pass
        with room.taken(OTHER):
            pass
    assert (caught.value.retry_after_s, caught.value.next) == (5, "Try again in 5 seconds.")
    with room.taken(ONE):
        pass


def test_all_senders_together_have_so_much_room() -> None:
    room = Room("uploads", each=9, total=10, retry_s=5)
    with room.taken(ONE, 6):
        with pytest.raises(Busy, match="Too many uploads are under way") as caught, room.taken(OTHER, 5):
            pass
        with room.taken(OTHER, 4):
            pass
    assert caught.value.retry_after_s == 5
    with pytest.raises(ZeroDivisionError), room.taken(ONE, 10):
        raise ZeroDivisionError
    with room.taken(OTHER, 10):
        pass
