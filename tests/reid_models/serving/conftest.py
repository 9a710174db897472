"""The tiny tower as a bundle folder with a cache of its own, and crops that excite it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from pipeline.runtimes.machine import CACHE_VARIABLE
from reid_models.bundle import save_bundle
from reid_models.encoder import PersonEncoder, person_cnn_architecture
from reid_models.manifest import Training
from reid_models.publishing import assemble
from reid_models.serving.artefacts import artefacts_of
from reid_models.serving.exporting import exported
from reid_models.serving.pixels import U8
from reid_models.vocabulary import Vocabulary


@pytest.fixture(scope="session")
def bundle_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Norms that do something, as after a training; exports go to a cache that ends with the tests."""
    torch.manual_seed(3)
    encoder = PersonEncoder(person_cnn_architecture("person_cnn_tiny_strips", (64, 32), 8)).eval()
    for module in encoder.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(module.running_mean, -0.2, 0.2)
            torch.nn.init.uniform_(module.weight, 0.5, 1.5)
    training = Training(description="not trained", data_digest="none")
    bundle = assemble("tiny", date(2026, 1, 2), encoder, Vocabulary(("man", "red")), training, "Apache-2.0", (64, 32))
    folder = tmp_path_factory.mktemp("bundle")
    save_bundle(folder, bundle.encoder, bundle.manifest)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(CACHE_VARIABLE, str(tmp_path_factory.mktemp("cache")))
        exported(bundle, artefacts_of(folder))  # here, where torch is loaded already
        yield folder


@pytest.fixture(scope="session")
def crops() -> U8:
    """(96, 64, 32, 3): soft blotches of colour."""
    rng = np.random.default_rng(5)
    coarse = rng.integers(0, 256, (96, 6, 3, 3), np.uint8)
    return np.stack([cv2.resize(crop, (32, 64), interpolation=cv2.INTER_CUBIC) for crop in coarse])
