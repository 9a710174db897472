"""Crops per second from the bus to the bus, against a bare loop that decodes the same crops and runs the encoder.

The encoder is the one that an embedder would use here: the shipped bundle on the runtime that its trial chose.
"""

from __future__ import annotations

import json
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from rich.console import Console
from rich.table import Table

from pipeline.adapters.clock import SystemClock
from pipeline.adapters.redis_bus import RedisBus
from pipeline.adapters.redis_server import EmbeddedRedis
from pipeline.contracts import Crop, Image, StreamName, TrackletCrops
from pipeline.embedding.batching import BatchConfig
from pipeline.embedding.crops import decode_crop
from pipeline.embedding.worker import EmbedderConfig, EmbedderWorker
from pipeline.interfaces import Encoder
from reid_models.manifest import DEFAULT_BUNDLE
from reid_models.serving.encoder import ServedEncoder
from services.encoders import open_crop_encoder
from services.settings import Settings
from tests.fakes import SetEncoders

CROPS_PER_TRACKLET, BATCH_CROPS = 4, 32
ROUNDS, BATCHES = 6, 8
CONFIG = EmbedderConfig(batch=BatchConfig(crops=BATCH_CROPS, max_wait_s=1.0))


def main(out: Path, encoder: Encoder | None = None) -> None:
    """Measure in turns, so that other work on the machine strikes both alike; write `out` and print a table."""
    encoder = encoder or open_crop_encoder(Settings(), str(DEFAULT_BUNDLE))
    tracklets = _tracklets(BATCHES * BATCH_CROPS // CROPS_PER_TRACKLET)
    jpegs = [crop.jpeg for tracklet in tracklets for crop in tracklet.crops]
    images = [decode_crop(jpeg) for jpeg in jpegs]
    alone_s, bare_s, over_bus_s = [], [], []
    with tempfile.TemporaryDirectory() as folder, EmbeddedRedis(Path(folder) / "redis") as server:
        for number in range(ROUNDS):
            alone_s.append(_alone(encoder, images))
            bare_s.append(_bare(encoder, jpegs))
            over_bus_s.append(_over_bus(encoder, RedisBus(server.url, f"round-{number}"), tracklets))
    # The first round warms up caches and threads.
    ratios = [bare / over for bare, over in zip(bare_s[1:], over_bus_s[1:], strict=True)]
    result = {
        "encoder_crops_per_s": len(images) / statistics.median(alone_s[1:]),
        "bare_crops_per_s": len(images) / statistics.median(bare_s[1:]),
        "bus_to_bus_crops_per_s": len(images) / statistics.median(over_bus_s[1:]),
        "ratio": statistics.median(ratios),
        "ratio_worst_round": min(ratios),
        "batch_crops": BATCH_CROPS,
        "model": encoder.digest,
        "runtime": f"{encoder.images.name} {encoder.images.precision}" if isinstance(encoder, ServedEncoder) else "",
    }
    out.write_text(json.dumps(result, indent=1) + "\n")
    table = Table(title=f"embedder, batches of {BATCH_CROPS} crops, {result['runtime']}")
    for column in ("encoder, crops/s", "decode and encoder", "bus to bus", "ratio to the second", "worst round"):
        table.add_column(column, justify="right")
    table.add_row(
        f"{result['encoder_crops_per_s']:.0f}",
        f"{result['bare_crops_per_s']:.0f}",
        f"{result['bus_to_bus_crops_per_s']:.0f}",
        f"{result['ratio']:.3f}",
        f"{result['ratio_worst_round']:.3f}",
    )
    Console(width=110).print(table)


def _bare(encoder: Encoder, jpegs: Sequence[bytes]) -> float:
    started_s = time.perf_counter()
    for start in range(0, len(jpegs), BATCH_CROPS):
        encoder.embed_images([decode_crop(jpeg) for jpeg in jpegs[start : start + BATCH_CROPS]])
    return time.perf_counter() - started_s


def _alone(encoder: Encoder, images: Sequence[Image]) -> float:
    started_s = time.perf_counter()
    for start in range(0, len(images), BATCH_CROPS):
        encoder.embed_images(images[start : start + BATCH_CROPS])
    return time.perf_counter() - started_s


def _over_bus(encoder: Encoder, bus: RedisBus, tracklets: Sequence[TrackletCrops]) -> float:
    bus.publish(StreamName.CROPS, tracklets)
    with EmbedderWorker(bus, SetEncoders(encoder), SystemClock(), CONFIG) as worker:
        started_s = time.perf_counter()
        done = 0
        while done < len(tracklets):
            done += worker.run_once()
        return time.perf_counter() - started_s


def _tracklets(count: int) -> list[TrackletCrops]:
    """Tracklets with crops of about 8 KB."""
    rng = np.random.default_rng(1)
    return [
        TrackletCrops(
            camera_id="gate",
            boot_id="b1",
            track_id=number,
            sequence=0,
            started_at=float(number),
            ended_at=number + 4.0,
            sent_at=number + 4.0,
            detections=30,
            is_last=True,
            crops=tuple(_crop(rng) for _ in range(CROPS_PER_TRACKLET)),
        )
        for number in range(count)
    ]


def _crop(rng: np.random.Generator) -> Crop:
    coarse = rng.integers(0, 255, (48, 24, 3)).astype(np.uint8)
    pixels = cv2.resize(coarse, (96, 192), interpolation=cv2.INTER_CUBIC)
    return Crop(
        jpeg=cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, 90])[1].tobytes(),
        captured_at=1.0,
        box_px=(0.0, 0.0, 96.0, 192.0),
        frame_size_px=(1280, 720),
        score=0.9,
        sharpness=150.0,
        visibility=1.0,
    )
