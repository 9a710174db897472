"""A model on disk: a folder with `model.safetensors` and `manifest.json`. Never pickle.

The digest names the weights together with everything that turns a picture or a sentence into a vector: architecture,
input size, mean and deviation, vocabulary. Vectors of different digests are never compared. Calibration, metrics and
notes may change without making the vectors others.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from pipeline.errors import ConfigurationError, ModelVersionMismatch
from reid_models.encoder import PersonEncoder, sub_word_tokenizer
from reid_models.vocabulary import Vocabulary

WEIGHTS = "model.safetensors"
MANIFEST = "manifest.json"

Positive = Annotated[int, Field(ge=1)]
Finite = Annotated[float, Field(allow_inf_nan=False)]
Similarity = Annotated[float, Field(ge=-1.0, le=1.0)]
Share = Annotated[float, Field(ge=0.0, le=1.0)]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class LogisticCurve(_Part):
    """Similarity → probability: 1 / (1 + exp(-(slope * similarity + intercept)))."""

    slope: Finite
    intercept: Finite

    def probability(self, similarity: float) -> float:
        exponent = self.slope * similarity + self.intercept
        return 1.0 / (1.0 + math.exp(-max(-500.0, min(500.0, exponent))))


class Calibration(_Part):
    """What a similarity means, measured on identities that the model has not been trained on.

    The curves are fitted with right and wrong pairs weighing the same: they answer "which of the two is it", and prior
    odds are the caller's.
    """

    appearance: LogisticCurve  # that two crops of different cameras show one person
    appearance_threshold: Similarity  # recommended least similarity for "the same person"
    appearance_false_match_share: Share  # of pairs of different persons at or above that threshold
    appearance_recall: Share  # of pairs of one person at or above it
    language: LogisticCurve  # that a sentence was written about the person
    language_threshold: Similarity  # below it for every person, the answer is "no confident match"
    language_false_match_share: Share  # of wrong pairs of sentence and person at or above it
    measured_on: str


class InputFormat(_Part):
    """How pixels become the tower's input: resize to `height_px` x `width_px`, RGB / 255, minus mean, by deviation."""

    height_px: Positive
    width_px: Positive
    mean: tuple[Finite, Finite, Finite]
    std: tuple[Finite, Finite, Finite]


class Training(_Part):
    """On what the weights were trained. `data_digest` is over the names and labels of the training images."""

    description: str
    data_digest: str


class Manifest(_Part):
    """Everything about a model except its weights."""

    format: Annotated[int, Field(ge=1, le=1)] = 1
    digest: Annotated[str, Field(pattern=r"^[0-9a-f]{16}$")]
    name: str
    created: str  # ISO date
    architecture: dict[str, Any]  # open_clip's model configuration
    input: InputFormat
    appearance_width: Positive
    language_width: Positive
    vocabulary: tuple[str, ...] | None  # None: open_clip's own tokenizer
    training: Training
    metrics: dict[str, Finite]
    calibration: Calibration | None  # None: an imported model that has not been calibrated
    licence: str


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


def read_manifest(folder: Path) -> Manifest:
    """Raises `ConfigurationError` if the folder is no bundle or its manifest has unknown or wrong entries."""
    path = folder / MANIFEST
    try:
        return Manifest.model_validate_json(path.read_bytes())
    except FileNotFoundError as error:
        raise ConfigurationError(
            f"{folder} has no {MANIFEST}; expected a model bundle, a folder with {MANIFEST} and {WEIGHTS}"
        ) from error
    except ValidationError as error:
        problem = error.errors(include_input=False, include_url=False)[0]
        place = ".".join(str(part) for part in problem["loc"]) or "the whole"
        raise ConfigurationError(
            f"{path}: {place}: {problem['msg']}; the bundle was damaged or made by another release"
        ) from error


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
