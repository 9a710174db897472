"""A bundle's towers on torch: as they are, compiled, or as a recorded CUDA graph."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from pipeline.contracts import F32
from pipeline.errors import ConfigurationError
from pipeline.runtimes.runtime import Batch, Precision, RuntimeName, RuntimeOptions, filled, first_rows
from pipeline.runtimes.torch_threads import on_threads
from reid_models.bundle import Bundle
from reid_models.encoder import PersonEncoder, channels_last, ends_in_mark, features_at_marks, parameter_count
from reid_models.manifest import InputFormat
from reid_models.serving.cuda import CudaFeed, RecordedPass
from reid_models.towers import fold_batch_norms

TORCH_TYPES: dict[Precision, torch.dtype] = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}

_ROWS_ON_CUDA = 64  # in one pass, where no usual batch size is told
_SMALL_TOWER = 8_000_000  # parameters; up to here one thread is as fast as two

Pass = Callable[[Tensor], tuple[Tensor, Tensor]]


class ImageTower(nn.Module):
    """Pixels (N, H, W, 3) uint8 → unit vectors (N, A) and (N, L) float32: what is exported and served.

    The tower computes in `precision`; the normalisation before it and the unit length behind it in float32.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self, encoder: PersonEncoder, size: InputFormat, precision: torch.dtype = torch.float32) -> None:
        super().__init__()
        self.encoder = copy.deepcopy(encoder).eval()
        self.encoder.clip.text = nn.Identity()  # sentences are not this module's
        fold_batch_norms(self.encoder.clip.visual)
        self.encoder.clip.visual.to(precision)
        channels_last(self.encoder)
        self.precision = precision
        self.register_buffer("mean", torch.tensor(size.mean).view(3, 1, 1) * 255.0)
        self.register_buffer("deviation", torch.tensor(size.std).view(3, 1, 1) * 255.0)

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        # (N, H, W, 3) seen as (N, 3, H, W) is channels last already: no copy.
        images = ((pixels.permute(0, 3, 1, 2).float() - self.mean) / self.deviation).to(self.precision)
        features = self.encoder(images, self.encoder.unknown_cameras(images))
        return functional.normalize(features.appearance.float(), dim=1), functional.normalize(
            features.language.float(), dim=1
        )


class TorchRuntime:
    """A `Runtime` over a bundle in memory. Raises `ConfigurationError` for a precision that torch does not serve."""

    def __init__(self, bundle: Bundle, options: RuntimeOptions, name: RuntimeName = "torch") -> None:
        if options.precision not in TORCH_TYPES:
            raise ConfigurationError(f"torch serves {', '.join(TORCH_TYPES)}, not {options.precision}; use openvino")
        if options.device == "cuda" and not torch.cuda.is_available():
            raise ConfigurationError("device is 'cuda', but torch finds no CUDA device; use 'auto' or 'cpu'")
        size = bundle.manifest.input
        self.name = name
        self.precision = options.precision
        self.input_shape = (None, size.height_px, size.width_px, 3)
        self._full = 0 if name == "torch" else options.full_batch
        tower = ImageTower(bundle.encoder, size, TORCH_TYPES[options.precision]).to(torch.device(options.device))
        self._any: Pass = tower
        self._fixed = _FIXED[name](tower, (self._full, size.height_px, size.width_px, 3))
        self._feed = CudaFeed(options.full_batch or _ROWS_ON_CUDA) if options.device == "cuda" else None

    @torch.inference_mode()
    def run(self, batch: Batch) -> tuple[F32, ...]:
        if self._feed is None:
            found = [self._pass(torch.from_numpy(filled(batch, self._full)))]
        else:
            found = [self._pass(rows) for rows in self._feed.rows(filled(batch, self._full))]
        return first_rows([torch.cat(parts).cpu().numpy() for parts in zip(*found, strict=True)], len(batch))

    def _pass(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        return (self._fixed if len(pixels) == self._full else self._any)(pixels)


class TextTower:
    """The text tower of a bundle in float32; it is small, so it needs no runtime of its own."""

    def __init__(self, bundle: Bundle, device: torch.device) -> None:
        self._tokenize = bundle.tokenize
        self._device = device
        self._tower = copy.deepcopy(bundle.encoder.clip.text).eval().to(device)
        self._is_small = parameter_count(self._tower) < _SMALL_TOWER

    @torch.inference_mode()
    def __call__(self, sentences: Sequence[str]) -> F32:
        """At least one sentence → (N, L) unit vectors."""
        with on_threads(1 if self._is_small else torch.get_num_threads()):
            features = self._features(self._tokenize(sentences).to(self._device))
            vectors: F32 = functional.normalize(features.float(), dim=1).cpu().numpy()
        return vectors

    def _features(self, token_ids: Tensor) -> Tensor:
        if not ends_in_mark(self._tower):
            features: Tensor = self._tower(token_ids)
            return features
        # Most of a context is padding, which nothing reads: without it a short sentence takes a third of the time.
        ends = token_ids.argmax(dim=1)
        embeddings = self._tower.token_embedding(token_ids[:, : int(ends.max()) + 1])
        return features_at_marks(self._tower, embeddings, ends)


def _compiled(tower: ImageTower, shape: tuple[int, ...]) -> Pass:
    # One shape only: compiled for open shapes, a ViT was five times slower than uncompiled.
    compiled: Pass = torch.compile(tower, dynamic=False)
    with torch.inference_mode():
        compiled(torch.zeros(shape, dtype=torch.uint8, device=tower.mean.device))
    return compiled


_FIXED: dict[RuntimeName, Callable[[ImageTower, tuple[int, ...]], Pass]] = {
    "torch": lambda tower, _: tower,
    "torch-compiled": _compiled,
    "cuda-graphs": RecordedPass,
}
