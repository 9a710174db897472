from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pipeline.contracts import CameraId, GlobalId
from pipeline.matching.tracks import TrackBook

GATE = CameraId("gate")
spans = st.lists(st.tuples(st.integers(0, 20), st.integers(0, 5)), max_size=12)


@given(spans, st.integers(0, 20), st.integers(0, 5))
def test_present_is_everybody_whose_span_touches_the_moment(
    seen: list[tuple[int, int]], started_at: int, lasted_s: int
) -> None:
    book = TrackBook(64)
    for number, (start, length) in enumerate(seen):
        book.record(("gate", "b1", number), start, start + length, GlobalId(number))
    expected = {
        number
        for number, (start, length) in enumerate(seen)
        if start <= started_at + lasted_s and started_at <= start + length
    }
    assert book.present(GATE, started_at, started_at + lasted_s, ("gate", "b1", 99)) == expected


def test_a_track_is_not_in_its_own_way() -> None:
    book = TrackBook(4)
    book.record(("gate", "b1", 1), 0.0, 4.0, GlobalId(7))
    assert book.present(GATE, 1.0, 2.0, ("gate", "b1", 1)) == frozenset()


def test_cameras_and_starts_of_a_worker_do_not_share_track_numbers() -> None:
    book = TrackBook(4)
    book.record(("gate", "b1", 1), 0.0, 4.0, GlobalId(7))
    assert book.identity(("gate", "b1", 1)) == 7
    assert book.identity(("gate", "b2", 1)) is None
    assert book.identity(("hall", "b1", 1)) is None
    assert book.present(CameraId("hall"), 0.0, 9.0, ("hall", "b1", 1)) == frozenset()


def test_the_least_recently_extended_track_makes_room() -> None:
    book = TrackBook(2)
    book.record(("gate", "b1", 1), 0.0, 1.0, GlobalId(1))
    book.record(("gate", "b1", 2), 0.0, 1.0, GlobalId(2))
    book.record(("gate", "b1", 1), 1.0, 9.0, GlobalId(1))
    book.record(("gate", "b1", 3), 8.0, 9.0, GlobalId(3))
    assert book.identity(("gate", "b1", 2)) is None
    assert book.present(GATE, 0.0, 9.0, ("gate", "b1", 9)) == {1, 3}
