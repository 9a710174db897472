"""What standing queries cost beside the matcher: processor time for the same tracklets, in turns, on one database."""

from __future__ import annotations

import json
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from pipeline.adapters.clock import SystemClock
from pipeline.adapters.exact_gallery import ExactGallery
from pipeline.adapters.redis_bus import RedisBus
from pipeline.adapters.redis_server import EmbeddedRedis
from pipeline.adapters.standing_book import StandingBook
from pipeline.adapters.store import SqlStore, upgrade
from pipeline.adapters.watch_book import WatchBook
from pipeline.contracts import F32, Embeddings, GlobalId, Image, StreamName, TrackletEmbedding
from pipeline.decisions import Decision
from pipeline.matching.looks import LookPrior, straight_curves
from pipeline.matching.worker import MatcherConfig, MatcherWorker
from pipeline.search.models import SearchConfig, SearchModel
from pipeline.search.query import Calibration
from pipeline.search.standing import StandingRequest
from pipeline.search.text_calibration import TextCalibration
from pipeline.search.watching import Watcher, WatcherConfig
from tests.bench.passers import DIGEST, passer
from tests.fakes import SetModels, unit_vectors

PEOPLE, VISITS, DIMENSION = 10_000, 4, 512
BATCH, BATCHES_A_ROUND, ROUNDS = 64, 4, 8
# How many queries, and one person in how many is meant by each, with the deviations of a similarity that this takes.
# A thousand queries that mean one in a thousand each raise an alert for nearly every tracklet. Every other query denies
# a thing.
PLANS = ((1, 1000, 3.09), (100, 1000, 3.09), (1000, 10_000, 3.72), (1000, 1000, 3.09))
MODELS = SetModels(DIGEST, looks=LookPrior(0.0, 1.0 / DIMENSION**0.5, straight_curves(slope=2.5, midpoint=3.5)))


def main(out: Path) -> None:
    """Measure by plan; write `out` and print a table."""
    with tempfile.TemporaryDirectory() as folder, EmbeddedRedis(Path(folder) / "redis") as server:
        site = _Site(f"sqlite:///{folder}/site.db", RedisBus(server.url, "bench"))
        results = [site.measure(*plan) for plan in PLANS]
    out.write_text(json.dumps(results, indent=1) + "\n")
    table = Table(title=f"standing queries beside the matcher, {PEOPLE:,} people, processor time")
    for heading in ("queries", "each means one in", "matcher", "watcher", "of the matcher's", "alerts a tracklet"):
        table.add_column(heading, justify="right")
    for each in results:
        spent = (f"{each[name]:.2f} ms a tracklet" for name in ("matcher_ms", "watcher_ms"))
        asked = (f"{each['queries']:,}", f"{each['one_in']:,}")
        table.add_row(*asked, *spent, f"{each['ratio']:.1%}", f"{each['alerts_per_tracklet']:.3f}")
    Console(width=120).print(table)


class _Site:
    """Matcher and watcher on one database, and people who pass."""

    def __init__(self, url: str, bus: RedisBus) -> None:
        self._rng = np.random.default_rng(1)
        self._looks = unit_vectors(self._rng, PEOPLE, DIMENSION)
        upgrade(url)
        self._store, self._bus, clock = SqlStore(url), bus, SystemClock()
        _fill(self._store, self._looks, self._rng)
        config = MatcherConfig(batch_tracklets=BATCH)
        self._matcher = MatcherWorker(bus, self._store, ExactGallery, clock, config, MODELS)
        self._book = StandingBook(self._store.database)
        self._queries = self._rounds = 0
        self._watcher = self._watching(deviations=3.0)
        self._round()  # the matcher reads its memory back, and the model serves from here on

    def measure(self, queries: int, one_in: int, deviations: float) -> dict[str, Any]:
        """With so many queries on, of which some may be on already."""
        self._watcher = self._watching(deviations)
        for number in range(self._queries, queries):
            denied = f" without hat {number}" if number % 2 else ""  # every other one
            request = StandingRequest(f"person {number}{denied}", "bench", "bench")
            self._book.switch_on(self._book.add(request, 0.0))
        self._queries = queries
        self._round()  # hears the questions
        before = self._book.last_alert()
        spent = [self._round() for _ in range(ROUNDS)]
        tracklets = BATCH * BATCHES_A_ROUND
        return {
            "queries": queries,
            "one_in": one_in,
            "matcher_ms": 1000.0 * statistics.median(matched for matched, _ in spent) / tracklets,
            "watcher_ms": 1000.0 * statistics.median(watched for _, watched in spent) / tracklets,
            "ratio": statistics.median(watched / matched for matched, watched in spent),
            "alerts_per_tracklet": (self._book.last_alert() - before) / (tracklets * ROUNDS),
        }

    def _watching(self, deviations: float) -> Watcher:
        # As likely as not at so many deviations; what is denied is nearly never there.
        meant = TextCalibration(100.0, -100.0 * deviations / DIMENSION**0.5, 0.0, 100.0, -20.0, least=0.5)
        model = SearchModel(self._store, _Tower(), SearchConfig(meant, Calibration(100.0, 0.0, 1.0)))
        config = WatcherConfig(false_alarm_budget=0.5)
        return Watcher(WatchBook(self._store.database), lambda _: model, SystemClock(), config)

    def _round(self) -> tuple[float, float]:
        """Processor seconds of matcher and watcher for the same tracklets."""
        self._rounds += 1
        self._bus.publish(StreamName.EMBEDDINGS, _passing(self._looks, self._rng, self._rounds))
        matched_s = sum(_processor_s(self._matcher.run_once) for _ in range(BATCHES_A_ROUND))
        return matched_s, _processor_s(lambda: _watch(self._watcher))


class _Tower:
    """An encoder of sentences in directions of their own."""

    digest = DIGEST

    def embed_images(self, crops: Sequence[Image]) -> Embeddings:
        raise NotImplementedError

    def embed_texts(self, sentences: Sequence[str]) -> F32:
        seeds = [[ord(letter) for letter in sentence] for sentence in sentences]
        return np.concatenate([unit_vectors(np.random.default_rng(seed), 1, DIMENSION) for seed in seeds])


def _watch(watcher: Watcher) -> None:
    while watcher.run_once():
        pass


def _processor_s(work: Callable[[], object]) -> float:
    started_s = time.process_time()
    work()
    return time.process_time() - started_s


def _fill(store: SqlStore, looks: F32, rng: np.random.Generator) -> None:
    """Everybody was there some times, long ago."""
    for visit in range(VISITS):
        near = _near(looks, rng)
        for start in range(0, PEOPLE, 2000):
            made = [
                Decision(
                    passer(f"c{visit}", "b0", person, 1000.0 * visit + 0.1 * person, near[person]),
                    GlobalId(person + 1),
                    visit == 0,
                    1.0,
                    "known before",
                )
                for person in range(start, start + 2000)
            ]
            store.mark_published(store.commit_decisions(made, 0.0)[-1].event_id)


def _passing(looks: F32, rng: np.random.Generator, number: int) -> list[TrackletEmbedding]:
    """Known people, eight at a time, each seen twice within the round."""
    count = BATCH * BATCHES_A_ROUND
    chosen = np.tile(rng.permutation(PEOPLE)[: count // 2], 2)
    start_at = 1e6 + 1000.0 * number
    return [
        passer(f"c{place % 16}", f"b{number + 1}", place, start_at + 0.25 * (place // 8), vector)
        for place, vector in enumerate(_near(looks[chosen], rng))
    ]


def _near(looks: F32, rng: np.random.Generator) -> F32:
    noise = rng.standard_normal(looks.shape).astype(np.float32) * np.float32(0.7 / np.sqrt(DIMENSION))
    near: F32 = looks + noise
    return near / np.linalg.norm(near, axis=1, keepdims=True)
