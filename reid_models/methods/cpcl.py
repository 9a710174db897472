"""CPCL: text search learnt from images and their captions, without identities (Zheng et al. 2024, arXiv 2401.10011).

One stage. Before each epoch images and captions are clustered, each kind for itself; then

- PMM, the prototype memories: a running centre for every cluster of images and for every cluster of captions;
- HCM, hybrid cross-modal matching: a feature against the prototypes of the other kind, and images against captions with
  every pair of the same pseudo-label as a positive;
- OPLM, outlier pseudo-label mining: an image that no cluster took gets a label through its caption's cluster, and the
  other way round.

The authors published no code, so the method follows their description, and nobody can be checked against. Where it says
nothing we decided:

- the base configuration (sizes, optimiser, temperature, token masking, clustering) is that of IRRA and ICPG;
- two pairs are one person for the instance matching where their images or their captions share a cluster; an outlier
  matches nothing but its own image;
- biases are not decayed, as in IRRA, and nor are scales;
- the first `warm_up_epochs` are plain symmetric InfoNCE, which needs no clusters: those of untrained features mislead;
- features are extracted without augmentation and masking, and labels belong to places in the data set, not in a batch.

ICPG (2024) uses the clusters of images for captions too, which are described alike more often than they look alike.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

from pipeline.errors import ConfigurationError
from reid_models.datasets.sample import F32, I64
from reid_models.datasets.training_sets import PairSet
from reid_models.distributed import gathered, share
from reid_models.encoder import PersonEncoder
from reid_models.extraction import extract, extract_texts
from reid_models.loader import LoaderConfig
from reid_models.losses.contrastive import distribution_matching_loss, info_nce_loss
from reid_models.losses.prototypes import memory_loss
from reid_models.memory import CentroidMemory, class_means
from reid_models.prompts import Tokenize
from reid_models.pseudo_labels import JaccardConfig, cluster, jaccard_distances, mine_outliers
from reid_models.samplers import pair_batches
from reid_models.schedules import Optimisation, OptimiserConfig, Schedule
from reid_models.trainer import Figures, Losses, Method, Stage
from reid_models.transforms import CLIP, AugmentConfig

log = logging.getLogger(__name__)

Mask = npt.NDArray[np.bool_]

# The last sub-word of CLIP's vocabulary serves as [MASK] (as in IRRA); above it are only the start and end marks.
CLIP_MASK_TOKEN = 49405


@dataclass(frozen=True, slots=True)
class CpclConfig:
    """Defaults are those of the IRRA and ICPG line. `loader` has the published one in `VIT_B16`.

    The parts: with all three switched off the method is plain InfoNCE on pairs.
    """

    loader: LoaderConfig
    epochs: int = 60
    batch: int = 64
    temperature: float = 0.02
    warm_up_epochs: int = 5  # of InfoNCE, before the first clustering
    has_prototypes: bool = True  # PMM
    has_hybrid_matching: bool = True  # HCM
    has_outlier_mining: bool = True  # OPLM
    clusters: Literal["both", "images"] = "both"  # images: theirs serve the captions too, and nothing is mined
    jaccard: JaccardConfig = field(default_factory=lambda: JaccardConfig(k1=30, k2=6))
    epsilon: float = 0.6  # greatest Jaccard distance of neighbours
    least_samples: int = 4  # neighbours, itself included, that make a sample the core of a cluster
    momentum: float = 0.9  # weight of the old prototype
    own_weight: float = 1.0  # of the prototype terms within a kind: gamma
    cross_weight: float = 1.0  # of those between the kinds: alpha
    mask_token: int | None = None  # what hides words of a caption (a vocabulary's UNKNOWN); None: nothing is hidden
    mask_share: float = 0.15
    encoder: OptimiserConfig = field(
        default_factory=lambda: OptimiserConfig(
            1e-5, 4e-5, epsilon=1e-3, bias_rate_factor=2.0, decays_vectors=False,
            schedule=Schedule(5, 0.1, epochs=60, whole_epochs=True),
        )
    )  # fmt: skip
    device: str = "cpu"
    precision: str = "bfloat16"


VIT_B16 = CpclConfig(
    LoaderConfig(
        ((0, (384, 128)),),
        AugmentConfig(
            pad_share=10 / 384, pad_value=0.0, jitter_strength=0.0, blur_probability=0.0, erase_area=(0.02, 0.4),
            erase_fill="mean", normalisation=CLIP,
        ),
    ),
    mask_token=CLIP_MASK_TOKEN,
)  # fmt: skip


def info_nce(config: CpclConfig) -> CpclConfig:
    """The baseline: the same training with every part of CPCL switched off."""
    return replace(config, has_prototypes=False, has_hybrid_matching=False, has_outlier_mining=False)


@dataclass(frozen=True, slots=True, eq=False)
class PseudoLabels:
    """By place in the data set; -1 is an outlier. Equal numbers of the two kinds mean nothing."""

    images: I64  # (N,)
    captions: I64  # (M,)


def cpcl(encoder: PersonEncoder, tokenize: Tokenize, data: PairSet, config: CpclConfig) -> Method:
    """The method over both towers of `encoder`. Raises `ConfigurationError` for settings that do not fit the data."""
    stage = CpclStage(encoder, tokenize(data.captions), data, config)
    optimisation = Optimisation(config.encoder, [encoder.clip.visual, encoder.clip.text])
    return Method(encoder, {"encoder": optimisation}, [stage])


class CpclStage(Stage):
    """Samples are pairs, named by the place of their caption. `token_ids` is (M, context length)."""

    name = "pairs"
    optimisers = ("encoder",)

    def __init__(self, encoder: PersonEncoder, token_ids: Tensor, data: PairSet, config: CpclConfig) -> None:
        _require_sense(config, token_ids, data)
        self.encoder, self.token_ids, self.data, self.config = encoder, token_ids, data, config
        self.images, self.image_of_sample = data.images, data.image_of_caption
        self.loader, self.epochs = config.loader, config.epochs
        self.labels: PseudoLabels | None = None  # None: not clustered yet
        self.memories: tuple[CentroidMemory, CentroidMemory] | None = None  # of images and of texts

    def batches(self, epoch: int, rng: np.random.Generator) -> Sequence[I64]:
        config = self.config
        self._rng = rng
        self._seen: list[_Batch] = []
        if epoch >= config.warm_up_epochs and (config.has_prototypes or config.has_hybrid_matching):
            self._cluster(epoch)
        # Only whole ones: batch normalisation cannot work on a single pair, nor can processes share an odd number.
        return [batch for batch in pair_batches(len(self.token_ids), config.batch, rng) if len(batch) == config.batch]

    def _cluster(self, epoch: int) -> None:
        config, data = self.config, self.data
        size = config.loader.size_at(epoch)
        images = extract(self.encoder, self._embed_images, data.images, size, config.device, config.precision)
        texts = extract_texts(self.encoder, self._embed_texts, self.token_ids, config.device, config.precision)
        self.labels = self.label(images.cpu().numpy(), texts.cpu().numpy())
        if config.has_prototypes:
            self.memories = self._memory(images, self.labels.images), self._memory(texts, self.labels.captions)

    def label(self, images: F32, texts: F32) -> PseudoLabels:
        """From unit features of all images (N, L) and of all captions (M, L)."""
        return pseudo_labels(images, texts, self.data.image_of_caption, self.config)

    def _memory(self, features: Tensor, labels: I64) -> CentroidMemory:
        means = class_means(features, _on(features, labels), int(labels.max(initial=-1)) + 1)
        return CentroidMemory(means, self.config.momentum)

    def losses(self, indices: I64, images: Tensor | None) -> Losses:
        assert images is not None
        config = self.config
        token_ids = self.token_ids[torch.from_numpy(indices)]
        if config.mask_token is not None:
            token_ids = mask_words(token_ids, config.mask_share, config.mask_token, self._rng)
        own = torch.from_numpy(share(np.arange(len(indices))))
        v = gathered(self._embed_images(images))  # (B, L)
        t = gathered(self._embed_texts(token_ids[own].to(images.device)))  # (B, L)
        # Similarities over a temperature this low need more digits than bfloat16 has.
        with torch.autocast(v.device.type, enabled=False):
            if self.labels is None:
                return {"instance": info_nce_loss(v, t, config.temperature)}
            places = self.data.image_of_caption[indices]
            a, b = self.labels.images[places], self.labels.captions[indices]
            batch = _Batch(v, t, _on(v, a), _on(v, b))
            if self.memories is not None:
                self._seen.append(batch)
            if not config.has_hybrid_matching:
                return {"instance": info_nce_loss(v, t, config.temperature), **self._prototype_losses(batch)}
            is_match = _on(v, matches(places, a, b))
            matching = distribution_matching_loss(v, t, is_match, config.temperature)
            return {"instance": matching, **self._prototype_losses(batch)}

    def _prototype_losses(self, batch: _Batch) -> dict[str, Tensor]:
        """Each side against the prototypes of its own kind and of the other; a kind without clusters has none."""
        if self.memories is None:
            return {}
        config = self.config
        v, t, a, b = batch.images, batch.texts, batch.image_labels, batch.text_labels
        u, w = (memory.centroids for memory in self.memories)  # (K, L) each, of images and of texts
        parts: dict[str, Tensor] = {}
        terms = [("image_image", v, u, a, config.own_weight), ("text_text", t, w, b, config.own_weight)]
        if config.has_hybrid_matching:
            terms += [("image_text", v, w, b, config.cross_weight), ("text_image", t, u, a, config.cross_weight)]
        for name, features, prototypes, labels, weight in terms:
            if len(prototypes):
                parts[name] = weight * memory_loss(features, labels, prototypes, config.temperature)
        return parts

    def after_update(self) -> None:
        if self.memories is not None:
            of_images, of_texts = self.memories
            for batch in self._seen:
                of_images.update(batch.images, batch.image_labels, rule="each")
                of_texts.update(batch.texts, batch.text_labels, rule="each")
        self._seen.clear()

    def figures(self) -> Figures:
        if self.labels is None:
            return {}
        return {
            "image_clusters": float(self.labels.images.max(initial=-1) + 1),
            "text_clusters": float(self.labels.captions.max(initial=-1) + 1),
            "image_outlier_share": float((self.labels.images < 0).mean()),
            "text_outlier_share": float((self.labels.captions < 0).mean()),
        }

    def _embed_images(self, images: Tensor) -> Tensor:
        return functional.normalize(self.encoder(images).language.float(), dim=1)

    def _embed_texts(self, token_ids: Tensor) -> Tensor:
        return functional.normalize(self.encoder.embed_tokens(token_ids).float(), dim=1)


@dataclass(frozen=True, slots=True, eq=False)
class _Batch:
    """Unit features (B, L) of the pairs of a batch and the pseudo-labels (B,) of both sides."""

    images: Tensor
    texts: Tensor
    image_labels: Tensor
    text_labels: Tensor


def pseudo_labels(images: F32, texts: F32, image_of_caption: I64, config: CpclConfig) -> PseudoLabels:
    """Cluster unit features of the unique images (N, L) and of the captions (M, L), and mine outliers both ways."""
    of_images = _clustered(images, config)
    if config.clusters == "images":
        return PseudoLabels(of_images, of_images[image_of_caption])
    of_texts = _clustered(texts, config)
    if not config.has_outlier_mining:
        return PseudoLabels(of_images, of_texts)
    return PseudoLabels(
        mine_outliers(of_images, of_texts, images, pairs_a=image_of_caption),
        mine_outliers(of_texts, of_images, texts, pairs_b=image_of_caption),
    )


def matches(images: I64, image_labels: I64, text_labels: I64) -> Mask:
    """(B, B): which pairs of a batch show one person, as far as is known: the same image, or a shared cluster of images
    or of captions. `images` (B,) is the image of each pair.

    An outlier has no label in common with anybody, least of all with another outlier.
    """
    is_same: Mask = images[:, None] == images[None, :]
    for labels in (image_labels, text_labels):
        is_same |= (labels[:, None] == labels[None, :]) & (labels >= 0)
    return is_same


def mask_words(token_ids: Tensor, masked_share: float, mask_token: int, rng: np.random.Generator) -> Tensor:
    """Hide each word with probability `masked_share`; never the start, the end (the highest number) or the padding."""
    end = token_ids.argmax(dim=1, keepdim=True)
    place = torch.arange(token_ids.shape[1])
    hidden = torch.from_numpy(rng.random(tuple(token_ids.shape)) < masked_share)
    return token_ids.masked_fill(hidden & (place > 0) & (place < end), mask_token)


def _clustered(features: F32, config: CpclConfig) -> I64:
    distances = jaccard_distances(features, config.jaccard, largest_kept=config.epsilon)
    labels = cluster(distances, config.epsilon, config.least_samples)
    if labels.max(initial=-1) < 0:
        log.warning("no cluster among %d features: no prototypes of their kind in this epoch", len(features))
    return labels


def _on(features: Tensor, values: I64 | Mask) -> Tensor:
    return torch.from_numpy(values).to(features.device)


def _require_sense(config: CpclConfig, token_ids: Tensor, data: PairSet) -> None:
    pairs, images = len(data.captions), len(data.images)
    if pairs < config.batch or len(data.image_of_caption) != pairs or not images:
        raise ConfigurationError(
            f"the data set has {pairs} captions, {len(data.image_of_caption)} places of their images and {images} "
            f"images; expected as many places as captions, and at least a batch of {config.batch} captions"
        )
    if data.image_of_caption.min() < 0 or data.image_of_caption.max() >= images:
        raise ConfigurationError(
            f"captions belong to images {data.image_of_caption.min()} to {data.image_of_caption.max()}, but the data "
            f"set has {images} images, counted from 0"
        )
    is_possible = config.batch >= 2 and config.temperature > 0 and 0 <= config.momentum <= 1 and 0 < config.epsilon < 1
    if not is_possible:
        raise ConfigurationError(
            f"batch is {config.batch}, temperature {config.temperature}, momentum {config.momentum} and epsilon "
            f"{config.epsilon}; expected at least 2, more than 0, 0 to 1, and between 0 and 1"
        )
    is_plain = not (config.has_prototypes or config.has_hybrid_matching)
    if config.has_outlier_mining and is_plain:
        raise ConfigurationError(
            "outliers are to be mined, but nothing uses their labels: switch on has_prototypes or has_hybrid_matching, "
            "or switch has_outlier_mining off"
        )
    if not is_plain and config.warm_up_epochs >= config.epochs:
        raise ConfigurationError(
            f"warm_up_epochs is {config.warm_up_epochs} of {config.epochs} epochs, so that clusters are never made; "
            "shorten the warm-up, or ask for the baseline with info_nce(config)"
        )
    end = int(token_ids.max())
    if config.mask_token is not None and (not 0 < config.mask_share < 1 or not 0 < config.mask_token < end):
        raise ConfigurationError(
            f"mask_token is {config.mask_token} and mask_share {config.mask_share}; expected a number from 1 to "
            f"{end - 1}, below that of the end mark, and a share between 0 and 1"
        )
