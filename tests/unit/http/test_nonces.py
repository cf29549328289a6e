import pytest
from hypothesis import given
from hypothesis import strategies as st

from fanlight.errors import NotAuthentic, Refused
from fanlight.services.http.nonces import NonceWindow


def test_a_nonce_is_good_once_for_each_key() -> None:
    window = NonceWindow()
    window.use("a", "n", now=0, until=300)
    window.use("b", "n", now=0, until=300)
    with pytest.raises(NotAuthentic) as caught:
        window.use("a", "n", now=300, until=300)
    assert caught.value.slug == "replayed"


def test_memory_is_bounded_by_key_and_in_all_and_freed_with_time() -> None:
    window = NonceWindow(per_key=2, total=3)
    window.use("a", "1", now=0, until=300)
    window.use("a", "2", now=0, until=300)
    with pytest.raises(Refused):
        window.use("a", "3", now=0, until=300)
    window.use("b", "1", now=0, until=300)
    with pytest.raises(Refused) as caught:
        window.use("c", "1", now=0, until=300)
    assert caught.value.slug == "too-many-requests"
    window.use("a", "3", now=400, until=700)
    assert len(window) == 1


@given(
    st.lists(
        st.tuples(st.sampled_from("ab"), st.integers(0, 5), st.integers(0, 90), st.integers(-300, 300)), max_size=60
    )
)
def test_no_nonce_is_ever_accepted_twice_while_its_signature_holds(
    uses: list[tuple[str, int, int, int]],
) -> None:
    window, now = NonceWindow(), 0
    held: dict[tuple[str, int], int] = {}
    for key, nonce, passed, age in uses:
        now += passed
        until = now + age + 300
        try:
            window.use(key, str(nonce), now=now, until=until)
        except NotAuthentic:
            continue
        assert held.get((key, nonce), -1) < now
        held[key, nonce] = until
