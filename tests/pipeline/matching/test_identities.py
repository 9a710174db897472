"""The people who are known, as columns."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from pipeline.contracts import GlobalId
from pipeline.matching.identities import IdentityBook
from tests.pipeline.matching.made_site import calibration

sightings = st.lists(
    st.tuples(st.integers(1, 12), st.sampled_from(["gate", "hall"]), st.integers(0, 9)), min_size=1, max_size=40
)


def book_of(seen: list[tuple[int, str, int]]) -> IdentityBook:
    book = IdentityBook(4, cameras=3)
    for part in (seen[::3], seen[1::3], seen[2::3]):
        if part:
            numbers, camera_ids, ended_at = zip(*part, strict=True)
            book.see(np.array(numbers), camera_ids, np.array(ended_at, np.float64))
    return book


@given(sightings)
def test_the_last_sighting_is_the_latest_in_whatever_order_they_came(seen: list[tuple[int, str, int]]) -> None:
    book = book_of(seen)
    assert len(book) == len({number for number, *_ in seen})
    for number in {number for number, *_ in seen}:
        assert GlobalId(number) in book
        ended_at, camera_id = max((at, camera) for other, camera, at in seen if other == number)
        assert book.last_seen(GlobalId(number)) == (ended_at, camera_id)


@given(sightings.flatmap(lambda seen: st.tuples(st.just(seen), st.permutations(seen))), st.integers(1, 12))
def test_the_newest_and_those_beyond_a_limit_do_not_depend_on_the_order(
    orders: tuple[list[tuple[int, str, int]], list[tuple[int, str, int]]], count: int
) -> None:
    one, other = (book_of(order) for order in orders)
    assert sorted(one.newest(count).tolist()) == sorted(other.newest(count).tolist())
    assert one.beyond(count).tolist() == other.beyond(count).tolist()


@given(sightings, st.integers(1, 12))
def test_the_newest_and_those_beyond_the_limit_are_everybody(seen: list[tuple[int, str, int]], count: int) -> None:
    book = book_of(seen)
    numbers = {number for number, *_ in seen}
    assert sorted([*book.newest(count).tolist(), *book.beyond(count).tolist()]) == sorted(numbers)
    last = {number: book.last_seen(GlobalId(number))[0] for number in numbers}
    assert all(
        last[gone] <= last[stays] for gone in book.beyond(count).tolist() for stays in book.newest(count).tolist()
    )


def test_who_was_forgotten_leaves_nothing_to_whoever_comes_next() -> None:
    book = book_of([(1, "gate", 5), (2, "hall", 6)])
    book.describe(np.array([1, 2]), np.eye(2, 4, dtype=np.float32), np.array([[3, 0, 0], [0, 2, 0]]))
    book.forget(GlobalId(1))
    book.see(np.array([3]), ["yard"], np.array([1.0]))
    assert GlobalId(1) not in book and len(book) == 2
    assert book.last_seen(GlobalId(3)) == (1.0, "yard")
    assert sorted(book.newest(9).tolist()) == sorted(book.newest(2).tolist()) == [2, 3]
    np.testing.assert_array_equal(book.looks(np.array([2])), np.eye(2, 4, dtype=np.float32)[1:])


def test_a_decision_sees_identities_as_columns() -> None:
    book = book_of([(4, "gate", 5), (9, "roof", 6)])
    book.describe(np.array([9, 4]), np.eye(2, 4, dtype=np.float32), np.array([[1, 1, 0], [2, 0, 0]]))
    similarities = np.array([[0.25, 0.5]])
    columns = book.candidates(np.array([4, 9]), similarities, calibration(("gate", "hall")))
    assert columns.global_ids.tolist() == [4, 9]
    assert columns.places.tolist() == [0, 2], "a camera that the calibration does not know has the last place"
    assert columns.seen_at.tolist() == [5.0, 6.0]
    assert columns.exemplars.tolist() == [[2, 0, 0], [1, 1, 0]]
    assert columns.similarities is similarities


def test_another_calibration_counts_anew_and_the_looks_stay() -> None:
    book = book_of([(1, "gate", 5)])
    book.describe(np.array([1]), np.ones((1, 4), np.float32), np.array([[3, 0, 0]]))
    book.widen(5)
    assert book.exemplars(np.array([1])).tolist() == [[0, 0, 0, 0, 0]]
    assert book.looks(np.array([1])).tolist() == [[1.0] * 4]


def test_thousands_of_people_have_columns() -> None:
    book = book_of([(number, "gate", number) for number in range(1, 3_000)])
    assert len(book) == 2_999
    assert sorted(book.newest(2).tolist()) == [2_998, 2_999]
    assert book.beyond(2_997).tolist() == [1, 2]
