"""A child of `bench_encoder`: a bundle on one runtime, or a bare product of matrices."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from pipeline.runtimes.runtime import RuntimeOptions
from pipeline.runtimes.trial import Candidate
from reid_models.serving.opening import open_served
from tests.bench.turns import serve_turns

DURATION_S = 0.6
SIDE = 2048  # of the square matrices


def encoder(bundle: str, runtime: str, precision: str, threads: str, device: str, probe: str, vectors: str) -> None:
    """`embed_images` of the probe crops, a full batch, whose vectors are written first."""
    crops = list(np.load(probe))
    options = RuntimeOptions(device=device, threads=int(threads), full_batch=len(crops))  # type: ignore[arg-type]
    opened = open_served(Path(bundle), Candidate(runtime, precision), options)  # type: ignore[arg-type]
    found = opened.embed_images(crops)
    np.savez(vectors, appearance=found.appearance, language=found.language)
    serve_turns(lambda: opened.embed_images(crops), len(crops), DURATION_S)


def matrices(precision: str, threads: str, device: str) -> None:
    """Operations (a multiplication and an addition are two) of torch's own product of square matrices."""
    import torch

    torch.set_num_threads(int(threads))
    product = _PRODUCTS[precision]
    side = SIDE if device == "cpu" else 4 * SIDE
    first, second = (torch.randint(-9, 9, (side, side), dtype=torch.int8, device=device) for _ in range(2))
    if precision != "int8":
        kind = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[precision]
        first, second = first.to(kind), second.to(kind)

    def work() -> None:
        product(first, second)
        if device == "cuda":
            torch.cuda.synchronize()

    serve_turns(work, 2 * side**3, DURATION_S)


def _integers(first: object, second: object) -> object:
    import torch

    return torch._int_mm(first, second)  # type: ignore[arg-type]


def _floats(first: object, second: object) -> object:
    return first @ second  # type: ignore[operator]


_PRODUCTS = {"fp32": _floats, "bf16": _floats, "fp16": _floats, "int8": _integers}

if __name__ == "__main__":
    {"encoder": encoder, "matrices": matrices}[sys.argv[1]](*sys.argv[2:])
