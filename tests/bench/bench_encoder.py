"""`embed_images` (crops of any size in, unit vectors out) against the bare model loop on the same ready batch."""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from reid_models.inference import load_encoder

BATCH_CROPS = 32
ROUNDS, REPEATS = 8, 6


def main(out: Path) -> None:
    """Measure in turns, so that other work on the machine strikes both alike; write `out` and print a table."""
    encoder = load_encoder()
    rng = np.random.default_rng(0)
    sizes = rng.integers((80, 35), (260, 110), (BATCH_CROPS, 2))
    crops = [rng.integers(0, 256, (height, width, 3), np.uint8) for height, width in sizes]
    ready = encoder.ready_batch(crops)
    whole_s, bare_s = [], []
    for _ in range(ROUNDS):
        bare_s.append(_seconds(lambda: encoder.embed_batch(ready)))
        whole_s.append(_seconds(lambda: encoder.embed_images(crops)))
    # The first round warms up caches and threads.
    ratios = [bare / whole for bare, whole in zip(bare_s[1:], whole_s[1:], strict=True)]
    result = {
        "bare_crops_per_s": BATCH_CROPS / statistics.median(bare_s[1:]),
        "embed_images_crops_per_s": BATCH_CROPS / statistics.median(whole_s[1:]),
        "ratio": statistics.median(ratios),
        "batch_crops": BATCH_CROPS,
        "model": encoder.digest,
    }
    out.write_text(json.dumps(result, indent=1) + "\n")
    table = Table(title=f"encoder, batches of {BATCH_CROPS} crops")
    for column in ("bare model, crops/s", "embed_images, crops/s", "ratio (median)"):
        table.add_column(column, justify="right")
    table.add_row(
        f"{result['bare_crops_per_s']:.0f}", f"{result['embed_images_crops_per_s']:.0f}", f"{result['ratio']:.3f}"
    )
    Console().print(table)


def _seconds(work: Callable[[], object]) -> float:
    """Median seconds of one call."""
    taken = []
    for _ in range(REPEATS):
        started = time.perf_counter()
        work()
        taken.append(time.perf_counter() - started)
    return statistics.median(taken)
