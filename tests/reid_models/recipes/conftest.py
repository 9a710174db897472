"""Recipes small enough to be trained within seconds, over the miniature data set."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from reid_models.datasets.described import Source
from reid_models.recipes.schema import merged

Write = Callable[..., Path]

TOWER = {"source": "scratch/person_cnn_tiny", "image_size": [64, 32]}
STAGE = {"epochs": 1, "identities_per_batch": 4, "images_per_identity": 2}
TINY: dict[str, dict[str, Any]] = {
    "clip_reid": {
        "encoder": {"source": "scratch/tiny_vit", "image_size": [64, 32], "stride": 12, "normalisation": "clip"},
        "settings": {"prompts": {"epochs": 1, "batch": 8}, "images": STAGE},
    },
    "ccafl": {
        "settings": {
            "identities_per_batch": 4, "images_per_identity": 2, "batches_per_epoch": 2, "prompt_epochs": 1,
            "intra_epochs": 1, "inter_epochs": 1, "instance_slots": 2, "text_from_epoch": 0,
            "adversarial_epochs": [0, 2],
        }
    },
    "cpcl": {
        "settings": {
            "epochs": 2, "batch": 8, "warm_up_epochs": 1, "mask_token": 2, "jaccard": {"k1": 4, "k2": 2},
            "least_samples": 2,
        }
    },
    "clip_fgdi": {
        "encoder": {**TOWER, "normalisation": "instance"},
        "data": {"domains": "cameras"},
        "settings": {
            "warm_up_epochs": 1, "relevant_epochs": 1, "prompts": {"epochs": 1, "batch": 8}, "images": STAGE,
        },
    },
    "small": {"settings": {"appearance": STAGE, "language": STAGE}},
}  # fmt: skip


@pytest.fixture
def write(tmp_path: Path, miniature: Source) -> Write:
    """Writes the tiny recipe of a method, with `changes` merged into it."""

    def build(method: str, /, **changes: Any) -> Path:
        source = {
            "reader": "market1501", "path": str(miniature.images), "captions": str(miniature.captions),
            "attributes": str(miniature.attributes), "is_part": True,
        }  # fmt: skip
        values = {
            "title": f"tiny {method}", "method": method, "encoder": TOWER, "data": {"train": [source]},
            "evaluation": {"part": "val"}, "precision": "float32", "device": "cpu", "seed": 3,
        }  # fmt: skip
        path = tmp_path / f"tiny_{method}.yaml"
        path.write_text(yaml.safe_dump(merged(merged(values, TINY[method]), changes), sort_keys=False))
        return path

    return build
