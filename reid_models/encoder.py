"""Image and text towers in the open_clip architecture, with the vectors that Sightline needs.

A tower is chosen by configuration alone: a timm name (a light CNN of `towers.py` or any other), a ViT or a ResNet of
open_clip, at any input size. One forward pass over a batch of images gives pooled features, and from them

- the appearance feature: the pooled features through a batch-normalisation neck without shift (Luo et al. 2019);
- the language feature: the pooled features through the tower's projection, in the space of the sentences.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.modules.batchnorm import _BatchNorm

from pipeline.errors import ConfigurationError
from pipeline.torchvision_cpu import install
from reid_models.clip_towers import ends_in_map, pooled_width, resize_tower, tower_features
from reid_models.neck import Neck, PoolingName, pooling_module
from reid_models.transforms import IMAGENET, NORMALISATIONS, NormalisationName, normalise_each, renormalised

install()

from open_clip.model import CustomTextCLIP  # noqa: E402  (torchvision must be importable first)
from open_clip.tokenizer import SimpleTokenizer  # noqa: E402
from open_clip.transformer import TextTransformer, VisionTransformer  # noqa: E402

NO_CAMERA = -1
PERSON_OPTIONS = "person_cfg"  # beside open_clip's own `vision_cfg` and `text_cfg`


@dataclass(frozen=True, slots=True)
class PersonOptions:
    """What differs from open_clip's tower. It is stored in the architecture, so a bundle is rebuilt with it."""

    image_size: tuple[int, int] | None = None  # (height, width) in pixels; None: the tower's own
    stride: int | None = None  # pixels between tokens or places, see `resize_tower`
    pooling: PoolingName = "tower"  # of the last map; a ViT pools by its class token and knows only `tower`
    cameras: int = 0  # rows of a table of camera vectors (side information embedding, ViT only)
    instance_normalised: bool = False  # every image and channel to zero mean and unit deviation, whatever came before
    # What the weights expect, by name; images arrive with that of ImageNet, which is the loader's
    normalisation: NormalisationName = "imagenet"
    forgets: bool = False  # a direction of the appearance vectors, see `PersonEncoder.forget`


def with_options(architecture: Mapping[str, Any], options: PersonOptions) -> dict[str, Any]:
    """The architecture of the same tower with these options."""
    stored = {name: value for name, value in asdict(options).items() if value != getattr(PersonOptions(), name)}
    # JSON has no tuples, and the digest of a bundle must not depend on having been through a file.
    plain = {name: list(value) if isinstance(value, tuple) else value for name, value in stored.items()}
    return {**architecture, PERSON_OPTIONS: plain}


def resized_for(
    architecture: Mapping[str, Any], image_size: tuple[int, int], stride: int | None = None
) -> dict[str, Any]:
    """The architecture of the same tower for images of (height, width) `image_size`; see `resize_tower`."""
    return with_options(architecture, PersonOptions(image_size, stride))


@dataclass(frozen=True, slots=True)
class ImageFeatures:
    """One forward pass, not normalised.

    In CLIP-ReID's words f11, f12, f12 behind its neck, and f_proj. Where a tower ends in maps, `penultimate` is the
    mean over the places of the map before the last stage.
    """

    penultimate: Tensor  # (B, Q)
    pooled: Tensor  # (B, P)
    appearance: Tensor  # (B, P)
    language: Tensor  # (B, L)


class PersonEncoder(nn.Module):
    """An open_clip model and the appearance neck beside it.

    `architecture` is open_clip's own model configuration: `embed_dim`, `vision_cfg`, `text_cfg` and its options, and
    perhaps our `person_cfg` (see `with_options`). `clip` is a model that was already built from it, for example with
    weights that others trained; it is then changed as `person_cfg` demands.
    """

    def __init__(self, architecture: Mapping[str, Any], clip: nn.Module | None = None) -> None:
        super().__init__()
        self.architecture = dict(architecture)
        of_clip = {name: value for name, value in architecture.items() if name != PERSON_OPTIONS}
        self.clip: Any = CustomTextCLIP(**of_clip) if clip is None else clip
        options = PersonOptions(**architecture.get(PERSON_OPTIONS, {}))
        visual = self.clip.visual
        if options.image_size is not None:
            resize_tower(visual, (options.image_size[0], options.image_size[1]), options.stride)
        if options.pooling != "tower" and not ends_in_map(visual):
            raise ConfigurationError(
                f"pooling is {options.pooling!r}, but the tower pools by itself (a ViT by its class token): use 'tower'"
            )
        if options.cameras and not isinstance(visual, VisionTransformer):
            raise ConfigurationError(f"cameras is {options.cameras}, but only a ViT has a class token to add them to")
        self.pooling = pooling_module(options.pooling)
        self.camera_vectors: nn.Parameter | None = None
        if options.cameras:
            self.camera_vectors = nn.Parameter(torch.empty(options.cameras, pooled_width(visual)))
            nn.init.trunc_normal_(self.camera_vectors, std=0.02)
        self.instance_normalised = options.instance_normalised
        self.normalisation = NORMALISATIONS[options.normalisation]
        self.neck = Neck(pooled_width(visual), forgets=options.forgets)
        self.statistics_rest = False  # batch normalisation goes on with what it has seen, in training too

    def train(self, mode: bool = True) -> Self:
        super().train(mode)
        if self.statistics_rest:
            for module in self.modules():
                if isinstance(module, _BatchNorm):
                    module.eval()
        return self

    def forget(self, direction: Tensor) -> None:
        """Make every appearance vector orthogonal to `direction` (A,) from now on, instead of to an earlier one.

        The direction from the mean of one kind of pictures (photographs) to that of another (drawings) says nothing
        about who is shown, but brings all people of the second kind near each other; as in the removal of common
        components of word vectors (Mu and Viswanath 2018).
        """
        options = PersonOptions(**self.architecture.get(PERSON_OPTIONS, {}))
        self.architecture = with_options(self.architecture, replace(options, forgets=True))
        self.neck.forgotten = functional.normalize(direction.to(self.neck.weight), dim=0)

    @property
    def appearance_width(self) -> int:
        return int(self.neck.num_features)

    @property
    def language_width(self) -> int:
        return int(self.architecture["embed_dim"])

    @property
    def context_length(self) -> int:
        return int(self.clip.text.context_length)

    @property
    def token_embedding(self) -> nn.Embedding:
        """Token ids → what `embed_prompts` takes, before positions are added."""
        embedding: nn.Embedding = self.clip.text.token_embedding
        return embedding

    def forward(self, images: Tensor, cameras: Tensor | None = None) -> ImageFeatures:
        """(B, 3, H, W) normalised images → features.

        `cameras` (B,) numbers from 0, for a model with camera vectors alone; `NO_CAMERA`: no vector is added.
        """
        if self.instance_normalised:
            images = normalise_each(images)
        elif self.normalisation is not IMAGENET:
            images = renormalised(images, IMAGENET, self.normalisation)
        tower = tower_features(self.clip.visual, images, self.pooling, self._vectors_of(cameras))
        appearance = self.neck(tower.pooled.to(self.neck.weight.dtype))
        return ImageFeatures(tower.penultimate, tower.pooled, appearance, tower.language)

    def embed_tokens(self, token_ids: Tensor) -> Tensor:
        """(N, context length) token ids → (N, L), not normalised."""
        features: Tensor = self.clip.text(token_ids)
        return features

    def embed_prompts(self, embeddings: Tensor, end_positions: Tensor) -> Tensor:
        """Sentences given as token embeddings (N, T, width), T up to the context length → (N, L), not normalised.

        `end_positions` (N,) are the places of the end mark, whose feature stands for the sentence. A causal tower reads
        nothing behind it, so cutting there is free of charge. Raises `ConfigurationError` for a tower of another kind.
        """
        if not ends_in_mark(self.clip.text):
            raise ConfigurationError(
                "prompts need a causal text tower of open_clip that ends in an end mark, as CLIP's"
            )
        return features_at_marks(self.clip.text, embeddings, end_positions)

    def similarity_scale(self) -> Tensor:
        """Inverse temperature of the image-text similarity, at most 100 as in CLIP."""
        scale: Tensor = self.clip.logit_scale.exp()
        return scale.clamp(max=100.0)

    def unknown_cameras(self, images: Tensor) -> Tensor | None:
        """What `forward` takes for images (B, 3, H, W) that are to be seen without camera vectors."""
        return None if self.camera_vectors is None else torch.full((len(images),), NO_CAMERA, device=images.device)

    def _vectors_of(self, cameras: Tensor | None) -> Tensor | None:
        if (cameras is None) != (self.camera_vectors is None):
            known = 0 if self.camera_vectors is None else len(self.camera_vectors)
            given = "none were" if cameras is None else "some were"
            raise ValueError(
                f"the model knows {known} cameras, but of the images {given} given; expected both or neither"
            )
        if self.camera_vectors is None or cameras is None:
            return None
        return self.camera_vectors[cameras.clamp(min=0)] * (cameras != NO_CAMERA)[:, None]


def ends_in_mark(text: nn.Module) -> bool:
    """Whether a text tower is causal, and the feature of its end mark stands for the sentence, as in CLIP."""
    is_causal = isinstance(text, TextTransformer) and text.attn_mask is not None and text.cls_emb is None
    return is_causal and text.pool_type == "argmax" and not text.use_pad_mask


def features_at_marks(text: nn.Module, embeddings: Tensor, end_positions: Tensor) -> Tensor:
    """As `PersonEncoder.embed_prompts`, by a tower that `ends_in_mark`."""
    tower: Any = text
    length = embeddings.shape[1]
    hidden = embeddings + tower.positional_embedding[:length]
    hidden = tower.transformer(hidden, attn_mask=tower.attn_mask[:length, :length])
    ends = tower.ln_final(hidden[torch.arange(len(hidden), device=hidden.device), end_positions])
    projection = tower.text_projection
    features: Tensor = projection(ends) if isinstance(projection, nn.Module) else ends @ projection
    return features


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


def tiny_vit_architecture(image_size: tuple[int, int], context_length: int = 77) -> dict[str, Any]:
    """CLIP in miniature, for tests and trials of a method: a ViT, and a text tower for CLIP's own tokenizer."""
    return {
        "embed_dim": 32,
        "vision_cfg": {"image_size": list(image_size), "layers": 2, "width": 64, "patch_size": 16},
        "text_cfg": {"context_length": context_length, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 2},
    }


def channels_last(encoder: PersonEncoder) -> PersonEncoder:
    """The same encoder with its weights in the layout in which convolutions use a CPU's or GPU's matrix units."""
    for parameter in encoder.parameters():
        if parameter.ndim == 4:
            parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)
    return encoder


def mixed(old: dict[str, Tensor], new: dict[str, Tensor], old_share: float) -> dict[str, Tensor]:
    """The weighted mean of two states of one model; whole numbers (counters) are those of the new one."""
    return {
        name: tensor.lerp(old[name].to(tensor), old_share) if tensor.is_floating_point() else tensor
        for name, tensor in new.items()
    }


def parameter_count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def sub_word_tokenizer(context_length: int) -> Callable[[Sequence[str]], Tensor]:
    """CLIP's own tokenizer, for models that were not trained on a closed vocabulary."""
    tokenizer = SimpleTokenizer(context_length=context_length)
    return lambda sentences: tokenizer(list(sentences))
