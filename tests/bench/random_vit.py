"""A bundle of CLIP's ViT-B/16 for 256x128 crops, weights random: `python -m tests.bench.random_vit FOLDER`."""

from __future__ import annotations

import sys
from datetime import date
from pathlib import Path

import torch

from reid_models.bundle import save_bundle
from reid_models.encoder import PersonEncoder, resized_for
from reid_models.manifest import Training
from reid_models.publishing import assemble

import open_clip  # isort: skip  (torchvision must be importable first, see reid_models/encoder.py)

SIZE = (256, 128)


def main(folder: Path) -> None:
    torch.manual_seed(0)
    architecture = dict(open_clip.get_model_config("ViT-B-16") or {})
    encoder = PersonEncoder(resized_for(architecture, SIZE)).eval()
    training = Training(description="random weights", data_digest="none")
    bundle = assemble("ViT-B/16", date(2026, 1, 1), encoder, None, training, "none", SIZE)
    save_bundle(folder, bundle.encoder, bundle.manifest)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
