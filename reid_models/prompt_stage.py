"""Learning prompts against resting image features: what CLIP-ReID calls stage 1, and CCAFL and CLIP-FGDI build on.

Image features are computed once, without augmentation; only the learnable tokens change. Nothing but the tokens is in
the stage's optimiser, and the text tower is frozen for good, so no weight of a tower can move here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from reid_models.datasets.sample import I64
from reid_models.datasets.training_sets import U8
from reid_models.encoder import PersonEncoder
from reid_models.extraction import extract
from reid_models.losses.contrastive import prompt_contrastive_loss
from reid_models.prompts import (
    CLASS_TEMPLATE,
    DOMAIN_TEMPLATE,
    PromptLearner,
    Tokenize,
    prompt_features,
)
from reid_models.schedules import OptimiserConfig, Schedule
from reid_models.trainer import Losses, Stage


@dataclass(frozen=True, slots=True, eq=False)
class ClassTexts:
    """The prompts of all classes and the frozen text tower that reads them; see `class_texts`."""

    encoder: PersonEncoder
    learner: PromptLearner

    def embed(self, class_ids: Tensor, domain_ids: Tensor | None = None, detach_class: bool = False) -> Tensor:
        """The sentences of `class_ids` (N,), in their domains if given, as features (N, L) with gradient."""
        return self.encoder.embed_prompts(*self.learner.prompts(class_ids, domain_ids, detach_class))

    def features(self, class_ids: Tensor | None = None, domain_ids: Tensor | None = None) -> Tensor:
        """The same without gradient, as float32; None: all classes in order."""
        if class_ids is None:
            class_ids = torch.arange(self.learner.classes, device=self.learner.class_tokens.device)
        return prompt_features(self.encoder, self.learner, class_ids, domain_ids)


def class_texts(
    encoder: PersonEncoder, tokenize: Tokenize, classes: int, domains: int = 0, seed: int = 0,
    template: str = CLASS_TEMPLATE, domain_template: str = DOMAIN_TEMPLATE,
) -> ClassTexts:  # fmt: skip
    """New prompts for an encoder, whose text tower is frozen from here on: call it before optimisers are made.

    `learner` belongs in the method's modules.

    Raises `ConfigurationError` for a tokenizer that does not know the template's words.
    """
    for resting in (encoder.clip.text, encoder.clip.logit_scale):
        resting.requires_grad_(False)
    generator = torch.Generator().manual_seed(seed)
    learner = PromptLearner(
        template, tokenize, encoder.token_embedding, classes, domains=domains, domain_template=domain_template,
        generator=generator,
    )  # fmt: skip
    return ClassTexts(encoder, learner.to(encoder.token_embedding.weight.device))


def prompt_optimiser(epochs: int, learning_rate: float = 3.5e-4, warm_up_epochs: int = 5) -> OptimiserConfig:
    """Adam as published: warm-up from 1e-5, then half a cosine to 1e-6.

    Deviation: the cosine begins behind the warm-up; in the published code it runs below it, and the rate leaps.
    """
    schedule = Schedule(
        warm_up_epochs, 1e-5 / learning_rate, epochs=epochs, floor=1e-6 / learning_rate, whole_epochs=True
    )
    return OptimiserConfig(learning_rate, 1e-4, schedule=schedule)


@dataclass(frozen=True, slots=True)
class PromptStageConfig:
    """How long and on what; `image_size` is the (height, width) at which features are cached."""

    epochs: int
    image_size: tuple[int, int]
    batch: int = 64
    device: str = "cpu"
    precision: str = "bfloat16"


@dataclass(frozen=True, slots=True, eq=False)
class PromptSamples:
    """What the prompts describe. With `groups` only samples of one group are told apart: CCAFL's cameras."""

    images: U8  # (N, H, W, 3)
    classes: I64  # (N,) rows of the prompts
    groups: I64 | None = None  # (N,)


class PromptStage(Stage):
    """Sentences and images of a class attract each other within random batches, drawn anew each epoch."""

    def __init__(
        self, name: str, optimisers: tuple[str, ...], texts: ClassTexts, samples: PromptSamples,
        config: PromptStageConfig,
    ) -> None:  # fmt: skip
        self.name, self.epochs, self.optimisers = name, config.epochs, optimisers
        self.texts, self.samples, self.config = texts, samples, config

    def begin(self) -> None:
        encoder, config = self.texts.encoder, self.config

        def encode(images: Tensor) -> Tensor:
            features: Tensor = encoder(images, encoder.unknown_cameras(images)).language
            return features

        self.image_features = extract(  # (N, L)
            encoder, encode, self.samples.images, config.image_size, config.device, config.precision
        )

    def batches(self, epoch: int, rng: np.random.Generator) -> Sequence[I64]:
        order = rng.permutation(len(self.samples.classes))
        # Parts of nearly one size: a last batch of one sample would have nothing to be told apart from.
        return np.array_split(order, -(-len(order) // self.config.batch))

    def losses(self, indices: I64, images: Tensor | None) -> Losses:
        texts = self.embed(indices)
        with torch.autocast(texts.device.type, enabled=False):
            texts = texts.float()
            contrastive = torch.zeros((), device=texts.device)
            for rows in self._groups(indices):
                places = self.on_device(rows)
                found, labels = self.image_features[self.on_device(indices[rows])], self.samples.classes[indices[rows]]
                contrastive = contrastive + prompt_contrastive_loss(found, texts[places], self.on_device(labels))
            return {"contrastive": contrastive, **self.further_losses(texts, indices)}

    def embed(self, indices: I64) -> Tensor:
        """(B, L): the sentence of each sample."""
        return self.texts.embed(self.on_device(self.samples.classes[indices]))

    def further_losses(self, texts: Tensor, indices: I64) -> Mapping[str, Tensor]:
        """Terms on the sentences (B, L), beside the contrastive one."""
        return {}

    def on_device(self, values: I64) -> Tensor:
        return torch.from_numpy(values).to(self.config.device)

    def _groups(self, indices: I64) -> list[I64]:
        """The places within the batch of each group's samples."""
        if self.samples.groups is None:
            return [np.arange(len(indices))]
        groups = self.samples.groups[indices]
        return [np.flatnonzero(groups == group) for group in np.unique(groups)]
