"""Frames per second of our detector against ultralytics' own `predict` loop (torch fp32): same weights, same frames.

1080p frames in, boxes out, letterbox and suppression included on both sides, all cores. Two networks at 384x640:

- `person-nano`, as shipped (without the bundle: the same network untrained). Ultralytics has no such architecture, so
  its predictor runs ours: the weights of the ONNX file in our torch module, normalisation folded as ultralytics folds
  its own, in the place of its network. Reading, letterbox, suppression and results are its own code.
- `yolo11n`, untrained (nobody may download weights here): ultralytics runs its own module, we its own ONNX export.

Every contender has a process of its own, in turns, so that other work on the machine strikes all alike.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from pipeline.adapters.detector_bundle import INT8_MODEL, MANIFEST, MODEL, DetectorTraining, save_detector
from pipeline.adapters.detector_inspection import Hints, inspect
from pipeline.contracts import CameraId, Frame
from pipeline.runtimes.machine import processor_precisions, usable_cores
from pipeline.runtimes.networks import open_network
from pipeline.runtimes.runtime import RuntimeOptions
from pipeline.runtimes.timing import pass_seconds
from services.detection import SHIPPED

SIZE_PX = (384, 640)  # height, width
ROUNDS = int(os.environ.get("BENCH_ROUNDS", "3"))
ROUND_S = 3.0
MIN_SCORE, MAX_OVERLAP = 0.25, 0.65
ULTRALYTICS = "ultralytics predict, torch fp32"
BAR = 4.0


def main(out: Path) -> None:
    """Measure, write `out` and print a table."""
    ours = ["onnxruntime fp32", "openvino fp32"] + ["openvino bf16"] * ("bf16" in processor_precisions())
    taken_ms: dict[str, dict[str, list[float]]] = {}
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        np.save(place / "frames.npy", _frames())
        for network in ("person-nano", "yolo11n"):
            _child("prepare", network, place)
        for _ in range(ROUNDS):
            for network in ("person-nano", "yolo11n"):
                # An untrained export is not worth calibrating.
                has_int8 = network == "person-nano" and (SHIPPED / INT8_MODEL).is_file()
                for contender in (ULTRALYTICS, *ours, *["openvino int8"] * has_int8):
                    measured = float(_child(contender, network, place))
                    taken_ms.setdefault(network, {}).setdefault(contender, []).append(measured)
    results = {
        network: {
            contender: {
                "frames_per_s": 1000 / statistics.median(rounds),
                "against_ultralytics": statistics.median(
                    theirs / own for theirs, own in zip(contenders[ULTRALYTICS], rounds, strict=True)
                ),
            }
            for contender, rounds in contenders.items()
        }
        for network, contenders in taken_ms.items()
    }
    described = {"cores": usable_cores(), "is_shipped": (SHIPPED / MANIFEST).is_file(), "bar": BAR}
    out.write_text(json.dumps(described | {"networks": results}, indent=1) + "\n")
    table = Table("network", "", "frames/s", "against ultralytics", title=f"detectors, 1080p frames, bar {BAR:g}")
    for network, contenders in results.items():
        for contender, figures in contenders.items():
            values = (f"{figures['frames_per_s']:.1f}", f"{figures['against_ultralytics']:.2f}")
            table.add_row(network, contender, *values)
    Console().print(table)


def _frames() -> np.ndarray:
    """Eight pictures of people in 1080p, RGB."""
    from pipeline.adapters.simulation.site import SimulatedSite

    site = SimulatedSite(seed=5, cameras=4, people=40, size_px=(1920, 1080))
    return np.stack([site.render(camera, time_s) for camera in range(4) for time_s in (10.0, 50.0)])


def _child(contender: str, network: str, place: Path) -> str:
    code = "import sys; from tests.bench.bench_detector import child; child(*sys.argv[1:])"
    command = [sys.executable, "-c", code, contender, network, str(place)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=Path(__file__).parents[2])
    if done.returncode:
        raise RuntimeError(f"{contender} on {network} failed: {done.stderr[-2000:]}")
    return done.stdout.splitlines()[-1] if done.stdout else ""


# --- in a process of its own ------------------------------


def child(contender: str, network: str, place: str) -> None:
    """Print the median milliseconds of one frame, or prepare the network's files."""
    folder = Path(place)
    if contender == "prepare":
        _prepare(network, folder)
        return
    frames = np.load(folder / "frames.npy")
    run = (_theirs if contender == ULTRALYTICS else _ours)(contender, network, folder, frames)
    frame_ms = 1000 * statistics.median(pass_seconds(run, ROUND_S, 2)) / len(frames)
    sys.stdout.write(f"\n{frame_ms}\n")


def _prepare(network: str, folder: Path) -> None:
    """`yolo11n`: checkpoint and export. `person-nano`: the shipped bundle, else an untrained one."""
    if network == "yolo11n":
        from pipeline.adapters.ultralytics_models import _ultralytics, export_onnx

        _ultralytics().YOLO("yolo11n.yaml").save(str(folder / "yolo11n.pt"))
        (folder / "export").mkdir()
        export_onnx(folder / "yolo11n.pt", folder / "export", SIZE_PX).rename(folder / "yolo11n.onnx")
    elif not (SHIPPED / MANIFEST).is_file():
        import torch

        from reid_models.detection.export import exported
        from reid_models.detection.network import PersonDetector

        torch.manual_seed(0)
        bare = folder / "bare.onnx"
        bare.write_bytes(exported(PersonDetector(), 0.5, SIZE_PX))
        described = inspect(open_network("onnxruntime", bare, RuntimeOptions()), Hints("person-nano"))
        training = DetectorTraining(description="not trained", data_digest="none")
        save_detector(folder / "person-nano", bare.read_bytes(), described.model_copy(update={"training": training}))


def _bundle(network: str, folder: Path) -> Path:
    if network == "yolo11n":
        return folder / "yolo11n.onnx"
    return SHIPPED if (SHIPPED / MANIFEST).is_file() else folder / "person-nano"


def _ours(contender: str, network: str, folder: Path, frames: np.ndarray) -> Callable[[], None]:
    from pipeline.adapters.onnx_detector import OnnxDetector, OnnxDetectorConfig

    runtime, precision = contender.split()
    config = OnnxDetectorConfig(runtime, usable_cores(), precision, MIN_SCORE, MAX_OVERLAP)  # type: ignore[arg-type]
    detector = OnnxDetector(_bundle(network, folder), config)
    seen = [Frame(CameraId("bench"), picture, 0.0, 0) for picture in frames]

    def run() -> None:
        for frame in seen:
            detector.detect([frame])

    return run


def _theirs(contender: str, network: str, folder: Path, frames: np.ndarray) -> Callable[[], None]:
    from pipeline.adapters.ultralytics_models import _ultralytics

    ultralytics = _ultralytics()
    import torch

    torch.set_num_threads(usable_cores())
    blue_first = [np.ascontiguousarray(picture[..., ::-1]) for picture in frames]
    model = ultralytics.YOLO(str(folder / "yolo11n.pt"), task="detect", verbose=False)
    options = {
        "imgsz": SIZE_PX,
        "conf": MIN_SCORE,
        "iou": MAX_OVERLAP,
        "classes": [0],
        "device": "cpu",
        "verbose": False,
    }
    model.predict(blue_first[:1], **options)
    if network == "person-nano":
        model.predictor.inference = _person_nano_for_ultralytics(_bundle(network, folder) / MODEL)

    def run() -> None:
        for _ in model.predict(blue_first, stream=True, **options):
            pass

    return run


def _person_nano_for_ultralytics(file: Path) -> Callable[..., object]:
    """Their call of a network: (B, 3, H, W) RGB shares → (B, 4 + 1, N) centres and sizes in pixels, and scores."""
    import torch
    from torch import Tensor

    from reid_models.detection.boxes import cells

    network = _torch_twin(file)
    corners, strides = cells(*SIZE_PX)

    def inference(pictures: Tensor, *_: object, **__: object) -> Tensor:
        with torch.inference_mode():
            rows = network(pictures.flip(1) * 255)
            centre = corners + rows[..., :2] * strides
            size = rows[..., 2:4].exp() * strides
            return torch.cat([centre, size, rows[..., 4:5] * rows[..., 5:]], dim=2).transpose(1, 2)

    return inference


def _torch_twin(file: Path) -> Callable[..., object]:
    """Our torch module with the weights of the ONNX file. Fails where the two differ by more than rounding."""
    import onnx
    import torch
    from torch import nn

    from reid_models.detection.export import ExportedDetector
    from reid_models.detection.network import PersonDetector

    network = ExportedDetector(PersonDetector(), 0.5).eval()
    called: list[nn.Conv2d] = []
    hooks = [
        module.register_forward_hook(lambda module, *_: called.append(module))
        for module in network.modules()
        if isinstance(module, nn.Conv2d)
    ]
    probe = torch.rand(1, 3, *SIZE_PX) * 255
    network(probe)
    for hook in hooks:
        hook.remove()
    graph = onnx.load(str(file)).graph
    weights = {tensor.name: torch.tensor(onnx.numpy_helper.to_array(tensor)) for tensor in graph.initializer}
    for node in graph.node:  # equal tensors are stored once, and named by an Identity elsewhere
        if node.op_type == "Identity" and node.input[0] in weights:
            weights[node.output[0]] = weights[node.input[0]]
    nodes = [node for node in graph.node if node.op_type == "Conv"]
    for module, node in zip(called, nodes, strict=True):
        module.weight = nn.Parameter(weights[node.input[1]])
        module.bias = nn.Parameter(weights[node.input[2]])
    for module in network.modules():
        for name, part in module.named_children():
            if isinstance(part, nn.BatchNorm2d):
                setattr(module, name, nn.Identity())
    with torch.inference_mode():
        found = network(probe).numpy()
    expected = open_network("onnxruntime", file, RuntimeOptions()).run(probe.numpy())[0]
    if not np.allclose(found, expected, atol=1e-2, rtol=1e-2):
        raise AssertionError(f"the torch twin of {file} differs by {np.abs(found - expected).max():.3f}")
    return network
