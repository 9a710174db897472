"""What every status board promises, asked of the one in memory and of real servers."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator

import pytest
import redis

from pipeline.adapters.redis_bus import site_key
from pipeline.adapters.redis_server import EmbeddedRedis
from pipeline.adapters.status_board import MemoryStatusBoard, RedisStatusBoard
from pipeline.contracts import CameraId, CameraState, CameraStatus
from pipeline.errors import Unavailable
from pipeline.interfaces import StatusBoard

GATE = CameraId("gate")

NOW = 10_000.0
FORGOTTEN_AFTER_S = 3600.0

Open = Callable[[float], StatusBoard]  # by the expiry of pictures in seconds


def status(camera_id: str, people: int = 0, reported_at: float = NOW) -> CameraStatus:
    return CameraStatus(
        camera_id=camera_id,
        state=CameraState.UP,
        reported_at=reported_at,
        frame_at=reported_at - 0.1,
        width_px=640,
        height_px=360,
        analysed_fps=7.5,
        people=people,
        reconnects=0,
        detector="motion",
        address="rtsp://host/stream",
    )


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedRedis]:
    with EmbeddedRedis(tmp_path_factory.mktemp("redis")) as started:
        yield started


_sites = itertools.count()


class Hands:
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.at = NOW

    def now(self) -> float:
        return self.at


@pytest.fixture
def hands() -> Hands:
    return Hands()


@pytest.fixture(params=["memory", "server", "redis_cluster"])
def open_board(request: pytest.FixtureRequest, hands: Hands) -> Open:
    if request.param == "memory":
        return lambda expiry_s: MemoryStatusBoard(expiry_s, FORGOTTEN_AFTER_S, now=hands.now)
    url, site = request.getfixturevalue(request.param).url, f"site{next(_sites)}"
    return lambda expiry_s: RedisStatusBoard(url, site, None, expiry_s, FORGOTTEN_AFTER_S, hands.now)


@pytest.fixture
def board(open_board: Open) -> StatusBoard:
    return open_board(60.0)


def test_nothing_is_known_of_cameras_that_never_reported(board: StatusBoard) -> None:
    assert board.statuses() == []
    assert board.snapshot(GATE) is None


def test_the_newest_status_of_each_camera_is_kept_by_name(board: StatusBoard) -> None:
    board.report(status("yard"), None)
    board.report(status("gate", people=1), None)
    board.report(status("gate", people=2), None)
    assert board.statuses() == [status("gate", people=2), status("yard")]


def test_the_newest_picture_is_kept(board: StatusBoard) -> None:
    board.report(status("gate"), b"first")
    board.report(status("gate"), b"second")
    board.report(status("gate"), None)
    assert board.snapshot(GATE) == b"second"
    assert board.snapshot(CameraId("yard")) is None


def test_an_old_picture_does_not_pass_for_the_present(open_board: Open) -> None:
    board = open_board(0.05)
    board.report(status("gate"), b"picture")
    while board.snapshot(GATE) is not None:
        time.sleep(0.01)
    assert board.statuses() == [status("gate")]


def test_a_camera_that_reports_no_more_is_forgotten_and_comes_back_with_its_next_report(
    board: StatusBoard, hands: Hands
) -> None:
    board.report(status("gate"), None)
    hands.at = NOW + FORGOTTEN_AFTER_S
    board.report(status("yard", reported_at=hands.at), None)
    assert [seen.camera_id for seen in board.statuses()] == ["gate", "yard"]
    hands.at += 1.0
    assert [seen.camera_id for seen in board.statuses()] == ["yard"]
    hands.at = NOW
    assert [seen.camera_id for seen in board.statuses()] == ["yard"]  # it was deleted, not only hidden
    board.report(status("gate"), None)
    assert [seen.camera_id for seen in board.statuses()] == ["gate", "yard"]


def test_pictures_are_not_written_to_the_append_only_file(server: EmbeddedRedis) -> None:
    client = redis.Redis.from_url(server.url)
    board = RedisStatusBoard(server.url, "light")
    board.report(status("gate"), None)
    before = client.info("persistence")["aof_current_size"]
    picture = bytes(200_000)
    board.report(status("gate"), picture)
    assert board.snapshot(GATE) == picture
    assert 0 < client.info("persistence")["aof_current_size"] - before < 2_000


@pytest.mark.parametrize("garbage", [b"", b"\x00", b"CameraStatus\x0099\x00", b"CameraStatus\x001\x00\xc1"])
def test_a_status_that_cannot_be_read_hides_no_other(server: EmbeddedRedis, garbage: bytes) -> None:
    board = RedisStatusBoard(server.url, "torn", now=lambda: NOW)
    board.report(status("gate"), None)
    redis.Redis.from_url(server.url).hset(site_key("torn", "status"), "broken", garbage)
    assert board.statuses() == [status("gate")]


def test_a_board_that_is_away_says_so_without_its_password() -> None:
    board = RedisStatusBoard("unix:///nowhere/redis.sock?password=s3cret", "here")
    with pytest.raises(Unavailable) as caught:
        board.statuses()
    assert "s3cret" not in f"{caught.value} {board!r}"
