"""Image and text towers in the open_clip architecture, with the two vectors that Sightline needs.

A tower is chosen by configuration alone: a timm name (a light CNN of `towers.py` or any other), a ViT or a ResNet of
open_clip. One forward pass over a batch of images gives pooled features, and from them

- the appearance feature: the pooled features through a batch-normalisation neck without shift (Luo et al. 2019);
- the language feature: the pooled features through the tower's projection, in the space of the sentences.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from pipeline.torchvision_cpu import install
from reid_models import towers as _towers  # noqa: F401  (registers them)

install()

from open_clip.model import CustomTextCLIP  # noqa: E402  (torchvision must be importable first)
from open_clip.modified_resnet import ModifiedResNet  # noqa: E402
from open_clip.timm_model import TimmModel  # noqa: E402
from open_clip.tokenizer import SimpleTokenizer  # noqa: E402


@dataclass(frozen=True, slots=True)
class ImageFeatures:
    """One forward pass, not normalised."""

    pooled: Tensor  # (B, P)
    appearance: Tensor  # (B, P)
    language: Tensor  # (B, L)


class PersonEncoder(nn.Module):
    """An open_clip model and the appearance neck beside it.

    `architecture` is open_clip's own model configuration: `embed_dim`, `vision_cfg`, `text_cfg` and its options. `clip`
    is a model that was already built from it, for example with weights that others trained.
    """

    def __init__(self, architecture: dict[str, Any], clip: nn.Module | None = None) -> None:
        super().__init__()
        self.architecture = architecture
        self.clip: Any = CustomTextCLIP(**architecture) if clip is None else clip
        self.neck = appearance_neck(pooled_width(self.clip.visual))

    @property
    def appearance_width(self) -> int:
        return int(self.neck.num_features)

    @property
    def language_width(self) -> int:
        return int(self.architecture["embed_dim"])

    @property
    def context_length(self) -> int:
        return int(self.clip.text.context_length)

    def forward(self, images: Tensor) -> ImageFeatures:
        """(B, 3, H, W) normalised images → features."""
        pooled, language = pooled_and_projected(self.clip.visual, images)
        return ImageFeatures(pooled, self.neck(pooled.to(self.neck.weight.dtype)), language)

    def embed_tokens(self, token_ids: Tensor) -> Tensor:
        """(N, context length) token ids → (N, L), not normalised."""
        features: Tensor = self.clip.text(token_ids)
        return features

    def similarity_scale(self) -> Tensor:
        """Inverse temperature of the image-text similarity, at most 100 as in CLIP."""
        scale: Tensor = self.clip.logit_scale.exp()
        return scale.clamp(max=100.0)


def appearance_neck(width: int) -> nn.BatchNorm1d:
    """Batch normalisation whose shift stays at zero, so that cosine similarity suits what the classifier learnt."""
    neck = nn.BatchNorm1d(width)
    neck.bias.requires_grad_(False)
    return neck


def pooled_width(visual: Any) -> int:
    """Number of pooled features of an open_clip image tower, before the projection."""
    if isinstance(visual, TimmModel):
        return int(visual.trunk.num_features)
    if isinstance(visual, ModifiedResNet):
        return int(visual.attnpool.c_proj.in_features)
    return int(visual.proj.shape[0])


def pooled_and_projected(visual: Any, images: Tensor) -> tuple[Tensor, Tensor]:
    """Both outputs of an open_clip image tower from one pass: (B, P) and (B, L)."""
    if isinstance(visual, TimmModel):
        pooled = visual.trunk(images)
        return pooled, visual.head(pooled)
    if isinstance(visual, ModifiedResNet):
        places = visual.layer4(visual.layer3(visual.layer2(visual.layer1(visual.stem(images)))))
        return places.mean(dim=(2, 3)), visual.attnpool(places)
    # open_clip has no public way to the pooled features of its ViT; the release is pinned below 4.
    pooled, _ = visual._pool(visual.transformer(visual._embeds(images)))
    return pooled, pooled @ visual.proj


def person_cnn_architecture(tower: str, image_size: tuple[int, int], vocabulary_size: int) -> dict[str, Any]:
    """open_clip configuration of a light CNN with a small causal text tower; both small enough to ship."""
    return {
        "embed_dim": 256,
        "vision_cfg": {
            "timm_model_name": tower,
            "timm_pool": "",
            "timm_proj": "linear",
            "image_size": list(image_size),
        },
        "text_cfg": {"context_length": 48, "vocab_size": vocabulary_size, "width": 192, "heads": 4, "layers": 2},
    }


def channels_last(encoder: PersonEncoder) -> PersonEncoder:
    """The same encoder with its weights in the layout in which convolutions use a CPU's or GPU's matrix units."""
    for parameter in encoder.parameters():
        if parameter.ndim == 4:
            parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)
    return encoder


def parameter_count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def sub_word_tokenizer(context_length: int) -> Callable[[Sequence[str]], Tensor]:
    """CLIP's own tokenizer, for models that were not trained on a closed vocabulary."""
    tokenizer = SimpleTokenizer(context_length=context_length)
    return lambda sentences: tokenizer(list(sentences))
