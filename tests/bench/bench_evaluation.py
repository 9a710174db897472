"""Scoring 3,368 queries in a gallery of 19,732 (the size of Market-1501) against the matrix product alone.

If torchreid can be found (`pip download --no-deps torchreid`, unpacked and put on PYTHONPATH), its Python scoring runs
beside ours and must find the same mean average precision; its package index release brings no Cython source.
"""

from __future__ import annotations

import importlib.util
import json
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
from rich.console import Console
from rich.table import Table

from reid_models.evaluation import F32, I64, score_image_features

QUERIES, GALLERY, DIMENSION, PEOPLE, CAMERAS = 3_368, 19_732, 512, 751, 6
ROUNDS = 3
SAMPLED = 8  # torchreid, which is slow, scores every eighth query


def main(out: Path) -> None:
    """Measure in turns; write `out` and print a table. Each figure is the best of its rounds."""
    rng = np.random.default_rng(1)
    query, gallery = (rng.standard_normal((count, DIMENSION), np.float32) for count in (QUERIES, GALLERY))
    query /= np.linalg.norm(query, axis=1, keepdims=True)
    gallery /= np.linalg.norm(gallery, axis=1, keepdims=True)
    ids, gallery_ids = (rng.integers(0, PEOPLE, count) for count in (QUERIES, GALLERY))
    cameras, gallery_cameras = (rng.integers(0, CAMERAS, count) for count in (QUERIES, GALLERY))
    labels = (ids, cameras, gallery_ids, gallery_cameras)

    before_mb = _peak_mb()
    score_image_features(query, gallery, *labels)
    grown_mb = _peak_mb() - before_mb

    works: dict[str, Callable[[], object]] = {
        "product": lambda: query @ gallery.T,
        "ours": lambda: score_image_features(query, gallery, *labels),
    }
    peer = _torchreid_rank()
    if peer is not None:
        works["torchreid"] = lambda: _peer_scores(peer, query, gallery, labels)
        ours = score_image_features(query[::SAMPLED], gallery, ids[::SAMPLED], cameras[::SAMPLED], *labels[2:])
        theirs = _peer_scores(peer, query, gallery, labels)
        assert abs(theirs - ours.mean_average_precision) < 1e-4, (theirs, ours)
    rounds = [{name: _seconds(work) for name, work in works.items()} for _ in range(ROUNDS)]
    best_s = {name: min(each[name] for each in rounds) for name in works}
    if peer is not None:
        best_s["torchreid"] *= SAMPLED
    result = {
        "seconds": best_s,
        "ours_over_product": best_s["ours"] / best_s["product"],
        "torchreid_over_ours": best_s["torchreid"] / best_s["ours"] if peer is not None else None,
        "memory_grown_mb": grown_mb,
        "whole_matrix_mb": QUERIES * GALLERY * 4 / 1e6,
    }
    out.write_text(json.dumps(result, indent=1) + "\n")
    table = Table("ours / product", "torchreid / ours", "memory / whole matrix", title="evaluation")
    slower = "not installed" if peer is None else f"{result['torchreid_over_ours']:.1f}"
    table.add_row(f"{result['ours_over_product']:.2f}", slower, f"{grown_mb / result['whole_matrix_mb']:.2f}")
    Console().print(table)


def _torchreid_rank() -> ModuleType | None:
    """The one module that scores."""
    package = importlib.util.find_spec("torchreid")
    if package is None or package.origin is None:
        return None
    path = Path(package.origin).parent / "reid" / "metrics" / "rank.py"
    spec = importlib.util.spec_from_file_location("torchreid_rank", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    # Without this the module looks for its Cython twin through the package, which loads a whole training stack.
    sys.modules["torchreid"] = None  # type: ignore[assignment]
    spec.loader.exec_module(module)
    return module


def _peer_scores(peer: ModuleType, query: F32, gallery: F32, labels: tuple[I64, I64, I64, I64]) -> float:
    """Mean average precision of the sampled queries."""
    ids, cameras, gallery_ids, gallery_cameras = labels
    distances = 1 - query[::SAMPLED] @ gallery.T
    _, found = peer.evaluate_py(
        distances, ids[::SAMPLED], gallery_ids, cameras[::SAMPLED], gallery_cameras, 50, use_metric_cuhk03=False
    )
    return float(found)


def _peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3


def _seconds(work: Callable[[], object]) -> float:
    started_s = time.perf_counter()
    work()
    return time.perf_counter() - started_s
