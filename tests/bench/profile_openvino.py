"""Where OpenVINO spends a pass of a network: `python -m tests.bench.profile_openvino NETWORK.onnx BATCH [PASSES]`."""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path

import numpy as np
from rich.console import Console

from pipeline.runtimes.machine import processor_precisions, usable_cores


def main(network: Path, batch: int, passes: int = 10) -> None:
    """Shares of the fastest of several passes by kind of layer and kernel; pixels are noise."""
    import openvino

    core = openvino.Core()
    model = core.read_model(network)
    shape = model.input(0).partial_shape
    shape[0] = batch
    model.reshape(shape)
    hint = "bf16" if "bf16" in processor_precisions() else "f32"
    settings = {"INFERENCE_NUM_THREADS": usable_cores(), "INFERENCE_PRECISION_HINT": hint, "PERF_COUNT": True}
    request = core.compile_model(model, "CPU", settings).create_infer_request()
    pixels = np.random.default_rng(0).integers(0, 256, shape.to_shape(), np.uint8)
    fastest: Counter[str] = Counter()
    for _ in range(passes):
        request.infer({0: pixels})
        taken: Counter[str] = Counter()
        for layer in request.profiling_info:
            taken[f"{layer.node_type} {layer.exec_type}"] += layer.real_time.total_seconds()
        if not fastest or taken.total() < fastest.total():
            fastest = taken
    console = Console()
    console.print(f"{network.name}: {batch / fastest.total():.1f} crops/s in layers")
    for kind, seconds in fastest.most_common(8):
        console.print(f"{seconds / fastest.total():5.0%}  {kind}")


if __name__ == "__main__":
    main(Path(sys.argv[1]), *map(int, sys.argv[2:]))
