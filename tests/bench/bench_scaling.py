"""What one camera, one tracklet and a million vectors cost: the figures that `docs/scaling.md` reckons with.

The whole system runs once with a few 1080p cameras at 5 analysed frames per second (the clips of the capacity bench),
and what it used is divided by cameras and tracklets: processor seconds and memory from the kernel, bytes from the
server, the database and the disk. Vectors are measured by the hundred thousand. Processor seconds count, not how long
it took, so that a machine with neighbours gives nearly the same figures.
"""

from __future__ import annotations

import importlib
import json
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import redis
from rich.console import Console
from rich.table import Table

from pipeline.adapters.bus_rules import GROUPS
from pipeline.adapters.galleries import open_gallery
from pipeline.adapters.redis_bus import RedisBus
from pipeline.adapters.redis_server import EmbeddedRedis
from pipeline.adapters.status_board import RedisStatusBoard
from pipeline.adapters.store import SqlStore, upgrade
from pipeline.contracts import F32, CameraState, CameraStatus, GlobalId, StreamName
from pipeline.decisions import Decision
from services.evaluation.system import drained
from services.runtime import open_store
from services.up import RunningSystem, running_system
from tests.bench.bench_capacity import camera_settings, frames_so_far
from tests.bench.capacity.clips import make_clips
from tests.bench.capacity.processors import memory_by_stage, used_by_stage
from tests.fakes import crop, embedding, tracklet
from tests.postgresql_server import PostgresqlServer, programs

CAMERAS = int(os.environ.get("BENCH_CAMERAS", "2"))
CLIP_S = 10
WINDOW_S = float(os.environ.get("BENCH_WINDOW_S", "40"))
SETTLE_S = 8.0
VECTORS, DIMENSION, QUERIES, TOP_K = 100_000, 512, 64, 32
STORED = 20_000  # tracklets written to each kind of database

ASKED, CROP_BYTES, PICTURE_BYTES = 2000, 4096, 10_000
STATUS = CameraStatus(
    camera_id="gate",
    state=CameraState.UP,
    reported_at=0.0,
    frame_at=0.0,
    width_px=1920,
    height_px=1080,
    analysed_fps=5.0,
    people=5,
    reconnects=0,
    detector="person-nano",
    address="rtsp://camera/stream",
)

Figures = dict[str, Any]


def main(out: Path) -> None:
    """Measure, write `out` and print tables."""
    with tempfile.TemporaryDirectory(prefix="sightline-scaling-") as folder:
        result = {
            "site": _site(Path(folder)),
            "server": _server(Path(folder) / "server"),
            "galleries": {kind: _gallery(kind) for kind in ("exact", "faiss")},
            "databases": dict(_databases(Path(folder))),
        }
    out.write_text(json.dumps(result, indent=1) + "\n")
    for title, figures in result.items():
        table = Table("what", "figure", title=title)
        for name, value in _flat(figures):
            table.add_row(name, f"{value:,.4g}")
        Console().print(table)


def _site(folder: Path) -> Figures:
    settings = camera_settings(folder / "data", make_clips(folder, CAMERAS, CLIP_S))
    with running_system(settings) as system:
        if not system.supervisor.wait_until_ready(300, lambda _: None):
            raise RuntimeError(f"the services did not start; see {folder / 'data' / 'run'}")
        time.sleep(SETTLE_S)
        used, held, before, began_s = used_by_stage(os.getpid()), _held(system), _frames(system), time.monotonic()
        while time.monotonic() < began_s + WINDOW_S:
            system.supervisor.poll()
            time.sleep(0.5)
        lasted_s = time.monotonic() - began_s
        memory = memory_by_stage(os.getpid())
        decoded, analysed = (now - then for now, then in zip(_frames(system), before, strict=True))
        used_s = {stage: seconds - used.get(stage, 0.0) for stage, seconds in used_by_stage(os.getpid()).items()}
        system.supervisor.stop("camera")
        drained(system, 30.0)
        now = _held(system)
        system.supervisor.stop()
    grown = {name: now[name] - held[name] for name in now}
    tracklets = grown.pop("tracklets")
    unlogged = grown["to redis"] - grown["append-only file"]
    return {
        "cameras": CAMERAS,
        "decoded frames per camera and second": decoded / lasted_s / CAMERAS,
        "analysed frames per camera and second": analysed / lasted_s / CAMERAS,
        "tracklets per camera and minute": 60.0 * tracklets / lasted_s / CAMERAS,
        "processor ms": {
            "decode, of a frame": 1000.0 * used_s["decode"] / decoded,
            "detect and track, of an analysed frame": 1000.0 * used_s["detect and track"] / analysed,
            **{
                f"{stage}, of a tracklet": 1000.0 * used_s[stage] / tracklets
                for stage in ("embed", "archive", "match", "redis")
            },
        },
        "memory, MB": {stage: held_bytes / 1e6 for stage, held_bytes in memory.items()},
        "bytes of a tracklet": {name: grew / tracklets for name, grew in grown.items()},
        "bytes of statuses and pictures per camera and second": unlogged / lasted_s / CAMERAS,
    }


def _frames(system: RunningSystem) -> tuple[float, float]:
    """Decoded and analysed so far, of all cameras."""
    found = frames_so_far(system)
    return (
        sum(found["sightline_frames_in_total"].values()),
        sum(found["sightline_frames_analysed_total"].values()),
    )


def _held(system: RunningSystem) -> dict[str, float]:
    """Bytes so far by where they are or went, and tracklets with an identity."""
    assert system.settings.redis_url is not None
    with redis.Redis.from_url(system.settings.redis_url.get_secret_value()) as client:
        seen = client.info("stats") | client.info("persistence")
    store = open_store(system.settings)
    tracklets = store.counts().tracklets
    store.close()
    folder = system.settings.data_dir
    return {
        "tracklets": tracklets,
        "to redis": seen["total_net_input_bytes"],
        "from redis": seen["total_net_output_bytes"],
        "append-only file": seen["aof_current_size"],
        "crops": _bytes_below(folder / "blobs"),
    }


def _bytes_below(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _server(folder: Path) -> Figures:
    """Processor time of the embedded server itself, for what cameras and tracklets ask of it."""
    with EmbeddedRedis(folder) as server, redis.Redis.from_url(server.url) as client:
        bus, board = RedisBus(server.url, "bench"), RedisStatusBoard(server.url, "bench")
        seen = tracklet(1, *[crop(bytes(CROP_BYTES))] * 4)

        def used_s() -> float:
            account = client.info("cpu")
            return float(account["used_cpu_sys"] + account["used_cpu_user"])

        began_s = used_s()
        for _ in range(ASKED):
            board.report(STATUS, bytes(PICTURE_BYTES))
        statuses_s = used_s() - began_s
        began_s = used_s()
        for _ in range(ASKED):
            bus.publish(StreamName.CROPS, [seen])
            for group in GROUPS[StreamName.CROPS]:
                bus.acknowledge(bus.consume(StreamName.CROPS, group, "one", 16, 0.0), group)
        bus.trim()
        tracklets_s = used_s() - began_s
        bus.close()
        board.close()
    return {
        "processor ms of a status with its picture": 1000.0 * statuses_s / ASKED,
        "processor ms of a tracklet, sent one by one and read by two groups": 1000.0 * tracklets_s / ASKED,
    }


def _gallery(kind: str) -> Figures:
    importlib.import_module("torch")  # what it takes by itself is no part of a vector
    rng = np.random.default_rng(1)
    gallery, before = open_gallery(kind, DIMENSION), _resident_bytes()
    for start in range(0, VECTORS, 4096):
        rows = np.arange(start, min(start + 4096, VECTORS))
        gallery.add(rows, _units(rng, len(rows)))
    questions = _units(rng, QUERIES)
    return {
        "bytes of a vector": (_resident_bytes() - before) / VECTORS,
        "ms of a question among 100,000, asked alone": 1000.0 * _used_s(lambda: gallery.nearest(questions[:1], TOP_K)),
        "ms of a question among 100,000, 64 together": 1000.0
        / QUERIES
        * _used_s(lambda: gallery.nearest(questions, TOP_K)),
    }


def _databases(folder: Path) -> Iterator[tuple[str, Figures]]:
    file = folder / "sightline.db"
    yield "SQLite", _stored(f"sqlite:///{file}", lambda: file.stat().st_size)
    found = programs()
    if found is not None:
        with PostgresqlServer(found) as server:
            yield "PostgreSQL", _stored(server.new_database(), server.size_bytes)


def _stored(url: str, size_bytes: Callable[[], int]) -> Figures:
    """Tracklets in micro-batches of 64, each with two vectors; processor time is that of this process alone."""
    upgrade(url)
    store, rng, before = SqlStore(url), np.random.default_rng(2), size_bytes()
    batches = [
        [
            Decision(embedding(f"c{row % 16}", row, vector=vector), GlobalId(1 + row // 4), row % 4 == 0, 0.9, "test")
            for row, vector in enumerate(_units(rng, 64), start=start)
        ]
        for start in range(0, STORED, 64)
    ]
    with _timed() as committing:
        for batch in batches:
            store.mark_published(store.commit_decisions(batch, 0.0)[-1].event_id)
    grown = size_bytes() - before
    with _timed() as reading:
        position = 0
        while (page := store.decided(batches[0][0].embedding.model_digest, position, 4096))[0].tracklet_ids:
            position = page[1]
    store.close()
    written = 64 * len(batches)
    return {
        "bytes of a tracklet with two vectors": grown / written,
        "ms to commit a tracklet": 1000.0 * committing[0] / written,
        "s to read a million vectors": 1e6 * reading[0] / written,
    }


@contextmanager
def _timed() -> Iterator[list[float]]:
    """Processor seconds of this process within the block."""
    used, began_s = [0.0], time.process_time()
    yield used
    used[0] = time.process_time() - began_s


def _used_s(call: Callable[[], object], rounds: int = 5) -> float:
    found = []
    for _ in range(rounds):
        with _timed() as used:
            call()
        found.append(used[0])
    return min(found)


def _units(rng: np.random.Generator, count: int) -> F32:
    vectors = rng.standard_normal((count, DIMENSION)).astype(np.float32)
    unit: F32 = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return unit


def _resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def _flat(figures: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, float]]:
    for name, value in figures.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{above}{name}: ")
        else:
            yield f"{above}{name}", value
