"""A change of models: what the database has to be asked on a large archive, how long the matcher pauses, how fast the
archive is embedded again beside the bare encoder, and what two models cost the embedder.

The encoder is eager torch on one thread, so that the ratios are those of the loop and not of a runtime.
"""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from pipeline.adapters.blobs import FsBlobs
from pipeline.adapters.clock import SystemClock
from pipeline.adapters.crop_archive import StoredCropArchive
from pipeline.adapters.galleries import open_gallery
from pipeline.adapters.memory_bus import MemoryBus
from pipeline.adapters.schema import counters, crops, embeddings, identities, tracklets
from pipeline.adapters.store import SqlStore, upgrade
from pipeline.contracts import GlobalId, StreamName, TrackletId
from pipeline.decisions import Decision
from pipeline.embedding.crops import decode_crop
from pipeline.embedding.reembedding import READER, Reembedder, ReembedderConfig
from pipeline.interfaces import Encoder
from pipeline.kept import Position
from pipeline.matching.worker import MatcherConfig, MatcherWorker
from reid_models.inference import load_encoder
from tests.fakes import SetModels, crop, embedding, jpeg, tracklet, unit_vectors

OLD, NEW = "old-model", "new-model"
ARCHIVED, PEOPLE, DIMENSION = 100_000, 10_000, 384
REEMBEDDED, CROPS_EACH = 192, 4


class OneTarget:
    """`Targets` where one model serves and another, which is loaded, is wanted."""

    def __init__(self, encoder: Encoder) -> None:
        self._encoder = encoder

    def serving(self) -> str | None:
        return OLD

    def wanted(self) -> str | None:
        return self._encoder.digest

    def open(self, digest: str) -> Encoder:
        return self._encoder

    def let_go(self) -> None: ...


def main(out: Path) -> None:
    """Write `out` and print a table."""
    with tempfile.TemporaryDirectory() as folder:
        upgrade(url := f"sqlite:///{Path(folder) / 'large.db'}")
        store = SqlStore(url)
        _fill(store)
        results = _questions(store)
        store.close()
        results |= _reembedding(Path(folder))
    out.write_text(json.dumps(results, indent=1) + "\n")
    table = Table("what", "", title=f"change of models, {ARCHIVED:,} archived tracklets of {PEOPLE:,} people")
    for name, figure in results.items():
        table.add_row(name, f"{figure:,.3f}")
    Console().print(table)


def _questions(store: SqlStore) -> dict[str, float]:
    start = Position(float("-inf"), TrackletId(""))
    middle = Position(float(ARCHIVED // 2), TrackletId(""))
    results = {
        "first page of what is missing, CPU s": _cpu_seconds(lambda: store.missing("unknown", start, 16)),
        "page in the middle of a walk, CPU s": _cpu_seconds(lambda: store.missing("unknown", middle, 16)),
        "look that finds nothing, CPU s": _cpu_seconds(lambda: store.missing(NEW, start, 16)),
        "coverage for people, CPU s": _cpu_seconds(lambda: store.coverage(NEW)),
        "refusal of a switch, CPU s": _cpu_seconds(lambda: store.switch_model("unknown", 1, 0.0, "bench")),
        "switch, CPU s": _cpu_seconds(lambda: store.switch_model(NEW, 1, 0.0, "bench")),
    }
    models = SetModels(NEW)
    bus = MemoryBus()
    worker = MatcherWorker(
        bus, store, lambda width: open_gallery("auto", width), SystemClock(), MatcherConfig(block_s=0.0), models
    )
    seen = embedding(track_id=10**6, started_at=1e9, ended_at=1e9 + 4, digest=NEW, vector=_looks(1)[0])
    bus.publish(StreamName.EMBEDDINGS, [seen])
    results["matcher's first batch after it (memory rebuilt), CPU s"] = _cpu_seconds(worker.run_once)
    return results


def _reembedding(folder: Path) -> dict[str, float]:
    upgrade(url := f"sqlite:///{folder / 'small.db'}")
    store, blobs, bus = SqlStore(url), FsBlobs(str(folder / "blobs")), MemoryBus()
    encoder, rng = load_encoder(threads=1), np.random.default_rng(2)
    pictures = [jpeg(rng.integers(0, 255, (192, 96, 3), dtype=np.uint8)) for _ in range(REEMBEDDED * CROPS_EACH)]
    for number in range(REEMBEDDED):
        own = pictures[number * CROPS_EACH : (number + 1) * CROPS_EACH]
        for picture in own:
            blobs.put(picture)
        store.archive_tracklet(tracklet(number, *(crop(picture) for picture in own)))
        made = embedding(track_id=number, digest=OLD)
        store.commit_decisions([Decision(made, GlobalId(1), False, 0.9, "bench")], 1.0)
    config = ReembedderConfig(most_waiting=10 * REEMBEDDED)
    reembedder = Reembedder(bus, StoredCropArchive(store, blobs), OneTarget(encoder), SystemClock(), config)
    step = config.batch_tracklets * CROPS_EACH
    bare_s = loop_s = 0.0
    for start in range(0, len(pictures), step):  # in turns, so that neighbours disturb both
        part = pictures[start : start + step]
        bare_s += _seconds(lambda part=part: encoder.embed_images([decode_crop(picture) for picture in part]))
        loop_s += _seconds(reembedder.run_once)
    assert bus.backlog(StreamName.EMBEDDINGS, READER).waiting == REEMBEDDED
    store.close()
    return {
        "decode and bare encoder, crops/s": len(pictures) / bare_s,
        "archive to bus, crops/s": len(pictures) / loop_s,
        "re-embedding over bare encoder": bare_s / loop_s,
    }


def _fill(store: SqlStore) -> None:
    """Rows as archiver and matcher write them, in bulk."""
    numbers = range(ARCHIVED)
    names = [f"gate/b1/{number}/0" for number in numbers]
    plain = {"camera_id": "gate", "boot_id": "b1", "sequence": 0, "detections": 8, "confidence": 0.9}
    box = dict(zip(("x1_px", "y1_px", "x2_px", "y2_px"), (10.0, 10.0, 74.0, 202.0), strict=True))
    kept = box | {"frame_width_px": 640, "frame_height_px": 360, "score": 0.9, "sharpness": 200.0, "visibility": 1.0}
    packed = [row.astype("<f2").tobytes() for row in _looks(256)]
    with store._database.writing() as connection:
        connection.execute(
            identities.insert(),
            [
                {"global_id": 1 + n, "opened_at": 0.0, "first_seen_at": 0.0, "last_seen_at": 1.0, "tracklets": 10}
                for n in range(PEOPLE)
            ],
        )
        connection.execute(
            tracklets.insert(),
            [
                plain
                | {"tracklet_id": name, "track_id": n, "started_at": float(n), "ended_at": n + 4.0}
                | {"global_id": 1 + n % PEOPLE, "assigned_event": 1 + n}
                for n, name in enumerate(names)
            ],
        )
        connection.execute(
            crops.insert(),
            [
                kept | {"tracklet_id": name, "rank": rank, "blob_key": "0" * 40, "captured_at": 1.0}
                for name in names
                for rank in range(CROPS_EACH)
            ],
        )
        for place, digest in enumerate((OLD, NEW)):
            connection.execute(
                embeddings.insert(),
                [
                    {"row": 1 + place * ARCHIVED + n, "tracklet_id": name, "model_digest": digest, "quality": 0.8}
                    | {"appearance": packed[n % 256], "language": packed[n % 256]}
                    for n, name in enumerate(names)
                ],
            )
        for name, last in (("row", 2 * ARCHIVED), ("global_id", PEOPLE), ("event_id", ARCHIVED)):
            connection.execute(counters.update().where(counters.c.name == name).values(last=last))
    store.switch_model(OLD, 0, 0.0, "bench")


def _looks(count: int) -> np.ndarray[tuple[int, int], np.dtype[np.float32]]:
    return unit_vectors(np.random.default_rng(3), count, DIMENSION)


def _cpu_seconds(step: Callable[[], object]) -> float:
    """Of this process, in which SQLite works too: neighbours do not count."""
    started_s = time.process_time()
    step()
    return time.process_time() - started_s


def _seconds(step: Callable[[], object]) -> float:
    started_s = time.perf_counter()
    step()
    return time.perf_counter() - started_s
