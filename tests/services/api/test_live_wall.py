"""Whoever watches, and however many: the board is asked as often as one of them would ask."""

from __future__ import annotations

from collections.abc import Collection

import pytest

from pipeline.adapters.status_board import MemoryStatusBoard
from pipeline.adapters.track_names import Track
from pipeline.contracts import CameraId, CameraStatus, GlobalId, TrackInView
from pipeline.errors import Unavailable
from services.api.live_wall import LiveWall
from tests.fakes import HandClock
from tests.small_site import NOW, camera_status

LOBBY = CameraId("lobby")
BOX = (0.1, 0.2, 0.3, 0.9)


class CountingBoard(MemoryStatusBoard):
    """Counts what it is asked, and may be away."""

    def __init__(self) -> None:
        super().__init__(now=lambda: NOW)
        self.asked = 0
        self.is_away = False

    def statuses(self) -> list[CameraStatus]:
        self._answer()
        return super().statuses()

    def snapshot(self, camera_id: CameraId) -> bytes | None:
        self._answer()
        return super().snapshot(camera_id)

    def _answer(self) -> None:
        self.asked += 1
        if self.is_away:
            raise Unavailable("redis does not answer")


class Register:
    """`Names` by a table."""

    def __init__(self, known: dict[int, int]) -> None:
        self.known = known
        self.is_away = False

    def names(self, tracks: Collection[Track], since_at: float) -> dict[Track, GlobalId]:
        if self.is_away:
            raise Unavailable("the database does not answer")
        return {track: GlobalId(self.known[track.track_id]) for track in tracks if track.track_id in self.known}


@pytest.fixture
def clock() -> HandClock:
    return HandClock(NOW)


@pytest.fixture
def board() -> CountingBoard:
    board = CountingBoard()
    report(board, 0.0, b"first", track_id=7)
    return board


@pytest.fixture
def register() -> Register:
    return Register({7: 12})


@pytest.fixture
def wall(board: CountingBoard, register: Register, clock: HandClock) -> LiveWall:
    return LiveWall(board, register, clock, pause_s=0.5)


def report(board: CountingBoard, after_s: float, picture: bytes | None, track_id: int) -> None:
    seen = TrackInView(track_id=track_id, box=BOX)
    changes = {"reported_at": NOW + after_s, "boot_id": "b1", "in_view": (seen,)}
    board.report(camera_status("lobby").model_copy(update=changes), picture)


def test_a_thousand_who_watch_cost_the_board_what_one_costs(
    wall: LiveWall, board: CountingBoard, clock: HandClock
) -> None:
    for _ in range(4):
        for _ in range(1000):
            wall.views()
            assert wall.snapshot(LOBBY) == b"first"
        clock.sleep(0.5)
    assert board.asked == 4 * 2


def test_the_track_is_named_and_one_without_an_identity_is_new(
    wall: LiveWall, board: CountingBoard, clock: HandClock
) -> None:
    (view,) = wall.views()
    assert [(person.box, person.global_id) for person in view.people] == [(BOX, 12)]
    report(board, 1.0, b"second", track_id=8)
    clock.sleep(1.0)
    (view,) = wall.views()
    assert [person.global_id for person in view.people] == [None]


def test_boxes_of_the_report_before_get_the_picture_of_the_report_before(
    wall: LiveWall, board: CountingBoard, clock: HandClock
) -> None:
    wall.snapshot(LOBBY)
    report(board, 1.0, b"second", track_id=7)
    clock.sleep(1.0)
    assert wall.snapshot(LOBBY, NOW) == b"first"
    assert wall.snapshot(LOBBY, NOW + 1.0) == wall.snapshot(LOBBY) == wall.snapshot(LOBBY, 5.0) == b"second"


def test_pictures_that_nobody_watches_are_fetched_no_more(
    wall: LiveWall, board: CountingBoard, clock: HandClock
) -> None:
    wall.snapshot(LOBBY)
    clock.sleep(30.0)
    wall.views()
    before = board.asked
    clock.sleep(1.0)
    wall.views()
    assert board.asked == before + 1


def test_nothing_is_asked_for_a_camera_that_does_not_report(wall: LiveWall, board: CountingBoard) -> None:
    wall.views()
    assert wall.snapshot(CameraId("attic")) is None and board.asked == 1


def test_a_board_that_is_away_is_asked_once_in_a_pause_and_its_return_is_seen(
    wall: LiveWall, board: CountingBoard, clock: HandClock
) -> None:
    board.is_away = True
    for _ in range(5):
        with pytest.raises(Unavailable, match="does not answer"):
            wall.views()
    assert board.asked == 1
    board.is_away = False
    clock.sleep(0.5)
    assert len(wall.views()) == 1


def test_pictures_need_no_database(wall: LiveWall, register: Register) -> None:
    register.is_away = True
    (view,) = wall.views()
    assert [person.global_id for person in view.people] == [None] and wall.snapshot(LOBBY) == b"first"
