"""Every runtime and precision for two towers: crops/s beside eager torch in float32, and beside the matrix rate.

`sightline-small`, and a ViT-B/16 for 256x128 crops whose weights are random (its speed does not depend on them). All in
processes of their own that take turns. The matrix rate is that of torch's product of 2048x2048 matrices in the same
precision on the same threads (8192 on CUDA), measured in the same rounds.
"""

from __future__ import annotations

import json
import statistics
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import onnx
import pytest
from rich.console import Console
from rich.table import Table

from pipeline.contracts import Embeddings
from pipeline.runtimes.machine import CACHE_VARIABLE, has_cuda, processor_precisions, usable_cores
from pipeline.runtimes.trial import LEAST_SIMILARITY, Candidate
from reid_models.manifest import DEFAULT_BUNDLE, read_manifest
from reid_models.serving.artefacts import artefacts_of
from reid_models.serving.opening import export_if_missing
from reid_models.serving.quantising import measure_ranges, write_ranges
from reid_models.serving.trial import REFERENCE, least_similarity, usual_candidates
from services.probe_crops import probe_crops
from tests.bench.turns import Player, ratio, take_turns

_DEVICE = "cuda" if has_cuda() else "cpu"


@dataclass(frozen=True, slots=True)
class Row:
    """One candidate."""

    candidate: str
    crops_per_s: float | None
    times_torch_fp32: float | None
    matrix_share: float | None  # of the rate of products of matrices in this precision
    similarity: float | None
    is_admitted: bool
    problem: str


def main(out: Path) -> None:
    """Write `out` and print a table for each tower."""
    results: dict[str, object] = {}
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setenv(CACHE_VARIABLE, str(Path(folder) / "cache"))
        vit = vit_bundle(Path(folder) / "vit")
        for name, bundle, batch, rounds in (("sightline-small", DEFAULT_BUNDLE, 32, 6), ("ViT-B/16", vit, 16, 3)):
            rows, gflop = measure(bundle, Path(folder), batch, rounds)
            results[name] = {"gflop_per_crop": gflop, "batch_crops": batch, "rows": [asdict(row) for row in rows]}
            show(name, rows, gflop)
            out.write_text(json.dumps({"device": _DEVICE, "threads": usable_cores(), **results}, indent=1) + "\n")


def vit_bundle(folder: Path) -> Path:
    """ViT-B/16 for 256x128 crops with random weights; made in a child, which loads torch."""
    import subprocess
    import sys

    subprocess.run([sys.executable, "-m", "tests.bench.random_vit", str(folder)], check=True)
    return folder


def measure(bundle: Path, folder: Path, batch: int, rounds: int) -> tuple[list[Row], float]:
    """Rows of all candidates, the reference first, and the operations of one crop in units of 10⁹."""
    size, files = read_manifest(bundle).input, artefacts_of(bundle)
    export_if_missing(bundle, files)
    crops = probe_crops(size.height_px, size.width_px)
    if files.ranges() is None:  # enough for a speed; what int8 is worth in accuracy is for photographs to say
        write_ranges(files.own_ranges, measure_ranges(files, crops))
    np.save(folder / "probe.npy", crops[:batch])
    threads, gflop = usable_cores(), operations(files.network) / 1e9
    candidates = (REFERENCE, *usual_candidates(_DEVICE))
    vectors = {candidate: folder / f"{candidate.runtime}-{candidate.precision}.npz" for candidate in candidates}
    players = {
        str(candidate): Player(
            "tests.bench.play_encoder",
            ["encoder", str(bundle), candidate.runtime, candidate.precision, str(threads), _DEVICE,
             str(folder / "probe.npy"), str(vectors[candidate])],
            threads,
        )
        for candidate in candidates
    }  # fmt: skip
    precisions = sorted({candidate.precision for candidate in candidates} & ({*processor_precisions(), "fp32", "int8"}))
    matrices = {
        f"matrices {precision}": Player(
            "tests.bench.play_encoder", ["matrices", precision, str(threads), _DEVICE], threads
        )
        for precision in precisions
    }
    take_turns(players | matrices, rounds)
    truth = _read(vectors[REFERENCE])
    return [
        _row(candidate, players, matrices, gflop * 1e9, vectors[candidate], truth) for candidate in candidates
    ], gflop


def operations(network: Path) -> float:
    """Multiplications and additions of one crop in convolutions and products of matrices."""
    model = onnx.load(network)
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 1
    graph = onnx.shape_inference.infer_shapes(model, data_prop=True).graph
    shapes = {
        value.name: [dim.dim_value for dim in value.type.tensor_type.shape.dim]
        for value in (*graph.value_info, *graph.output)
    } | {tensor.name: list(tensor.dims) for tensor in graph.initializer}
    total = 0.0
    for node in graph.node:
        if node.op_type == "Conv":
            total += 2 * np.prod(shapes[node.output[0]]) * np.prod(shapes[node.input[1]][1:])
        elif node.op_type in ("MatMul", "Gemm"):
            depth = shapes[node.input[0]][-1]
            total += 2 * np.prod(shapes[node.output[0]]) * depth
    return float(total)


def show(name: str, rows: Sequence[Row], gflop: float) -> None:
    table = Table(title=f"{name}, {gflop:.2f} GFLOP a crop")
    for column in ("", "crops/s", "x torch fp32", "of the matrix rate", "least cosine", "admitted"):
        table.add_column(column, justify="right")
    for row in rows:
        if row.problem:
            table.add_row(row.candidate, row.problem)
            continue
        table.add_row(
            row.candidate,
            f"{row.crops_per_s:.1f}",
            f"{row.times_torch_fp32:.2f}",
            "" if row.matrix_share is None else f"{row.matrix_share:.0%}",
            f"{row.similarity:.5f}",
            "yes" if row.is_admitted else "no",
        )
    Console(width=110).print(table)


def _row(
    candidate: Candidate,
    players: dict[str, Player],
    matrices: dict[str, Player],
    operations_per_crop: float,
    vectors: Path,
    truth: Embeddings,
) -> Row:
    player = players[str(candidate)]
    if player.problem:
        return Row(str(candidate), None, None, None, None, False, player.problem)
    product = matrices.get(f"matrices {candidate.precision}")
    similarity = least_similarity(_read(vectors), truth)
    return Row(
        str(candidate),
        statistics.median(player.rates),
        ratio(player, players[str(REFERENCE)]),
        None if product is None or product.problem else operations_per_crop * ratio(player, product),
        similarity,
        similarity >= LEAST_SIMILARITY[candidate.precision],
        "",
    )


def _read(path: Path) -> Embeddings:
    with np.load(path) as vectors:
        return Embeddings(vectors["appearance"], vectors["language"])
