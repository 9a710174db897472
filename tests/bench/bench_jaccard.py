"""Jaccard distances and clusters of 13,000 and 65,000 features against the bare search for neighbours.

The bare search is a chunked matrix product with its `topk`, on a share of the rows before and after the distances. Each
size has a process of its own, so that its peak memory can be read.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from reid_models.jaccard import JaccardConfig, jaccard_distances, nearest
from reid_models.pseudo_labels import cluster

SIZES, DIMENSION, IMAGES_PER_PERSON = (13_000, 65_000), 512, 17
EPSILON, LEAST_SAMPLES = 0.6, 4
SAMPLED = 8  # the bare search runs on every eighth row


def main(out: Path) -> None:
    """Write `out` and print a table."""
    results = []
    for size in SIZES:
        code = f"from tests.bench.bench_jaccard import measure; measure({size})"
        output = subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.PIPE, text=True).stdout
        results.append(json.loads(output))
    out.write_text(json.dumps(results, indent=1) + "\n")
    table = Table("features", "distances / bare search", "with DBSCAN", "peak memory, GB", title="Jaccard")
    for row in results:
        ratios = (f"{row[name]:.2f}" for name in ("distances_over_search", "clusters_over_search", "peak_gb"))
        table.add_row(f"{row['features']:,}", *ratios)
    Console().print(table)


def measure(size: int) -> None:
    """Print one JSON object: times, their ratios and the peak memory of this process."""
    rng = np.random.default_rng(1)
    people = rng.standard_normal((size // IMAGES_PER_PERSON, DIMENSION), np.float32)
    features = people[rng.integers(0, len(people), size)] + rng.standard_normal((size, DIMENSION), np.float32)
    features /= np.linalg.norm(features, axis=1, keepdims=True)
    config = JaccardConfig()

    def search_s() -> float:
        started_s = time.perf_counter()
        nearest(features[::SAMPLED], features, config.k1 + 1)
        return SAMPLED * (time.perf_counter() - started_s)

    before_s = search_s()
    started_s = time.perf_counter()
    distances = jaccard_distances(features, config, largest_kept=EPSILON)
    distances_s = time.perf_counter() - started_s
    labels = cluster(distances, EPSILON, LEAST_SAMPLES)
    clusters_s = time.perf_counter() - started_s
    bare_s = (before_s + search_s()) / 2
    result = {
        "features": size,
        "search_s": bare_s,
        "distances_s": distances_s,
        "clusters_s": clusters_s,
        "distances_over_search": distances_s / bare_s,
        "clusters_over_search": clusters_s / bare_s,
        "peak_gb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6,
        "distances_per_row": distances.nnz / size,
        "clusters": int(labels.max()) + 1,
    }
    sys.stdout.write(json.dumps(result))
