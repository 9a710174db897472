"""Which tracklets stand for a person."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.contracts import F16, CameraId, GlobalId, TrackletId
from pipeline.matching import exemplars
from pipeline.matching.exemplars import Exemplar, ExemplarBook, draws, grouped, widened

DAY_S = 86_400.0
A, B = GlobalId(1), GlobalId(2)


class Seen(NamedTuple):
    """One tracklet before a camera."""

    name: TrackletId
    camera_id: str
    started_at: float

    @property
    def exemplar(self) -> Exemplar:
        return Exemplar(float(draws([self.name], np.array([self.started_at]))[0]), self.name)

    @property
    def vector(self) -> F16:
        return np.array([self.exemplar.track[2], 0.5, -0.25, 1.0 / 3.0], np.float16)


def seen(row: int, camera_id: str = "gate", started_at: float = 0.0) -> Seen:
    return Seen(TrackletId(f"{camera_id}/b1/{row}/0"), camera_id, started_at)


def some(least: int = 0, most: int = 30) -> st.SearchStrategy[list[Seen]]:
    rows = st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 9)), min_size=least, max_size=most)
    return rows.map(lambda found: [seen(row, camera, at * DAY_S) for row, (camera, at) in enumerate(found)])


def add(book: ExemplarBook, whose: Iterable[int], tracklets: list[Seen]) -> list[GlobalId]:
    names, cameras = [each.name for each in tracklets], [each.camera_id for each in tracklets]
    started_at = np.array([each.started_at for each in tracklets])
    return book.add(np.array(list(whose)), names, cameras, started_at, np.stack([each.vector for each in tracklets]))


def highest(tracklets: list[Seen], per_camera: int, limit: int) -> list[Exemplar]:
    """One after the other, as the rule says it."""
    kept: list[Exemplar] = []
    for exemplar in sorted((each.exemplar for each in tracklets), reverse=True):
        if [each.track[0] for each in kept].count(exemplar.track[0]) < per_camera and len(kept) < limit:
            kept.append(exemplar)
    return kept


limits = st.tuples(st.integers(1, 4), st.integers(1, 8))  # of each camera, and in all
cuts = st.lists(st.integers(1, 12), max_size=4)


@given(some(least=1).flatmap(lambda rows: st.tuples(st.just(rows), st.permutations(rows))), cuts, limits)
def test_the_same_tracklets_leave_the_same_exemplars_in_whatever_order_and_parts_they_came(
    orders: tuple[list[Seen], list[Seen]], sizes: list[int], most: tuple[int, int]
) -> None:
    whole, parted = ExemplarBook(4, *most), ExemplarBook(4, *most)
    add(whole, [A] * len(orders[0]), orders[0])
    rest = orders[1]
    for size in [*sizes, len(rest)]:
        part, rest = rest[:size], rest[size:]
        if part:
            add(parted, [A] * len(part), part)
    assert whole.of(A) == parted.of(A) == highest(orders[0], *most)


def test_of_equal_draws_the_greater_name_is_higher(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exemplars.zlib, "crc32", lambda _: 7)
    tracklets = [seen(row) for row in (3, 1, 2)]
    for order in (tracklets, tracklets[::-1]):
        book = ExemplarBook(4, per_camera=2, limit=2)
        for each in order:
            add(book, [A], [each])
        assert [exemplar.track[2] for exemplar in book.of(A)] == [3, 2]


operations = st.lists(
    st.tuples(
        st.sampled_from(["add", "add", "add", "join", "forget"]),
        st.lists(st.integers(1, 4), min_size=1, max_size=6),
        st.integers(1, 4),
    ),
    max_size=20,
)


@given(operations, limits, st.booleans())
def test_whatever_happens_everybody_keeps_the_exemplars_and_vectors_of_what_was_seen(
    done: list[tuple[str, list[int], int]], most: tuple[int, int], is_summed_early: bool
) -> None:
    book = ExemplarBook(4, *most)
    expected: dict[GlobalId, list[Seen]] = {}
    for step, (what, numbers, other) in enumerate(done):
        whose, second = GlobalId(numbers[0]), GlobalId(other)
        if what == "add":
            new = [seen(10 * step + place, "abc"[(other + place) % 3], DAY_S * step) for place in range(len(numbers))]
            before = {number: book.of(GlobalId(number)) if number in book else [] for number in set(numbers)}
            changed = add(book, numbers, new)
            assert changed == [number for number in sorted(before) if book.of(GlobalId(number)) != before[number]]
            for number, each in zip(numbers, new, strict=True):
                expected.setdefault(GlobalId(number), []).append(each)
        elif what == "forget" and whose in expected:
            book.forget(whose)
            del expected[whose]
        elif what == "join" and whose != second and second in expected:
            book.join([whose], [second])
            expected.setdefault(whose, []).extend(expected.pop(second))
        if is_summed_early:
            book.sums()
    kept = {whose: highest(own, *most) for whose, own in expected.items()}
    assert set(book.identities()) == set(expected)
    assert {whose: book.of(whose) for whose in expected} == kept
    assert len(book) == sum(map(len, kept.values()))
    slots, counts = book.slots(kept)
    names = [exemplar.tracklet_id for own in kept.values() for exemplar in own]
    vectors = {each.name: each.vector for own in expected.values() for each in own}
    assert counts.tolist() == [len(own) for own in kept.values()]
    np.testing.assert_array_equal(book.vectors(slots), np.array([vectors[name] for name in names]).reshape(-1, 4))
    sums, held = book.sums()
    for number, camera_id in enumerate(book.camera_ids):
        own = [vectors[name] for name in names if name.startswith(camera_id)]
        assert held[number] == len(own)
        np.testing.assert_array_equal(sums[number], np.array(own, np.float64).reshape(-1, 4).sum(axis=0))
    assert not np.delete(book._vectors, slots, axis=0).any()  # what is forgotten is nowhere in memory
    began = {each.name: each.started_at for own in expected.values() for each in own}
    moments = {CameraId("a"): 3 * DAY_S, CameraId("b"): 7 * DAY_S}
    assert book.begun_by(moments) == [
        whose
        for whose, own in sorted(kept.items())
        if any(began[each.tracklet_id] <= moments.get(CameraId(each.track[0]), -1.0) for each in own)
    ]


def test_the_book_grows_beyond_its_first_pages() -> None:
    book = ExemplarBook(4, per_camera=4, limit=12)
    for begin in range(0, 2_000, 500):
        add(book, range(begin + 1, begin + 501), [seen(row) for row in range(begin, begin + 500)])
    slots, counts = book.slots(map(GlobalId, range(1, 2_001)))
    assert len(book) == 2_000 and (counts == 1).all()
    np.testing.assert_array_equal(book.vectors(slots)[:, 0], np.arange(2_000))


def test_the_recent_are_more_likely_to_stay_and_the_old_are_not_all_gone() -> None:
    book = ExemplarBook(4, per_camera=1_000, limit=1_000)
    tracklets = [seen(row, started_at=DAY_S * (row % 2)) for row in range(2_000)]
    add(book, [A] * 2_000, tracklets)
    recent = sum(exemplar.track[2] % 2 for exemplar in book.of(A)) / 1_000
    # Without replacement the share is below e / (1 + e) = 0.73.
    assert 0.58 < recent < 0.70


def test_a_draw_is_made_once_and_for_all() -> None:
    one, again, other, later = draws(
        ["a/1/7/0", "a/1/7/0", "a/1/8/0", "a/1/7/0"], np.array([5.0, 5.0, 5.0, 5.0 + DAY_S])
    )
    assert one == again != other
    assert later - one == pytest.approx(1.0)


def test_every_finite_number_of_half_precision_becomes_the_same_one_of_single_precision() -> None:
    halves = np.arange(2**16, dtype=np.uint16).view(np.float16)
    halves = halves[np.isfinite(halves)]
    np.testing.assert_array_equal(widened(halves).view(np.uint32), halves.astype(np.float32).view(np.uint32))


@pytest.mark.parametrize("most", [3, 2**16 - 1, 2**40])
def test_groups_come_together_in_the_order_that_each_had(most: int) -> None:
    groups = np.array([most, 1, most, 0, 1, 2, 0], np.int64)
    assert grouped(groups).tolist() == [3, 6, 1, 4, 5, 0, 2]
    assert grouped(groups[:0]).tolist() == []
