"""The matcher among 10,000 people whom it knows: tracklets per second, and what the time goes into; how long its memory
takes to be read back, and how long it stops to learn.

With BENCH_LARGE=1 also among 100,000 people with a million tracklets (6 GB of disk, some minutes).
"""

from __future__ import annotations

import json
import os
import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
from rich.console import Console
from rich.table import Table
from sqlalchemy import update

from pipeline.adapters.clock import SystemClock
from pipeline.adapters.database import Database
from pipeline.adapters.exact_gallery import ExactGallery
from pipeline.adapters.galleries import GALLERIES
from pipeline.adapters.redis_bus import RedisBus
from pipeline.adapters.redis_server import EmbeddedRedis
from pipeline.adapters.schema import counters, embeddings, identities, tracklets
from pipeline.adapters.store import SqlStore, upgrade
from pipeline.contracts import F32, StreamName, TrackletEmbedding, pack_vector
from pipeline.gallery import Gallery
from pipeline.interfaces import Bus, Store
from pipeline.matching.learning import learn
from pipeline.matching.looks import LookPrior, straight_curves
from pipeline.matching.people import MemoryConfig, People
from pipeline.matching.recall import recall
from pipeline.matching.worker import MatcherConfig, MatcherWorker
from services.matcher import use_one_thread
from tests.bench.passers import DIGEST, passer
from tests.fakes import SetModels

DIMENSION, NEW_TRACKLETS, BATCH, CAMERAS = 512, 1920, 64, 16
PRIOR = LookPrior(0.0, 1.0 / DIMENSION**0.5, straight_curves(slope=2.5, midpoint=3.5))
CONFIG = MatcherConfig(batch_tracklets=BATCH, block_s=0.1)
MODELS = SetModels(DIGEST, looks=PRIOR)


@dataclass(frozen=True)
class Size:
    """How many are known, with how many tracklets each, and to which galleries."""

    people: int
    visits: int
    galleries: tuple[str, ...]


SIZES = [Size(10_000, 4, ("exact", "faiss"))]
if os.environ.get("BENCH_LARGE"):
    SIZES.append(Size(100_000, 10, ("exact",)))


@dataclass
class Took:
    """Seconds on the clock, and of all processors."""

    wall_s: float = 0.0
    processor_s: float = 0.0


def main(out: Path) -> None:
    """Measure each size; write `out` and print a table."""
    use_one_thread()
    results = []
    with tempfile.TemporaryDirectory() as folder, EmbeddedRedis(Path(folder) / "redis") as server:
        for size in SIZES:
            database = f"sqlite:///{folder}/known-{size.people}.db"
            looks = _unit(np.random.default_rng(1).standard_normal((size.people, DIMENSION)).astype(np.float32))
            _fill(database, looks, size)
            result = asdict(size) | _memory(database)
            for kind in size.galleries:
                bus, store = RedisBus(server.url, f"bench-{size.people}-{kind}"), SqlStore(database)
                result[kind] = _matching(kind, bus, store, looks)
                store.close()
            results.append(result)
    out.write_text(json.dumps(results, indent=1) + "\n")
    _show(results)


def _matching(kind: str, bus: RedisBus, store: SqlStore, looks: F32) -> dict[str, Any]:
    """The worker's loop over known people and strangers."""
    parts = Stopwatches()

    def open_gallery(dimension: int) -> Gallery:
        return cast(Gallery, parts.over("gallery", GALLERIES[kind](dimension)))

    timed_bus, timed_store = parts.over("bus", bus), parts.over("database", store)
    worker = MatcherWorker(cast(Bus, timed_bus), cast(Store, timed_store), open_gallery, SystemClock(), CONFIG, MODELS)
    seen = list(_passers_by(looks, start_at=1e8, boot_id=kind))
    bus.publish(StreamName.EMBEDDINGS, seen[:BATCH])
    worker.run_once()  # reads the memory back, and learns
    parts.seconds.clear()
    bus.publish(StreamName.EMBEDDINGS, seen[BATCH:])
    rounds = []
    for _ in range(len(seen) // BATCH - 1):
        with _timed() as took:
            worker.run_once()
        rounds.append(took)
    total_s = sum(each.wall_s for each in rounds)
    shares = {name: seconds / total_s for name, seconds in sorted(parts.seconds.items())}
    batch_s = statistics.median(each.wall_s for each in rounds)
    return {
        "tracklets_per_s": BATCH / batch_s,
        "processor_ms_per_tracklet": 1e3 * sum(each.processor_s for each in rounds) / len(rounds) / BATCH,
        "share_of_time": shares | {"python": 1.0 - sum(shares.values())},
        **_against_search(looks, seen, batch_s),
    }


def _against_search(looks: F32, seen: list[TrackletEmbedding], batch_s: float) -> dict[str, float]:
    """A batch of the matcher against the fastest exact search for its arrivals alone, and what the gallery misses."""
    gallery = ExactGallery(DIMENSION)
    gallery.add(np.arange(len(looks)), looks)
    queries = np.stack([np.frombuffer(each.appearance, "<f2").astype(np.float32) for each in seen[:BATCH]])
    top_k = MemoryConfig().top_k
    found, _ = gallery.nearest(queries, top_k)
    products = queries @ looks.T
    least = np.partition(products, -top_k, axis=1)[:, -top_k]
    alike = np.take_along_axis(products, found, axis=1) >= least[:, None] - 1e-5

    def whole() -> None:
        np.argpartition(queries @ looks.T, -top_k, axis=1)

    ways = {"gallery": lambda: gallery.nearest(queries, top_k), "one float32 product": whole}
    took_s = {name: min(_seconds(way) for _ in range(7)) for name, way in ways.items()}
    fastest = min(took_s, key=lambda name: took_s[name])
    return {
        "gallery_over_fastest_search": took_s["gallery"] / took_s[fastest],
        "float32_over_gallery": took_s["one float32 product"] / took_s["gallery"],
        "batch_over_fastest_search": batch_s / took_s[fastest],
        "recall": float(alike.mean()),
    }


def _memory(database: str) -> dict[str, Any]:
    """Reading it back, and what the matcher stops for when a site has taught it more."""
    store = SqlStore(database)
    people = People(ExactGallery(DIMENSION), DIMENSION, MemoryConfig(prior=PRIOR))
    with _timed() as read_back:
        recall(people, store, DIGEST)
        people.describe()
    with _timed() as learns_first:
        learn(people, {})
    with _timed() as learns:
        calibration = learn(people, {})
    with _timed() as sees_anew:
        people.calibrate(calibration)
        people.describe()
    store.close()
    took = {"read_back": read_back, "learns_first": learns_first, "learns": learns, "sees_anew": sees_anew}
    return {"rows": people.tracklets} | {name: asdict(each) for name, each in took.items()}


def _fill(database_url: str, looks: F32, size: Size) -> None:
    """As the matcher would have left it, but written at once."""
    upgrade(database_url)
    database, rng, last = Database(database_url), np.random.default_rng(2), 0
    with database.writing() as connection:
        seen = {"opened_at": 0.0, "first_seen_at": 0.0, "last_seen_at": 0.0, "tracklets": size.visits}
        connection.execute(identities.insert(), [seen | {"global_id": person + 1} for person in range(len(looks))])
    for visit in range(size.visits):
        for begin in range(0, len(looks), 10_000):
            rows = _rows(visit, begin, _near(looks[begin : begin + 10_000], rng), last)
            with database.writing() as connection:
                connection.execute(tracklets.insert(), [tracklet for tracklet, _ in rows])
                connection.execute(embeddings.insert(), [vectors for _, vectors in rows])
            last += len(rows)
    with database.writing() as connection:
        for name, value in (("global_id", size.people), ("event_id", last), ("row", last), ("published", last)):
            connection.execute(update(counters).where(counters.c.name == name).values(last=value))
    database.close()


def _rows(visit: int, begin: int, vectors: F32, last: int) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """Tracklets of some people, each a track of its own, with the rows of their vectors."""
    found = []
    for place, vector in enumerate(vectors):
        number, camera_id = last + place + 1, f"c{(7 * visit + begin + place) % CAMERAS}"
        tracklet = {
            "tracklet_id": f"{camera_id}/b1/{number}/0",
            "camera_id": camera_id,
            "boot_id": "b1",
            "track_id": number,
            "sequence": 0,
            "started_at": float(number),
            "ended_at": number + 4.0,
            "detections": 30,
            "global_id": begin + place + 1,
            "confidence": 1.0,
            "newness": float(visit == 0),
            "likeliest": float(visit > 0),
            "assigned_event": number,
        }
        packed = pack_vector(vector)
        own = {"row": number, "tracklet_id": tracklet["tracklet_id"], "model_digest": DIGEST, "quality": 0.8}
        found.append((tracklet, own | {"appearance": packed, "language": packed}))
    return found


def _passers_by(looks: F32, start_at: float, boot_id: str) -> Iterator[TrackletEmbedding]:
    """Nine in ten are known; eight are before one camera at any moment."""
    rng = np.random.default_rng(3)
    chosen = looks[rng.permutation(len(looks))[:NEW_TRACKLETS]]
    strangers = _unit(rng.standard_normal((NEW_TRACKLETS, DIMENSION)).astype(np.float32))
    is_known = rng.random(NEW_TRACKLETS) < 0.9
    for number, vector in enumerate(_near(np.where(is_known[:, None], chosen, strangers), rng)):
        yield passer(f"c{number % CAMERAS}", boot_id, number, start_at + 0.25 * (number // 8), vector)


def _near(looks: F32, rng: np.random.Generator) -> F32:
    """Vectors with a similarity of about 0.3 to others of the same person: 7 deviations above strangers."""
    noise = rng.standard_normal(looks.shape).astype(np.float32) * np.float32(1.5 / np.sqrt(DIMENSION))
    return _unit(looks + noise)


def _unit(vectors: F32) -> F32:
    unit: F32 = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return unit


class Stopwatches:
    """Seconds spent in the methods of some objects, by name."""

    def __init__(self) -> None:
        self.seconds: defaultdict[str, float] = defaultdict(float)

    def over(self, name: str, inner: object) -> object:
        return _Timed(name, inner, self)

    @contextmanager
    def running(self, name: str) -> Iterator[None]:
        started_s = time.perf_counter()
        yield
        self.seconds[name] += time.perf_counter() - started_s


class _Timed:
    def __init__(self, name: str, inner: object, watches: Stopwatches) -> None:
        self._name, self._inner, self._watches = name, inner, watches

    def __getattr__(self, name: str) -> Callable[..., Any]:
        method = getattr(self._inner, name)

        def called(*arguments: object) -> object:
            with self._watches.running(f"{self._name} {name}"):
                return method(*arguments)

        return called

    def __len__(self) -> int:
        return len(cast(Gallery, self._inner))


@contextmanager
def _timed() -> Iterator[Took]:
    took, wall_s, processor_s = Took(), time.perf_counter(), time.process_time()
    yield took
    took.wall_s, took.processor_s = time.perf_counter() - wall_s, time.process_time() - processor_s


def _seconds(way: Callable[[], object]) -> float:
    with _timed() as took:
        way()
    return took.wall_s


def _show(results: list[dict[str, Any]]) -> None:
    console = Console(width=150)
    matching = Table(title=f"matcher, batches of {BATCH}, vectors of {DIMENSION}")
    for column in ("people", "gallery", "tracklets/s", "ms of processor each", "batch / fastest search", "recall"):
        matching.add_column(column, justify="right")
    matching.add_column("where the time goes")
    memory = Table(title="its memory: seconds (of processor time)")
    for column in ("tracklets", "read back", "learns first", "learns", "sees all anew"):
        memory.add_column(column, justify="right")
    for result in results:
        for kind in result["galleries"]:
            own = result[kind]
            largest = sorted(own["share_of_time"].items(), key=lambda item: -item[1])[:4]
            matching.add_row(
                f"{result['people']:,}",
                kind,
                f"{own['tracklets_per_s']:.0f}",
                f"{own['processor_ms_per_tracklet']:.2f}",
                f"{own['batch_over_fastest_search']:.1f}",
                f"{own['recall']:.3f}",
                ", ".join(f"{name} {share:.0%}" for name, share in largest),
            )
        took = [result[name] for name in ("read_back", "learns_first", "learns", "sees_anew")]
        memory.add_row(f"{result['rows']:,}", *(f"{each['wall_s']:.1f} ({each['processor_s']:.1f})" for each in took))
    console.print(matching)
    console.print(memory)
