"""A bundle at work: crops and sentences to unit vectors, one forward pass for both vectors of a crop."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

from pipeline.contracts import F32, Embeddings, Image
from pipeline.errors import ConfigurationError, InvalidMessage
from reid_models.bundle import Bundle, load_bundle
from reid_models.encoder import channels_last
from reid_models.imported import import_open_clip
from reid_models.manifest import DEFAULT_BUNDLE, Calibration, Manifest, bundle_folder
from reid_models.towers import fold_batch_norms
from reid_models.vocabulary import Vocabulary

LARGEST_BATCH = 64

Device = Literal["auto", "cpu", "cuda"]


class BundleEncoder:
    """The production twin of `pipeline.interfaces.Encoder`: any number of crops of any size, any sentences.

    The image tower runs in bfloat16 where the device computes in it, else in float32; the text tower, which is small,
    always in float32.
    """

    def __init__(self, bundle: Bundle, device: torch.device, precision: torch.dtype) -> None:
        self._manifest = bundle.manifest
        words = bundle.manifest.vocabulary
        self._vocabulary = None if words is None else Vocabulary(words)
        self._tokenize = bundle.tokenize
        self._device = device
        self._precision = precision
        model = copy.deepcopy(bundle.encoder).eval()
        fold_batch_norms(model.clip.visual)
        model.clip.visual.to(precision)
        self._model = channels_last(model.to(device))

    @property
    def digest(self) -> str:
        return self._manifest.digest

    @property
    def manifest(self) -> Manifest:
        return self._manifest

    @property
    def calibration(self) -> Calibration | None:
        """What similarities mean; None for an imported model that was not calibrated."""
        return self._manifest.calibration

    def unknown_words(self, sentence: str) -> list[str]:
        """The words that say nothing to this model. Empty for models with a sub-word tokenizer."""
        return [] if self._vocabulary is None else self._vocabulary.unknown_words(sentence)

    def embed_images(self, crops: Sequence[Image]) -> Embeddings:
        """RGB crops (H, W, 3) uint8 of any size. Raises `InvalidMessage` naming a crop that is something else."""
        vectors = [
            self.embed_batch(self.ready_batch(crops[start : start + LARGEST_BATCH]))
            for start in range(0, len(crops), LARGEST_BATCH)
        ]
        if not vectors:
            widths = (self._manifest.appearance_width, self._manifest.language_width)
            return Embeddings(*(np.zeros((0, width), np.float32) for width in widths))
        return Embeddings(
            np.concatenate([vector.appearance for vector in vectors]),
            np.concatenate([vector.language for vector in vectors]),
        )

    def ready_batch(self, crops: Sequence[Image]) -> Tensor:
        """Resized and normalised crops (N, 3, H, W) on the device, channels last."""
        size = self._manifest.input
        pixels = np.empty((len(crops), size.height_px, size.width_px, 3), np.uint8)
        for place, crop in enumerate(crops):
            if crop.ndim != 3 or crop.shape[2] != 3 or crop.dtype != np.uint8 or crop.size == 0:
                raise InvalidMessage(
                    f"crop {place} is {crop.dtype} of shape {crop.shape}; expected RGB uint8 of shape (H, W, 3)"
                )
            cv2.resize(crop, (size.width_px, size.height_px), dst=pixels[place], interpolation=cv2.INTER_LINEAR)
        # (N, H, W, 3) seen as (N, 3, H, W) is channels last already: no copy.
        batch = torch.from_numpy(pixels).to(self._device).permute(0, 3, 1, 2).float()
        mean = torch.tensor(size.mean, device=self._device).view(3, 1, 1) * 255.0
        std = torch.tensor(size.std, device=self._device).view(3, 1, 1) * 255.0
        return batch.sub_(mean).div_(std).to(self._precision)

    @torch.inference_mode()
    def embed_batch(self, batch: Tensor) -> Embeddings:
        """One forward pass over what `ready_batch` returned."""
        features = self._model(batch)
        return Embeddings(_unit(features.appearance), _unit(features.language))

    @torch.inference_mode()
    def embed_texts(self, sentences: Sequence[str]) -> F32:
        """(N, L) unit vectors in the space of `Embeddings.language`."""
        if not sentences:
            return np.zeros((0, self._manifest.language_width), np.float32)
        token_ids = self._tokenize(sentences)
        return _unit(self._model.embed_tokens(token_ids.to(self._device)))


def load_encoder(
    source: str | Path = DEFAULT_BUNDLE, device: Device = "auto", threads: int | None = None
) -> BundleEncoder:
    """An encoder from a bundle folder, the name of a shipped bundle, or an open_clip model (see `imported.py`).

    `threads` limits the CPU threads of the whole process. Raises `ConfigurationError` with the remedy.
    """
    if threads is not None:
        torch.set_num_threads(threads)
    place = chosen_device(device)
    return BundleEncoder(find_bundle(source), place, chosen_precision(place))


def find_bundle(source: str | Path) -> Bundle:
    """The bundle that `source` names."""
    folder = bundle_folder(source)
    return import_open_clip(str(source)) if folder is None else load_bundle(folder)


def chosen_device(device: Device) -> torch.device:
    """`auto` takes CUDA when there is one."""
    if device == "cuda" and not torch.cuda.is_available():
        raise ConfigurationError("device is 'cuda', but torch finds no CUDA device; use 'auto' or 'cpu'")
    return torch.device("cuda" if device != "cpu" and torch.cuda.is_available() else "cpu")


def chosen_precision(device: torch.device) -> torch.dtype:
    """bfloat16 where the hardware multiplies in it; elsewhere it would be emulated and slow."""
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float32
    return torch.bfloat16 if cpu_has_bfloat16(Path("/proc/cpuinfo")) else torch.float32


def cpu_has_bfloat16(cpu_info: Path) -> bool:
    """Whether the processor's flags name AMX or AVX-512 with bfloat16. A system without the file counts as without."""
    try:
        flags = cpu_info.read_text(encoding="utf-8").split()
    except OSError:
        return False
    return "amx_bf16" in flags or "avx512_bf16" in flags


def _unit(features: Tensor) -> npt.NDArray[np.float32]:
    return functional.normalize(features.float(), dim=1).cpu().numpy()
