"""What of a device is counted at main: as far as it is known, through rounds that end in any way."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from fanlight.errors import Refused
from fanlight.protocol.exchange import Change
from fanlight.services.device import counted
from fanlight.services.device.counted import Account, Counted, InQuestion
from fanlight.services.device.values import Values
from fanlight.storage.database import Database
from fanlight.storage.migrating import migrate

PICTURES, OTHERS = b"p" * 32, b"o" * 32
MH = b"m" * 32


@pytest.fixture
def account() -> Iterator[Account]:
    database = Database(None)
    migrate(database, "device")
    yield Account(Values(database))
    database.close()


def of(collection: int, pictures: bytes = PICTURES, number: int = 0) -> Counted:
    sums = bytes([number]) * 32
    return Counted(
        collection=collection, round=collection, sums=sums, examples=3, supporters=(True,), pictures=pictures
    )


def send(account: Account, then: Counted | None, number: int = 9) -> None:
    with account.values.changing() as tx:
        counted.sent(tx, InQuestion(mh=MH, round=number, then=then))


def end(account: Account, *, counts: bool, mh: bytes = MH) -> None:
    with account.values.changing() as tx:
        counted.ended(tx, mh, counted=counts, now=1_000)


def change(account: Account, collection: int | None, pictures: bytes | None, *, leaves: bool = False) -> Change | None:
    return account.change(collection, pictures, leaves=leaves)


def test_it_counts_when_it_is_known_to(account: Account) -> None:
    send(account, of(1))
    assert account.counted is None
    assert account.files == (of(1).sums,), "the file may have to be taken back"
    assert change(account, 1, PICTURES) is None, "nothing new is said while it is in question"
    end(account, counts=True, mh=b"x" * 32)
    assert account.counted is None, "that was another round"
    end(account, counts=True)
    assert account.counted == of(1)
    assert account.in_question is None


def test_what_came_to_nothing_leaves_all_as_it_was(account: Account) -> None:
    send(account, of(1))
    end(account, counts=True)
    send(account, of(1, OTHERS, 7))
    assert set(account.files) == {of(1).sums, of(1, number=7).sums}
    end(account, counts=False)
    assert account.counted == of(1)
    assert account.files == (of(1).sums,)


def test_who_is_taken_out_is_forgotten_since_that_round_and_may_join_again(account: Account) -> None:
    send(account, of(1))
    end(account, counts=True)
    send(account, None, number=5)
    end(account, counts=False)
    assert account.forgotten is None
    send(account, None, number=6)
    end(account, counts=True)
    assert account.counted is None
    assert account.forgotten is not None
    assert (account.forgotten.round, account.forgotten.at) == (6, 1_000)
    assert change(account, 1, PICTURES) is Change.JOINS
    send(account, of(1))
    end(account, counts=True)
    assert account.forgotten is None


def test_what_there_is_to_change(account: Account) -> None:
    assert change(account, None, PICTURES) is None, "there are no sums"
    assert change(account, 3, PICTURES) is Change.JOINS
    assert change(account, 3, PICTURES, leaves=True) is None, "nothing is counted that could be taken out"
    assert change(account, 3, b"") is None
    assert change(account, 3, None) is None, "the folder was not looked at yet"
    send(account, of(3))
    end(account, counts=True)
    assert change(account, 3, PICTURES) is None
    assert change(account, 3, None) is None
    assert change(account, 3, OTHERS) is Change.CHANGES
    assert change(account, 3, b"") is Change.LEAVES, "no pictures are left"
    assert change(account, 3, None, leaves=True) is Change.LEAVES
    account.nothing_changed(OTHERS)
    assert change(account, 3, OTHERS) is None


def test_sums_that_were_collected_anew_have_nothing_of_it_and_older_ones_are_not_changed(account: Account) -> None:
    send(account, of(3))
    end(account, counts=True)
    assert account.counted_in(3) == of(3)
    assert account.counted_in(8) is None
    assert change(account, 8, PICTURES) is Change.JOINS
    assert change(account, 8, PICTURES, leaves=True) is None, "it is forgotten already"
    with pytest.raises(Refused, match="round 3") as caught:
        account.counted_in(2)
    assert caught.value.slug == "older-collection"
    assert change(account, 2, OTHERS) is None
