"""How much a model loses to what cameras do: every query of a data set spoilt by one fault, the gallery clean.

`python -m reid_models.experiments.camera_faults --data market.zip BUNDLE [BUNDLE ...]`
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from rich.console import Console
from rich.table import Table
from torch import Generator, Tensor

from reid_models.datasets.market1501 import read_query_and_gallery
from reid_models.datasets.sample import cameras_of, identities_of, read_image
from reid_models.datasets.training_sets import U8, decoded_images
from reid_models.degradations import hide, motion_blur, rebox
from reid_models.evaluation import score_image_features
from reid_models.inference import load_encoder
from reid_models.transforms import blur_by_downscaling, jitter

SIZE = (128, 64)  # (height, width) at which the faults are put in
SEED = 0

# Each fault strikes every query, at a strength drawn for it.
FAULTS: Mapping[str, Callable[[Tensor, Generator], Tensor]] = {
    "none": lambda images, _: images,
    "box off by up to 15 % on each side": lambda images, dice: rebox(images, 1.0, 0.15, dice),
    "15 to 45 % hidden by somebody": lambda images, dice: hide(images, 1.0, dice),
    "motion blur up to 9 px": lambda images, dice: torch.cat(
        [motion_blur(part, 1.0, dice) for part in images.split(16)]  # one line per part, so many in all
    ),
    "seen at 35 to 100 % of the size": lambda images, dice: torch.cat(
        [blur_by_downscaling(part, 1.0, 0.35, dice) for part in images.split(16)]
    ),
    "light and contrast off by up to 40 %": lambda images, dice: jitter(images, 0.4, dice),
}


def spoilt(images: U8, fault: str) -> U8:
    """(N, H, W, 3) → the same with the fault, the same every time."""
    batch = torch.from_numpy(np.array(images)).permute(0, 3, 1, 2).float()
    changed = FAULTS[fault](batch, Generator().manual_seed(SEED))
    return np.asarray(changed.clamp(0, 255).round().byte().permute(0, 2, 3, 1).contiguous().numpy(), np.uint8)


def fault_scores(bundle: str, data: Path) -> dict[str, dict[str, float]]:
    """Cross-camera scores of the bundle by fault."""
    encoder = load_encoder(bundle, device="cpu")
    parts = read_query_and_gallery(data)
    gallery = encoder.embed_images([read_image(sample) for sample in parts.gallery]).appearance
    queries = decoded_images(parts.query, SIZE)
    truth = (
        identities_of(parts.query), cameras_of(parts.query), identities_of(parts.gallery), cameras_of(parts.gallery),
    )  # fmt: skip
    found = {}
    for fault in FAULTS:
        vectors = encoder.embed_images(list(spoilt(queries, fault))).appearance
        scores = score_image_features(vectors, gallery, *truth)
        found[fault] = {"mean_average_precision": scores.mean_average_precision, "rank_1": scores.rank(1)}
    return found


def main(
    bundles: Annotated[list[str], typer.Argument(help="Folders or names of bundles")],
    data: Annotated[Path, typer.Option(help="Market-1501 folder or zip")],
    out: Annotated[Path | None, typer.Option(help="JSON file to write")] = None,
) -> None:
    """Print mAP and rank-1 of each bundle under each fault."""
    found = {bundle: fault_scores(bundle, data) for bundle in bundles}
    table = Table("fault of the query", *(f"{Path(bundle).name}: mAP / rank-1" for bundle in bundles))
    for fault in FAULTS:
        cells = [found[bundle][fault] for bundle in bundles]
        table.add_row(
            fault, *(f"{100 * cell['mean_average_precision']:.1f} / {100 * cell['rank_1']:.1f}" for cell in cells)
        )
    Console().print(table)
    if out is not None:
        out.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    typer.run(main)
