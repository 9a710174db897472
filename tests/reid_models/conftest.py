"""A miniature data set in the published layout, and a tiny bundle."""

from __future__ import annotations

import json
from datetime import date

import cv2
import numpy as np
import pytest
import torch

from reid_models.bundle import Bundle
from reid_models.datasets.attribute_sentences import LOWER_COLOURS, UPPER_COLOURS
from reid_models.datasets.described import Source
from reid_models.encoder import PersonEncoder, person_cnn_architecture
from reid_models.manifest import Training
from reid_models.publishing import assemble
from reid_models.vocabulary import Vocabulary

COLOURS = {"red": (200, 30, 30), "blue": (30, 30, 200), "green": (20, 160, 40), "white": (240, 240, 240)}
WORDS = ("a", "and", "blue", "green", "in", "man", "red", "shirt", "shorts", "white")


def attributes_of(colour: str, split: str) -> dict[str, int | str]:
    plain = ("backpack", "bag", "handbag", "hat", "hair", "gender", "age")
    coded: dict[str, int | str] = dict.fromkeys(plain, 1) | {"clothes": 2, "up": 2, "down": 2, "split": split}
    coded |= {f"up{name}": 1 + (name == colour) for name in UPPER_COLOURS}
    return coded | {f"down{name}": 1 + (name == "black") for name in LOWER_COLOURS}


@pytest.fixture(autouse=True)
def one_thread() -> None:
    """The networks of these tests are tiny: on a busy machine a second thread is waited for longer than it helps."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def miniature(tmp_path_factory: pytest.TempPathFactory) -> Source:
    """Four people for training and four others for validation, one for each colour, in two cameras."""
    root = tmp_path_factory.mktemp("Market-1501-v15.09.15")
    rng = np.random.default_rng(0)
    captions, attributes = [], {}
    for identity, (split, colour) in enumerate([(s, c) for s in ("train", "val") for c in COLOURS], start=1):
        attributes[f"{identity:04d}"] = attributes_of(colour, split)
        for camera in (1, 2):
            for box in range(4):
                part = "bounding_box_train" if split == "train" else "query" if box == 0 else "bounding_box_test"
                name = f"{identity:04d}_c{camera}s1_{100 * box:06d}_0{box}.jpg"
                crop = rng.normal(90, 25, (64, 32, 3)) + (camera - 1) * 15
                crop[12:36, 6:26] = np.array(COLOURS[colour]) + rng.normal(0, 10, (24, 20, 3))
                (root / part).mkdir(exist_ok=True)
                cv2.imwrite(str(root / part / name), np.clip(crop, 0, 255).astype(np.uint8)[..., ::-1])
                captions.append(
                    {"image": name, "identity": f"{identity:04d}", "split": split, "same_frame_images": [],
                     "captions": [f"A man in a {colour} shirt and black shorts."]}
                )  # fmt: skip
    (root / "captions.json").write_text(json.dumps(captions))
    (root / "attributes.json").write_text(json.dumps(attributes))
    return Source(root, root / "captions.json", root / "attributes.json")


@pytest.fixture(scope="session")
def tiny_bundle() -> Bundle:
    """An untrained model of the tiny tower; the same weights every time."""
    torch.manual_seed(0)
    encoder = PersonEncoder(person_cnn_architecture("person_cnn_tiny", (64, 32), len(WORDS) + 4)).eval()
    training = Training(description="not trained", data_digest="none")
    return assemble("tiny", date(2026, 1, 2), encoder, Vocabulary(WORDS), training, "Apache-2.0", (64, 32))
