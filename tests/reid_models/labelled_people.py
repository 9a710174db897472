"""A few generated people with identities and domains, and CLIPs small enough to learn them within a second."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from reid_models.datasets.training_sets import LabelledSet
from reid_models.encoder import PersonEncoder, PersonOptions, with_options
from reid_models.loader import LoaderConfig
from reid_models.prompts import CLASS_TEMPLATE, DOMAIN_TEMPLATE, Tokenize
from reid_models.transforms import AugmentConfig
from reid_models.vocabulary import learn_vocabulary

SIZE = (32, 32)
LOADER = LoaderConfig(((0, SIZE),), AugmentConfig(jitter_strength=0.1))
CONTEXT_LENGTH = 16
VOCABULARY = learn_vocabulary([], 1, kept=[CLASS_TEMPLATE, DOMAIN_TEMPLATE])
TOWERS: dict[str, dict[str, Any]] = {
    "vit": {"image_size": list(SIZE), "layers": 2, "width": 32, "head_width": 16, "patch_size": 8},
    "resnet": {"image_size": SIZE[0], "layers": [1, 1, 1, 1], "width": 8},
    "person_cnn": {
        "timm_model_name": "person_cnn_tiny", "timm_pool": "", "timm_proj": "linear", "image_size": list(SIZE),
    },
}  # fmt: skip


def tokenize(sentences: Sequence[str]) -> torch.Tensor:
    return VOCABULARY.encode(sentences, CONTEXT_LENGTH)


TOKENIZE: Tokenize = tokenize


def tiny_encoder(tower: str = "person_cnn", options: PersonOptions | None = None) -> PersonEncoder:
    """The same weights every time."""
    torch.manual_seed(0)
    text = {"context_length": CONTEXT_LENGTH, "vocab_size": VOCABULARY.size, "width": 32, "heads": 2, "layers": 2}
    architecture = {"embed_dim": 24, "vision_cfg": TOWERS[tower], "text_cfg": text}
    return PersonEncoder(with_options(architecture, options or PersonOptions()))


def labelled_people(identities: int = 8, images: int = 6, domains: int = 2) -> LabelledSet:
    """Every identity has a colour of its own and images in one domain; a domain has a brightness."""
    rng = np.random.default_rng(1)
    labels = np.repeat(np.arange(identities), images)
    sources = labels % domains
    colours = rng.uniform(40, 200, (identities, 1, 1, 3))
    pictures = colours[labels] + 30.0 * sources[:, None, None, None] + rng.normal(0, 12, (len(labels), *SIZE, 3))
    return LabelledSet(np.clip(pictures, 0, 255).astype(np.uint8), labels, sources)
