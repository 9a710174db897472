"""Which tracklets stand for a person."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from pipeline.contracts import GlobalId
from pipeline.matching.exemplars import Exemplar, ExemplarBook, chosen, draw

DAY_S = 86_400.0
A, B = GlobalId(1), GlobalId(2)


def exemplar(row: int, camera_id: str = "gate", started_at: float = 0.0) -> Exemplar:
    name = f"{camera_id}/b1/{row}/0"
    return Exemplar(draw(name, started_at), name, (camera_id, "b1", row), started_at)


def vector(of: Exemplar) -> np.ndarray:
    return np.full(4, of.track[2], np.float16)


def some(least: int = 0, most: int = 30) -> st.SearchStrategy[list[Exemplar]]:
    seen = st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 9)), min_size=least, max_size=most)
    return seen.map(lambda rows: [exemplar(row, camera, at * DAY_S) for row, (camera, at) in enumerate(rows)])


limits = st.tuples(st.integers(1, 4), st.integers(1, 8))  # of each camera, and in all


@given(some(), limits)
def test_the_highest_of_each_camera_stay_up_to_the_limit(seen: list[Exemplar], most: tuple[int, int]) -> None:
    kept = chosen(seen, *most)
    own = {camera: [each for each in seen if each.track[0] == camera] for camera in "abc"}
    by_camera = [each for of in own.values() for each in sorted(of, key=lambda e: e.rank, reverse=True)[: most[0]]]
    assert kept == sorted(by_camera, key=lambda each: each.rank, reverse=True)[: most[1]]


@given(some().flatmap(lambda seen: st.tuples(st.just(seen), st.permutations(seen))), limits)
def test_the_same_tracklets_leave_the_same_exemplars_in_whatever_order_they_came(
    orders: tuple[list[Exemplar], list[Exemplar]], most: tuple[int, int]
) -> None:
    books = [ExemplarBook(4, *most) for _ in orders]
    for book, order in zip(books, orders, strict=True):
        for each in order:
            book.add(A, each, vector(each))
    assert [book.identities() for book in books] == [[A] if orders[0] else []] * 2
    if orders[0]:
        assert books[0].of(A) == books[1].of(A) == chosen(orders[0], *most)


@given(some(least=1), st.integers(0, 30), limits)
def test_two_books_make_one_by_union(seen: list[Exemplar], cut: int, most: tuple[int, int]) -> None:
    apart = [*chosen(seen[:cut], *most), *chosen(seen[cut:], *most)]
    assert chosen(apart, *most) == chosen(seen, *most)


operations = st.lists(
    st.tuples(st.sampled_from(["add", "add", "add", "join", "forget"]), st.integers(1, 4), st.integers(1, 4)),
    max_size=40,
)


@given(operations, limits)
def test_whatever_happens_everybody_keeps_the_exemplars_and_vectors_of_what_was_seen(
    done: list[tuple[str, int, int]], most: tuple[int, int]
) -> None:
    book = ExemplarBook(4, *most)
    expected: dict[GlobalId, list[Exemplar]] = {}
    for row, (what, one, other) in enumerate(done):
        whose, second = GlobalId(one), GlobalId(other)
        if what == "add":
            new = exemplar(row, "abc"[other % 3], DAY_S * one)
            book.add(whose, new, vector(new))
            expected.setdefault(whose, []).append(new)
        elif what == "forget" and whose in expected:
            book.forget(whose)
            del expected[whose]
        elif what == "join" and one != other and second in expected:
            book.join(whose, second)
            expected.setdefault(whose, []).extend(expected.pop(second))
    assert set(book.identities()) == set(expected)
    assert len(book) == sum(len(chosen(seen, *most)) for seen in expected.values())
    for whose, seen in expected.items():
        kept = book.of(whose)
        assert whose in book and kept == chosen(seen, *most)
        np.testing.assert_array_equal(book.vectors(kept), np.stack([vector(each) for each in kept]))


def test_the_book_grows_beyond_its_first_pages() -> None:
    book = ExemplarBook(4, per_camera=4, limit=12)
    seen = [exemplar(row) for row in range(2_000)]
    for each in seen:
        book.add(GlobalId(each.track[2] + 1), each, vector(each))
    assert len(book) == 2_000
    np.testing.assert_array_equal(book.vectors(seen)[:, 0], np.arange(2_000))


def test_the_recent_are_more_likely_to_stay_and_the_old_are_not_all_gone() -> None:
    seen = [exemplar(row, started_at=DAY_S * (row % 2)) for row in range(4_000)]
    kept = chosen(seen, 1_000, 1_000)
    recent = sum(each.started_at > 0 for each in kept) / len(kept)
    # Without replacement the share is a little below e / (1 + e) = 0.73.
    assert 0.62 < recent < 0.74


def test_a_draw_is_made_once_and_for_all() -> None:
    assert draw("gate/b1/7/0", 5.0) == draw("gate/b1/7/0", 5.0) != draw("gate/b1/8/0", 5.0)
    assert draw("gate/b1/7/0", DAY_S) - draw("gate/b1/7/0", 0.0) == 1.0
