"""The two galleries against each other: the nearest 64 of 10,000 and 100,000 vectors, for one query and for 64.

Threads of both are spun up by OMP_NUM_THREADS; set it to 1 on a machine with neighbours, whom two threads wait for.
"""

from __future__ import annotations

import json
import time
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from pipeline.adapters.galleries import open_gallery
from pipeline.contracts import F32
from pipeline.gallery import Gallery

DIMENSION, TOP_K, ROUNDS = 512, 64, 5
SIZES, BATCHES = (10_000, 100_000), (1, 64)


def main(out: Path) -> None:
    """Write `out` and print a table; each figure is the best of a few interleaved rounds."""
    rng = np.random.default_rng(1)
    results = []
    for size in SIZES:
        vectors = rng.standard_normal((size, DIMENSION)).astype(np.float32)
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        galleries = {kind: open_gallery(kind, DIMENSION) for kind in ("exact", "faiss")}
        for gallery in galleries.values():
            gallery.add(np.arange(size), vectors)
        for batch in BATCHES:
            rounds = [{k: _seconds(g, vectors[:batch]) for k, g in galleries.items()} for _ in range(ROUNDS)]
            best = {kind: min(each[kind] for each in rounds) for kind in galleries}
            ratio = best["faiss"] / best["exact"]
            results.append({"vectors": size, "batch": batch, "seconds": best, "faiss_over_exact": ratio})
    out.write_text(json.dumps(results, indent=1) + "\n")
    table = Table("vectors", "batch", "FAISS takes … times as long", title="gallery")
    for row in results:
        table.add_row(f"{row['vectors']:,}", str(row["batch"]), f"{row['faiss_over_exact']:.2f}")
    Console().print(table)


def _seconds(gallery: Gallery, queries: F32) -> float:
    started_s = time.perf_counter()
    gallery.nearest(queries, TOP_K)
    return time.perf_counter() - started_s
