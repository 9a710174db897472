from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from pipeline.contracts import CameraId, GlobalId
from pipeline.matching.camera_numbers import CameraNumbers
from pipeline.matching.evidence import TrackKey
from pipeline.matching.tracks import Odds, Spans, TrackBook

GATE = CameraId("gate")
NONE = Odds()
moments = st.lists(st.tuples(st.integers(0, 20), st.integers(0, 5)), max_size=12)
# camera, track, start, length, person
pieces = st.lists(
    st.tuples(
        st.sampled_from(["gate", "hall"]), st.integers(0, 4), st.integers(0, 20), st.integers(0, 5), st.integers(1, 3)
    ),
    max_size=20,
)
Pieces = list[tuple[str, int, int, int, int]]


def book_of(seen: Pieces, capacity: int = 64) -> TrackBook:
    book = TrackBook(capacity)
    for place, (camera_id, track_id, start, length, person) in enumerate(seen):
        odds = Odds(place / 100, 1.0 - place / 100)
        book.record((camera_id, "b1", track_id), start, start + length, GlobalId(person), odds)
    return book


@given(moments, st.integers(0, 20), st.integers(0, 5))
def test_present_is_everybody_whose_span_touches_the_moment(
    seen: list[tuple[int, int]], started_at: int, lasted_s: int
) -> None:
    book = TrackBook(64)
    for number, (start, length) in enumerate(seen):
        book.record(("gate", "b1", number), start, start + length, GlobalId(number), NONE)
    expected = {
        number
        for number, (start, length) in enumerate(seen)
        if start <= started_at + lasted_s and started_at <= start + length
    }
    assert book.present(GATE, started_at, started_at + lasted_s, ("gate", "b1", 99)) == expected


def test_a_track_is_not_in_its_own_way() -> None:
    book = TrackBook(4)
    book.record(("gate", "b1", 1), 0.0, 4.0, GlobalId(7), NONE)
    assert book.present(GATE, 1.0, 2.0, ("gate", "b1", 1)) == frozenset()


def test_cameras_and_starts_of_a_worker_do_not_share_track_numbers() -> None:
    book = TrackBook(4)
    book.record(("gate", "b1", 1), 0.0, 4.0, GlobalId(7), NONE)
    assert book.identity(("gate", "b1", 1)) == 7
    assert book.identity(("gate", "b2", 1)) is None
    assert book.identity(("hall", "b1", 1)) is None
    assert book.present(CameraId("hall"), 0.0, 9.0, ("hall", "b1", 1)) == frozenset()


def test_the_least_recently_extended_track_makes_room() -> None:
    book = TrackBook(2)
    book.record(("gate", "b1", 1), 0.0, 1.0, GlobalId(1), NONE)
    book.record(("gate", "b1", 2), 0.0, 1.0, GlobalId(2), NONE)
    book.record(("gate", "b1", 1), 1.0, 9.0, GlobalId(1), NONE)
    book.record(("gate", "b1", 3), 8.0, 9.0, GlobalId(3), NONE)
    assert book.identity(("gate", "b1", 2)) is None
    assert book.present(GATE, 0.0, 9.0, ("gate", "b1", 9)) == {1, 3}
    assert book.tracks(GlobalId(2)) == [] and len(book.spans(GlobalId(2))) == 0


@given(pieces)
def test_a_track_spans_its_pieces_and_keeps_the_identity_and_the_odds_of_the_first(seen: Pieces) -> None:
    book = book_of(seen)
    everything = book.everything()
    rows = zip(
        [book.camera_ids[number] for number in everything.cameras.tolist()],
        everything.started_at.tolist(),
        everything.ended_at.tolist(),
        everything.global_ids.tolist(),
        everything.newness.tolist(),
        everything.likeliest.tolist(),
        strict=True,
    )
    tracks: dict[tuple[str, int], list[int]] = {}
    for place, (camera_id, track_id, *_) in enumerate(seen):
        tracks.setdefault((camera_id, track_id), []).append(place)
    expected = [
        (
            camera_id,
            min(seen[place][2] for place in places),
            max(seen[place][2] + seen[place][3] for place in places),
            seen[places[0]][4],
            places[0] / 100,
            1.0 - places[0] / 100,
        )
        for (camera_id, _), places in tracks.items()
    ]
    assert sorted(rows) == sorted(expected)


def rows_of(spans: Spans) -> list[tuple[float, ...]]:
    columns = (spans.cameras, spans.started_at, spans.ended_at, spans.global_ids, spans.newness, spans.likeliest)
    return sorted(zip(*(column.tolist() for column in columns), strict=True))


@given(pieces, st.integers(2, 6))
def test_the_spans_of_all_people_are_everything(seen: Pieces, capacity: int) -> None:
    book = book_of(seen, capacity)
    apart = [row for person in (1, 2, 3) for row in rows_of(book.spans(GlobalId(person)))]
    assert sorted(apart) == rows_of(book.everything())


@given(pieces, st.lists(st.tuples(st.sampled_from(["gate", "hall"]), st.integers(0, 5), st.integers(1, 4))))
def test_a_track_that_is_given_away_is_as_if_it_had_been_of_the_other_person(
    seen: Pieces, gifts: list[tuple[str, int, int]]
) -> None:
    book = book_of(seen)
    whose = {(camera_id, track_id): person for camera_id, track_id, *_, person in reversed(seen)}
    for camera_id, track_id, person in gifts:
        book.give((camera_id, "b1", track_id), GlobalId(person))
        if (camera_id, track_id) in whose:
            whose[camera_id, track_id] = person
    renamed = [(camera, track, start, length, whose[camera, track]) for camera, track, start, length, _ in seen]
    other = book_of(renamed)
    np.testing.assert_array_equal(book.everything().global_ids, other.everything().global_ids)
    for person in (1, 2, 3, 4):
        assert rows_of(book.spans(GlobalId(person))) == rows_of(other.spans(GlobalId(person)))
    for track in whose:
        assert book.identity((track[0], "b1", track[1])) == whose[track]


@given(pieces)
def test_two_people_meet_where_one_camera_sees_both_at_one_moment(seen: Pieces) -> None:
    book = book_of(seen)
    one, other = book.spans(GlobalId(1)), book.spans(GlobalId(2))
    expected = any(a[0] == b[0] and a[1] <= b[2] and b[1] <= a[2] for a in rows_of(one) for b in rows_of(other))
    assert one.meets(other) == other.meets(one) == expected


def test_an_empty_book_has_no_tracks() -> None:
    assert len(TrackBook(4).everything()) == 0 and TrackBook(4).camera_ids == []


def lasting_of(book: TrackBook, tracks: list[TrackKey]) -> list[int]:
    """Of pieces by name."""
    cameras, boots = CameraNumbers(), CameraNumbers()
    track_ids = np.array([track_id for *_, track_id in tracks], np.int64)
    numbers = cameras.of([camera_id for camera_id, *_ in tracks]), boots.of([boot_id for _, boot_id, _ in tracks])
    return book.lasting(*numbers, track_ids).tolist()


@given(pieces, st.integers(1, 4))
def test_what_lasts_leaves_the_book_that_everything_would(seen: Pieces, capacity: int) -> None:
    tracks = [(camera_id, "b1", track_id) for camera_id, track_id, *_ in seen]
    whole, lasting = book_of(seen, capacity), TrackBook(capacity)
    for place in lasting_of(lasting, tracks):
        _, _, start, length, person = seen[place]
        odds = Odds(place / 100, 1.0 - place / 100)
        lasting.record(tracks[place], start, start + length, GlobalId(person), odds)
    for person in (1, 2, 3):
        assert whole.tracks(GlobalId(person)) == lasting.tracks(GlobalId(person))
    assert rows_of(whole.everything()) == rows_of(lasting.everything())
    fresh = [("gate", "b2", number) for number in range(capacity)]
    for track in fresh:  # whoever was extended the longest ago makes room first
        for book in (whole, lasting):
            book.record(track, 0.0, 0.0, GlobalId(9), NONE)
        for person in (1, 2, 3):
            assert whole.tracks(GlobalId(person)) == lasting.tracks(GlobalId(person))


def test_of_a_long_history_little_lasts() -> None:
    tracks = [("gate", "b1", number // 2) for number in range(10_000)]
    assert lasting_of(TrackBook(4), tracks) == [0, *range(9_992, 10_000)]
