"""Tracklets per second through the matcher with 10,000 people already known, and what the time goes into."""

from __future__ import annotations

import json
import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import numpy as np
from rich.console import Console
from rich.table import Table

from pipeline.adapters.clock import SystemClock
from pipeline.adapters.galleries import GALLERIES
from pipeline.adapters.redis_bus import RedisBus
from pipeline.adapters.redis_server import EmbeddedRedis
from pipeline.adapters.store import SqlStore, upgrade
from pipeline.contracts import F32, GlobalId, StreamName, TrackletEmbedding, pack_vector
from pipeline.decisions import Decision
from pipeline.interfaces import Bus, Gallery, Store
from pipeline.matching.looks import LookPrior, straight_curves
from pipeline.matching.worker import MatcherConfig, MatcherWorker
from tests.fakes import SetModels

PEOPLE, EXEMPLARS, DIMENSION = 10_000, 4, 512
NEW_TRACKLETS, BATCH = 1920, 64
DIGEST = "benchmark-model"
CONFIG = MatcherConfig(
    batch_tracklets=BATCH,
    block_s=0.1,
)
MODELS = SetModels(DIGEST, looks=LookPrior(0.0, 1.0 / DIMENSION**0.5, straight_curves(slope=2.5, midpoint=3.5)))


def main(out: Path) -> None:
    """Measure each kind of gallery; write `out` and print a table."""
    results = {}
    with tempfile.TemporaryDirectory() as folder, EmbeddedRedis(Path(folder) / "redis") as server:
        database = f"sqlite:///{folder}/known.db"
        looks = _unit(np.random.default_rng(1).standard_normal((PEOPLE, DIMENSION)).astype(np.float32))
        _fill(database, looks)
        for kind in ("exact", "faiss"):
            results[kind] = _measure(kind, RedisBus(server.url, f"bench-{kind}"), SqlStore(database), looks)
    out.write_text(json.dumps(results, indent=1) + "\n")
    _show(results)


def _measure(kind: str, bus: RedisBus, store: SqlStore, looks: F32) -> dict[str, Any]:
    parts = Stopwatches()

    def open_gallery(dimension: int) -> Gallery:
        return cast(Gallery, parts.over("gallery", GALLERIES[kind](dimension)))

    timed_bus, timed_store = parts.over("bus", bus), parts.over("database", store)
    worker = MatcherWorker(cast(Bus, timed_bus), cast(Store, timed_store), open_gallery, SystemClock(), CONFIG, MODELS)
    tracklets = list(_passers_by(looks, start_at=1e6, boot_id=kind))
    bus.publish(StreamName.EMBEDDINGS, tracklets[:BATCH])
    started_s = time.perf_counter()
    worker.run_once()  # reads the memory back from the database
    rebuild_s = time.perf_counter() - started_s
    parts.seconds.clear()
    bus.publish(StreamName.EMBEDDINGS, tracklets[BATCH:])
    rounds_s = []
    for _ in range((len(tracklets) - BATCH) // BATCH):
        started_s = time.perf_counter()
        worker.run_once()
        rounds_s.append(time.perf_counter() - started_s)
    total_s = sum(rounds_s)
    shares = {name: seconds / total_s for name, seconds in sorted(parts.seconds.items())}
    return {
        "tracklets_per_s": BATCH / statistics.median(rounds_s),
        "share_of_time": shares | {"python": 1.0 - sum(shares.values())},
        "rebuild_rows_per_s": PEOPLE * EXEMPLARS / rebuild_s,
        "people": PEOPLE,
        "gallery_rows": PEOPLE,
        "dimension": DIMENSION,
        "batch": BATCH,
    }


def _fill(database_url: str, looks: F32) -> None:
    upgrade(database_url)
    store = SqlStore(database_url)
    known = list(_known(looks))
    for start in range(0, len(known), 2000):
        events = store.commit_decisions(known[start : start + 2000], 0.0)
        store.mark_published(events[-1].event_id)
    store.close()


def _known(looks: F32) -> Iterator[Decision]:
    rng = np.random.default_rng(2)
    for visit in range(EXEMPLARS):
        for person, vector in enumerate(_near(looks, rng)):
            seen = _tracklet(f"c{visit}", "b1", person, float(100 * person + 1000 * visit), vector)
            yield Decision(seen, GlobalId(person + 1), visit == 0, 1.0, "known before")


def _passers_by(looks: F32, start_at: float, boot_id: str) -> Iterator[TrackletEmbedding]:
    """Nine in ten are known; eight are before one camera at any moment."""
    rng = np.random.default_rng(3)
    chosen = looks[rng.permutation(PEOPLE)[:NEW_TRACKLETS]]
    strangers = _unit(rng.standard_normal((NEW_TRACKLETS, DIMENSION)).astype(np.float32))
    is_known = rng.random(NEW_TRACKLETS) < 0.9
    for number, vector in enumerate(_near(np.where(is_known[:, None], chosen, strangers), rng)):
        yield _tracklet(f"c{number % 16}", boot_id, number, start_at + 0.25 * (number // 8), vector)


def _tracklet(camera_id: str, boot_id: str, track_id: int, started_at: float, vector: F32) -> TrackletEmbedding:
    return TrackletEmbedding(
        camera_id=camera_id,
        boot_id=boot_id,
        track_id=track_id,
        sequence=0,
        started_at=started_at,
        ended_at=started_at + 4.0,
        detections=30,
        model_digest=DIGEST,
        appearance=pack_vector(vector),
        language=pack_vector(vector),
        quality=0.8,
        crop_keys=("0" * 40,),
    )


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


def _show(results: dict[str, dict[str, Any]]) -> None:
    table = Table(title=f"matcher, {PEOPLE:,} people, {PEOPLE * EXEMPLARS:,} rows of {DIMENSION}")
    table.add_column("gallery")
    table.add_column("tracklets/s", justify="right")
    table.add_column("rebuild rows/s", justify="right")
    table.add_column("where the time goes")
    for kind, result in results.items():
        largest = sorted(result["share_of_time"].items(), key=lambda item: -item[1])[:5]
        shares = ", ".join(f"{name} {share:.0%}" for name, share in largest)
        table.add_row(kind, f"{result['tracklets_per_s']:.0f}", f"{result['rebuild_rows_per_s']:.0f}", shares)
    Console(width=150).print(table)
