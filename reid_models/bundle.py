"""A model on disk: a folder with `model.safetensors` and `manifest.json`. Never pickle.

The digest names the weights together with everything that turns a picture or a sentence into a vector: architecture,
input size, mean and deviation, vocabulary. Vectors of different digests are never compared. Calibration, metrics and
notes may change without making the vectors others.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from pipeline.errors import ConfigurationError, ModelVersionMismatch
from reid_models.encoder import PersonEncoder, sub_word_tokenizer
from reid_models.manifest import MANIFEST, WEIGHTS, InputFormat, Manifest, read_manifest
from reid_models.vocabulary import Vocabulary


@dataclass(frozen=True, slots=True)
class Bundle:
    """A model in memory, not yet on a device."""

    manifest: Manifest
    encoder: PersonEncoder
    tokenize: Callable[[Sequence[str]], Tensor]  # sentences → (N, context length) token ids


def model_digest(
    weights: Mapping[str, Tensor], architecture: Mapping[str, Any], input_format: InputFormat, words: object
) -> str:
    """16 hexadecimal digits of SHA-256 over the stored weights and all that decides about the vectors."""
    description = {"architecture": architecture, "input": input_format.model_dump(), "vocabulary": words}
    digest = hashlib.sha256(json.dumps(description, sort_keys=True).encode())
    for name in sorted(weights):
        tensor = weights[name].contiguous()
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()[:16]


def stored_weights(encoder: PersonEncoder) -> dict[str, Tensor]:
    """The state as it is stored: float16, which halves the file and costs no measurable accuracy."""
    return {
        name: (tensor.half() if tensor.is_floating_point() else tensor).contiguous()
        for name, tensor in encoder.state_dict().items()
    }


def save_bundle(folder: Path, encoder: PersonEncoder, manifest: Manifest) -> None:
    """Write both files. `manifest.digest` must be that of the weights (see `model_digest`)."""
    folder.mkdir(parents=True, exist_ok=True)
    save_file(stored_weights(encoder), folder / WEIGHTS)
    (folder / MANIFEST).write_text(manifest.model_dump_json(indent=1) + "\n", encoding="utf-8")


def load_bundle(folder: Path) -> Bundle:
    """Read a bundle and verify its digest. Raises `ConfigurationError` or `ModelVersionMismatch` with the remedy."""
    manifest = read_manifest(folder)
    path = folder / WEIGHTS
    try:
        weights = load_file(path)
    except FileNotFoundError as error:
        raise ConfigurationError(f"{folder} has no {WEIGHTS}; copy the whole bundle folder again") from error
    except SafetensorError as error:
        raise ConfigurationError(f"{path} is damaged ({error}); copy the bundle folder again") from error
    found = model_digest(weights, manifest.architecture, manifest.input, manifest.vocabulary)
    if found != manifest.digest:
        raise ModelVersionMismatch(
            f"{folder}: the weights and architecture have digest {found}, but {MANIFEST} says {manifest.digest}; "
            "the two files belong to different models or one was changed: copy the whole bundle folder again"
        )
    encoder = PersonEncoder(manifest.architecture)
    try:
        encoder.load_state_dict(weights)
    except RuntimeError as error:  # torch's way to report missing or misshapen entries
        raise ConfigurationError(f"{path} does not fit its architecture: {error}") from error
    if manifest.vocabulary is None:
        return Bundle(manifest, encoder.eval(), sub_word_tokenizer(encoder.context_length))
    tokenize = partial(Vocabulary(manifest.vocabulary).encode, context_length=encoder.context_length)
    return Bundle(manifest, encoder.eval(), tokenize)
