"""What every board of models promises, asked of the one in memory and of real servers."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest
import redis

from pipeline.adapters.model_board import FORGOTTEN_AFTER_S, MemoryModelBoard, RedisModelBoard
from pipeline.adapters.redis_bus import site_key
from pipeline.adapters.redis_server import EmbeddedRedis
from pipeline.contracts import LoadedModels, ServingModel
from pipeline.errors import Unavailable
from pipeline.interfaces import ModelBoard
from tests.fakes import HandClock

NOW = 10_000.0
SERVING = ServingModel(digest="a" * 16, since_at=NOW, previous="b" * 16)

_sites = itertools.count()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedRedis]:
    with EmbeddedRedis(tmp_path_factory.mktemp("redis")) as started:
        yield started


@pytest.fixture
def clock() -> HandClock:
    return HandClock(NOW)


@pytest.fixture(params=["memory", "server", "redis_cluster"])
def board(request: pytest.FixtureRequest, clock: HandClock) -> ModelBoard:
    if request.param == "memory":
        return MemoryModelBoard(clock.now)
    return RedisModelBoard(request.getfixturevalue(request.param).url, f"site{next(_sites)}", now=clock.now)


def loaded(embedder: str, *digests: str, reported_at: float = NOW) -> LoadedModels:
    return LoadedModels(embedder=embedder, wanted=None, digests=digests, reported_at=reported_at)


def test_nothing_is_known_before_anybody_speaks(board: ModelBoard) -> None:
    assert board.serving() is None
    assert board.reports() == []


def test_the_last_announcement_counts(board: ModelBoard) -> None:
    board.announce(ServingModel(digest="b" * 16, since_at=1.0))
    board.announce(SERVING)
    assert board.serving() == SERVING


def test_the_newest_report_of_each_embedder_is_kept_by_name(board: ModelBoard) -> None:
    board.report(loaded("second", "b" * 16))
    board.report(loaded("first"))
    board.report(loaded("first", "a" * 16, "b" * 16))
    assert board.reports() == [loaded("first", "a" * 16, "b" * 16), loaded("second", "b" * 16)]


def test_an_embedder_that_reports_no_more_is_waited_for_no_more(board: ModelBoard, clock: HandClock) -> None:
    board.report(loaded("first"))
    clock.sleep(FORGOTTEN_AFTER_S)
    board.report(loaded("second", reported_at=clock.now()))
    assert [report.embedder for report in board.reports()] == ["first", "second"]
    clock.sleep(1.0)
    assert [report.embedder for report in board.reports()] == ["second"]


@pytest.mark.parametrize("garbage", [b"", b"\x00", b"ServingModel\x0099\x00", b"ServingModel\x001\x00\xc1"])
def test_what_cannot_be_read_counts_as_not_said(server: EmbeddedRedis, clock: HandClock, garbage: bytes) -> None:
    board = RedisModelBoard(server.url, f"torn{next(_sites)}", now=clock.now)
    board.report(loaded("first"))
    client = redis.Redis.from_url(server.url)
    site = repr(board).split("{")[1].split("}")[0]
    client.hset(site_key(site, "loaded-models"), "broken", garbage)
    client.set(site_key(site, "serving-model"), garbage)
    assert board.reports() == [loaded("first")]
    assert board.serving() is None


def test_a_board_that_is_away_says_so_without_its_password() -> None:
    board = RedisModelBoard("unix:///nowhere/redis.sock?password=s3cret", "here")
    with pytest.raises(Unavailable) as caught:
        board.serving()
    assert "s3cret" not in f"{caught.value} {board!r}"
