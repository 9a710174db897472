"""Lets a torchvision that was built for CUDA be imported beside a CPU-only torch.

The package index serves one torchvision wheel, whose compiled part needs CUDA libraries. Without them the operators
`torchvision::nms` and `torchvision::qnms` are never declared and `import torchvision` fails. Declaring the two schemas
first is enough for everything that Sightline and its libraries import; `nms` also gets a CPU kernel.

Call `install()` before the first import of torchvision, open_clip, timm or ultralytics. Calling it twice, or where the
compiled part loads, does nothing.
"""

from __future__ import annotations

import importlib.util
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


@cache
def install() -> bool:
    """Whether the two operators had to be declared here; False where torchvision's own are in place."""
    spec = importlib.util.find_spec("torchvision")
    if spec is None or spec.origin is None or _own_operators_load(Path(spec.origin).parent):
        return False
    _declare()
    import torchvision

    # nms exists now; the check would refuse every other compiled operator too, but those raise by themselves.
    torchvision.ops.boxes._assert_has_ops = lambda: None
    return True


def _own_operators_load(folder: Path) -> bool:
    import torch

    for library in folder.glob("_C*.so"):
        try:
            torch.ops.load_library(str(library))
        except OSError:  # a CUDA library is missing
            continue
        return True
    return False


def _declare() -> None:
    import torch

    library = torch.library.Library("torchvision", "FRAGMENT")
    for name in ("nms", "qnms"):
        library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    library.impl("nms", non_maximum_suppression, "CPU")
    _KEPT_ALIVE.append(library)


# A torch library unregisters its operators when it is collected.
_KEPT_ALIVE: list[torch.library.Library] = []


def non_maximum_suppression(boxes: torch.Tensor, scores: torch.Tensor, iou_threshold: float) -> torch.Tensor:
    """Indices of the boxes that survive greedy suppression, best score first.

    `boxes` is (N, 4) x1, y1, x2, y2; `scores` is (N,). A box goes when it overlaps a better survivor by more than
    `iou_threshold`.
    """
    import torch

    order = scores.argsort(descending=True, stable=True)
    ordered = boxes[order].float()
    areas = (ordered[:, 2] - ordered[:, 0]) * (ordered[:, 3] - ordered[:, 1])
    top_left = torch.maximum(ordered[:, None, :2], ordered[None, :, :2])
    bottom_right = torch.minimum(ordered[:, None, 2:], ordered[None, :, 2:])
    shared = (bottom_right - top_left).clamp(min=0).prod(dim=2)
    suppresses = shared > iou_threshold * (areas[:, None] + areas[None, :] - shared)
    alive = torch.ones(len(ordered), dtype=torch.bool)
    for index in range(len(ordered)):
        if alive[index]:
            alive[index + 1 :] &= ~suppresses[index, index + 1 :]
    return order[alive]
