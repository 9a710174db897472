"""The bus against `redis-benchmark` on the same server: tracklets of 4 crops of 8 KB, published and consumed.

The peer of publishing is `redis-benchmark` with one client and 32 commands in flight, each an XADD of one value as
large as a packed tracklet, by its own count. Nothing like it reads with acknowledgement, so the peers of consuming are
that same XADD and a loop on a bare socket: XREADGROUP of 64 and XACK, the answers parsed by hiredis and looked at no
further. All take turns on one embedded server with its append-only file on, synced every second: synced always, all
would measure the disk. Each ratio is the median over the rounds.
"""

from __future__ import annotations

import json
import shutil
import socket
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import hiredis
import redis
from rich.console import Console
from rich.table import Table

from pipeline.adapters.bus_rules import fields_of
from pipeline.adapters.redis_bus import RedisBus, site_key
from pipeline.adapters.redis_server import EmbeddedRedis, EmbeddedRedisConfig
from pipeline.contracts import StreamName, TrackletCrops
from tests.fakes import crop, tracklet

ROUNDS = 5
MESSAGES = 3200
PUBLISHED_AT_ONCE = 32
CONSUMED_AT_ONCE = 64
CROPS, CROP_BYTES = 4, 8192
CROPS_KEY = site_key("bench", StreamName.CROPS.value)


def main(result: Path | None = None) -> None:
    """Print the table, and write the numbers to `result`."""
    if shutil.which("redis-benchmark") is None:
        raise SystemExit("redis-benchmark is missing; `apt-get install redis-tools`")
    message = tracklet(1, *[crop(bytes([each]) * CROP_BYTES) for each in range(CROPS)])
    config = EmbeddedRedisConfig(sync="everysec")
    with tempfile.TemporaryDirectory() as folder, EmbeddedRedis(Path(folder), config) as server:
        rounds = [_round(server, message) for _ in range(ROUNDS)]
    figures = _figures(rounds)
    _show(figures, Console())
    if result is not None:
        result.write_text(json.dumps(figures, indent=2) + "\n")


def _round(server: EmbeddedRedis, message: TrackletCrops) -> dict[str, float]:
    """Messages per second of everybody, one after another."""
    client = redis.Redis.from_url(server.url)
    path = server.url.removeprefix("unix://")
    value_bytes = len(fields_of(StreamName.CROPS, message)["body"])
    bus = RedisBus(server.url, "bench")
    turns: dict[str, Callable[[], float]] = {
        "redis-benchmark XADD, 32 in flight": lambda: _redis_benchmark(path, value_bytes, 32),
        "publish": lambda: _rate(lambda: _publish(bus, message)),
        "consume and acknowledge": lambda: _rate(lambda: _consume(bus)),
        "bare socket XREADGROUP and XACK": lambda: _rate(lambda: _bare_loop(path)),
        "redis-benchmark XADD, one by one": lambda: _redis_benchmark(path, value_bytes, 1),
        "publish one by one": lambda: _rate(lambda: _publish(bus, message, at_once=1)),
    }
    rates = {}
    for name, turn in turns.items():
        if "XADD" in name or "publish" in name:
            client.flushall()
        if "bare" in name:
            client.xgroup_create(CROPS_KEY, "bare", id="0")
        rates[name] = turn()
    return rates


def _rate(work: Callable[[], None]) -> float:
    began_s = time.perf_counter()
    work()
    return MESSAGES / (time.perf_counter() - began_s)


def _redis_benchmark(path: str, value_bytes: int, in_flight: int) -> float:
    flags = ["-s", path, "-c", "1", "-P", str(in_flight), "-n", str(MESSAGES), "--csv"]
    add = ["XADD", CROPS_KEY, "*", "type", "TrackletCrops", "version", "1", "body", "x" * value_bytes]
    output = subprocess.run(["redis-benchmark", *flags, *add], check=True, capture_output=True, text=True).stdout
    return float(output.splitlines()[-1].split('","')[1])  # "the command","requests per second","latency …


def _publish(bus: RedisBus, message: TrackletCrops, at_once: int = PUBLISHED_AT_ONCE) -> None:
    for _ in range(MESSAGES // at_once):
        bus.publish(StreamName.CROPS, [message] * at_once)


def _consume(bus: RedisBus) -> None:
    left = MESSAGES
    while left:
        deliveries = bus.consume(StreamName.CROPS, "embedder", "one", CONSUMED_AT_ONCE, 1.0)
        bus.acknowledge(deliveries, "embedder")
        left -= len(deliveries)


def _bare_loop(path: str) -> None:
    read = ("XREADGROUP", "GROUP", "bare", "one", "COUNT", CONSUMED_AT_ONCE, "STREAMS", CROPS_KEY, ">")
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(path)
        reader = hiredis.Reader()

        def ask(*words: str | int | bytes) -> object:
            connection.sendall(hiredis.pack_command(words))
            while (answer := reader.gets()) is False:
                reader.feed(connection.recv(1 << 20))
            return answer

        left = MESSAGES
        while left:
            ((_, entries),) = ask(*read)
            ask("XACK", CROPS_KEY, "bare", *(entry_id for entry_id, _ in entries))
            left -= len(entries)


def _figures(rounds: list[dict[str, float]]) -> dict[str, float]:
    def ratio(ours: str, peer: str) -> float:
        return statistics.median(each[ours] / each[peer] for each in rounds)

    return {
        "publish / redis-benchmark": ratio("publish", "redis-benchmark XADD, 32 in flight"),
        "consume / redis-benchmark": ratio("consume and acknowledge", "redis-benchmark XADD, 32 in flight"),
        "consume / bare socket": ratio("consume and acknowledge", "bare socket XREADGROUP and XACK"),
        "publish one by one / redis-benchmark one by one": ratio(
            "publish one by one", "redis-benchmark XADD, one by one"
        ),
        **{f"{name} (1/s)": statistics.median(each[name] for each in rounds) for name in rounds[0]},
    }


def _show(figures: dict[str, float], console: Console) -> None:
    table = Table("bus: tracklets of 4 crops of 8 KB", "median", box=None)
    for name, value in figures.items():
        table.add_row(name, f"{value:.0f}" if name.endswith("(1/s)") else f"{value:.2f}")
    console.print(table)


if __name__ == "__main__":
    main()
