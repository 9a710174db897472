"""Training through the real loop against the bare forward and backward pass of the same tower on one resting batch.

The loop decodes nothing (images lie in memory) but draws batches, augments, computes the losses, steps the optimiser
and writes a checkpoint at the end of its epoch.
On a GPU the model FLOPs utilisation is printed as well.
"""

from __future__ import annotations

import json
import statistics
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode

from reid_models.datasets.sample import I64
from reid_models.encoder import PersonEncoder, channels_last, person_cnn_architecture
from reid_models.extraction import autocast
from reid_models.loader import LoaderConfig
from reid_models.losses.metric import batch_hard_triplet_loss
from reid_models.samplers import identity_draws
from reid_models.schedules import Optimisation, OptimiserConfig
from reid_models.trainer import Losses, Method, Run, Stage, TrainerConfig, train

IDENTITIES, IMAGES = 16, 4
ROUNDS = 5
GPU_FLOPS = {"NVIDIA H200": 989e12, "NVIDIA H100": 989e12, "NVIDIA A100": 312e12}  # dense bfloat16, per second


@dataclass(frozen=True, slots=True)
class Case:
    tower: str
    size: tuple[int, int]
    batches: int  # of an epoch: enough that the checkpoint at its end weighs as little as in real ones


CASES = (Case("person_cnn_small", (112, 56), 20), Case("person_cnn_nano", (64, 32), 150))


class TripletStage(Stage):
    """A short epoch of P×K batches."""

    name, optimisers, epochs = "triplet", ("all",), 1

    def __init__(self, encoder: PersonEncoder, case: Case) -> None:
        rng = np.random.default_rng(0)
        self.labels = np.repeat(np.arange(64), 8).astype(np.int64)
        self.images = rng.integers(0, 256, (len(self.labels), 128, 64, 3), dtype=np.uint8)
        self.loader, self.encoder, self.count = LoaderConfig(((0, case.size),)), encoder, case.batches

    def batches(self, epoch: int, rng: np.random.Generator) -> Sequence[I64]:
        return list(identity_draws(self.labels, IDENTITIES, IMAGES, self.count, rng))

    def losses(self, indices: I64, images: Tensor | None) -> Losses:
        assert images is not None
        features = self.encoder(images)
        labels = torch.from_numpy(self.labels[indices]).to(images.device)
        return {
            "triplet": batch_hard_triplet_loss(features.pooled.float(), labels, 0.3),
            "language": functional.normalize(features.language.float(), dim=1).square().mean(),
        }


def main(out: Path) -> None:
    """Measure in turns, so that other work on the machine strikes both alike; write `out` and print a table."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    rows = [measure(case, device) for case in CASES]
    out.write_text(json.dumps({"device": device, "threads": torch.get_num_threads(), "towers": rows}, indent=1) + "\n")
    table = Table(title=f"training on {device}, batches of {IDENTITIES * IMAGES} images")
    for column in ("tower", "bare, images/s", "loop, images/s", "ratio (median)", "FLOPs utilisation"):
        table.add_column(column, justify="right")
    for row in rows:
        used = row["flops_utilisation"]
        table.add_row(
            str(row["tower"]), f"{row['bare_images_per_s']:.0f}", f"{row['loop_images_per_s']:.0f}",
            f"{row['ratio']:.2f}", "-" if used is None else f"{used:.2f}",
        )  # fmt: skip
    Console().print(table)


def measure(case: Case, device: str) -> dict[str, float | str | None]:
    torch.manual_seed(0)
    encoder = channels_last(PersonEncoder(person_cnn_architecture(case.tower, case.size, 100))).to(device)
    stage = TripletStage(encoder, case)
    method = Method(encoder, {"all": Optimisation(OptimiserConfig(1e-4), [encoder.clip.visual, encoder.neck])}, [stage])
    batch = torch.randn(IDENTITIES * IMAGES, 3, *case.size, device=device)
    batch = batch.contiguous(memory_format=torch.channels_last)
    with FlopCounterMode(display=False) as counter:
        bare_pass(encoder, batch)
    bare_s, loop_s = [], []
    with tempfile.TemporaryDirectory() as folder:
        for place in range(ROUNDS + 1):
            bare_s.append(seconds_of_bare_passes(encoder, batch, case.batches))
            started = time.perf_counter()
            train(method, TrainerConfig(device=device), Run(Path(folder) / str(place)))
            loop_s.append(time.perf_counter() - started)
    images = IDENTITIES * IMAGES * case.batches
    loop = statistics.median(loop_s[1:])
    peak = next((flops for name, flops in GPU_FLOPS.items() if device == "cuda" and name in _gpu_name()), None)
    return {
        "tower": f"{case.tower} {case.size[0]}x{case.size[1]}",
        "bare_images_per_s": images / statistics.median(bare_s[1:]),
        "loop_images_per_s": images / loop,
        "ratio": statistics.median(bare / whole for bare, whole in zip(bare_s[1:], loop_s[1:], strict=True)),
        "flops_utilisation": None if peak is None else counter.get_total_flops() * case.batches / loop / peak,
    }


def seconds_of_bare_passes(encoder: PersonEncoder, batch: Tensor, count: int) -> float:
    started = time.perf_counter()
    for _ in range(count):
        bare_pass(encoder, batch)
    if batch.is_cuda:
        torch.cuda.synchronize()
    return time.perf_counter() - started


def bare_pass(encoder: PersonEncoder, batch: Tensor) -> None:
    encoder.zero_grad(set_to_none=True)
    with autocast(batch.device, "bfloat16"):
        features = encoder(batch)
        loss = features.pooled.float().square().mean() + features.language.float().square().mean()
    loss.backward()


def _gpu_name() -> str:
    return torch.cuda.get_device_name()
