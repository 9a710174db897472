"""CLIP-FGDI: an encoder for unseen domains, guided by domain-invariant and domain-relevant prompts.

Zhao, Qi, Geng 2025, IEEE TIFS 20:2132-2142 (the title spells it CILP-FGDI). Stages, in the paper's order:

1. `warm_up`: the encoder learns from identity and soft-margin triplet losses;
2. `invariant_prompts` (2a): tokens for each identity, whose text a classifier of domains behind a reversed gradient
   must not tell the domain from; `relevant_prompts` (2b): one token for each domain, while those of identities rest;
3. `images`: the losses of stage 1, every image against the invariant texts of all identities, and the bidirectional
   guidance (APN): nearer to the invariant text of its identity than to the relevant one.

Stages 1 and 3 share optimiser and schedule, so stage 3 begins behind the epochs of stage 1. The equations follow the
authors' released code where the paper's text was not at hand. Deviations:

- the guidance has the direction of the paper's abstract and figure; `guidance_sign` -1 is that of the released code;
- batches of prompts are drawn anew in each epoch and none is dropped (there: formed once);
- classes are counted in the data (there: constants, some of which counted classes without images);
- optimisers hold what they train and nothing else (there: resting prompts decay);
- texts are computed once for each stage (there: with every batch, to the same values);
- the plain classifier of domains has the weight 1; nothing but itself learns from it.

A tower without pretrained weights needs a longer `warm_up_epochs`: prompts can only describe features that already
mean something. Its text tower is then a random projection of the tokens, so its prompts carry identity and domain as
the image features have them, but nothing of language.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from pipeline.errors import ConfigurationError
from reid_models.augmix import AugMixConfig
from reid_models.datasets.sample import I64
from reid_models.datasets.training_sets import LabelledSet
from reid_models.descriptor import DescribingMethod
from reid_models.encoder import PersonEncoder
from reid_models.identity_stage import (
    IdentityHeads,
    IdentityStage,
    IdentityStageConfig,
    concatenated_descriptor,
    count_labels,
)
from reid_models.loader import LoaderConfig
from reid_models.losses.adversarial import guidance_loss, reverse_gradient
from reid_models.losses.metric import identity_loss
from reid_models.prompt_stage import (
    ClassTexts,
    PromptSamples,
    PromptStage,
    PromptStageConfig,
    class_texts,
    prompt_optimiser,
)
from reid_models.prompts import CLASS_TEMPLATE, DOMAIN_TEMPLATE, Tokenize
from reid_models.schedules import Optimisation, OptimiserConfig, Schedule
from reid_models.trainer import Figures, Stage
from reid_models.transforms import AugmentConfig

HIDDEN_WIDTH = 128  # of a domain classifier
DOMAIN_RATE = 0.01  # its learning rate


@dataclass(frozen=True, slots=True)
class Guidance:
    """What guides the images of stage 3, and how.

    `invariant_texts` False: no cross-entropy against texts, and the guidance only pushes from the relevant text.
    `relevant_texts` False: no stage 2b and no guidance, as beta = 0. Both False: no prompts at all.
    """

    beta: float = 0.1  # share of the guidance; the cross-entropy against texts has the rest
    sign: Literal[1, -1] = 1  # 1: the paper's direction, -1: the released code's
    invariant_texts: bool = True
    relevant_texts: bool = True


@dataclass(frozen=True, slots=True)
class ClipFgdiConfig:
    """`VIT` holds the published settings. `images` is stage 3; stage 1 is the same for `warm_up_epochs`."""

    images: IdentityStageConfig
    prompts: PromptStageConfig  # of stage 2a; 2b is the same for `relevant_epochs`
    encoder: OptimiserConfig
    warm_up_epochs: int = 3
    relevant_epochs: int = 30
    guidance: Guidance = field(default_factory=Guidance)
    adversary_weight: float = 0.01  # omega; 0: invariant prompts learn without a reversed gradient
    reversal_strength: float = 0.1  # epsilon; the prompts see omega * epsilon of the classifier's gradient
    template: str = CLASS_TEMPLATE
    domain_template: str = DOMAIN_TEMPLATE
    is_instance_normalised: bool = True  # the encoder must be built so
    seed: int = 0  # of the prompts' start


_SIZE = (224, 224)
_AUGMENT = AugmentConfig(
    flip_probability=0.4, pad_share=10 / 224, pad_value=0.0, jitter_strength=0.0, blur_probability=0.0,
    erase_probability=0.0, grayscale_probability=0.1, colour_probability=0.1,
    augmix=AugMixConfig(0.6, width=3, depth=1, severity=1),
)  # fmt: skip

VIT = ClipFgdiConfig(
    IdentityStageConfig(LoaderConfig(((0, _SIZE),), _AUGMENT), 60, identities_per_batch=32, margin=None),
    PromptStageConfig(120, _SIZE, batch=128),
    OptimiserConfig(
        5e-6, 1e-4, bias_rate_factor=2.0, schedule=Schedule(10, 0.1, milestones=(30, 50), whole_epochs=True)
    ),
)


class DomainClassifier(nn.Sequential):
    """Text feature (B, L) → (B, domains) logits; L is 512 for CLIP ViT-B/16."""

    def __init__(self, width: int, domains: int) -> None:
        super().__init__(
            nn.Linear(width, HIDDEN_WIDTH), nn.BatchNorm1d(HIDDEN_WIDTH), nn.ReLU(), nn.Linear(HIDDEN_WIDTH, domains)
        )


def clip_fgdi(
    encoder: PersonEncoder, tokenize: Tokenize, data: LabelledSet, config: ClipFgdiConfig
) -> DescribingMethod:
    """The method over one encoder, whose text tower is frozen. Modules and optimisers are the same for any guidance.

    Raises `ConfigurationError` for labels with gaps, fewer than two domains, an encoder whose input is not normalised
    as the configuration says, and an unusable template.
    """
    classes = count_labels(data.identities, "identities", least=2)
    domains = count_labels(data.domains, "domains", least=2)
    _require_consistent(encoder, config)
    texts = class_texts(encoder, tokenize, classes, domains, config.seed, config.template, config.domain_template)
    heads = IdentityHeads(encoder, classes)
    adversary = DomainClassifier(encoder.language_width, domains)
    plain = DomainClassifier(encoder.language_width, domains)
    modules = nn.ModuleDict(
        {"encoder": encoder, "heads": heads, "prompts": texts.learner, "adversary": adversary, "domains": plain}
    )
    invariant, relevant = config.prompts, replace(config.prompts, epochs=config.relevant_epochs)
    optimisers = {
        "encoder": Optimisation(config.encoder, [encoder, heads]),  # its frozen text tower is not taken
        "invariant_prompts": Optimisation(prompt_optimiser(invariant.epochs), [texts.learner.class_tokens]),
        "adversary": Optimisation(prompt_optimiser(invariant.epochs, DOMAIN_RATE), [adversary]),
        "relevant_prompts": Optimisation(prompt_optimiser(relevant.epochs), [texts.learner.domain_tokens]),
        "domains": Optimisation(prompt_optimiser(relevant.epochs, DOMAIN_RATE), [plain]),
    }
    guidance, warm_up = config.guidance, replace(config.images, epochs=config.warm_up_epochs)
    stages: list[Stage] = [IdentityStage("warm_up", encoder, heads, data, warm_up)]
    if guidance.invariant_texts or guidance.relevant_texts:
        stages.append(InvariantPromptStage(texts, adversary, data, config))
    if guidance.relevant_texts:
        stages.append(RelevantPromptStage(texts, plain, data, relevant))
    stages.append(GuidedStage(texts, heads, data, config))
    return DescribingMethod(modules, optimisers, stages, concatenated_descriptor(encoder, "euclidean"))


class _DomainPromptStage(PromptStage):
    """Prompts with a classifier of domains beside them, whose accuracy is told."""

    def __init__(
        self, name: str, optimisers: tuple[str, ...], texts: ClassTexts, classifier: DomainClassifier,
        data: LabelledSet, config: PromptStageConfig,
    ) -> None:  # fmt: skip
        super().__init__(name, optimisers, texts, PromptSamples(data.images, data.identities), config)
        self.classifier, self.domains = classifier, data.domains

    def batches(self, epoch: int, rng: np.random.Generator) -> list[I64]:
        self._right, self._seen = 0, 0
        return list(super().batches(epoch, rng))

    def domain_loss(self, texts: Tensor, indices: I64) -> Tensor:
        labels = self.on_device(self.domains[indices])
        logits: Tensor = self.classifier(texts)
        self._right += int((logits.argmax(dim=1) == labels).sum())
        self._seen += len(labels)
        return functional.cross_entropy(logits, labels)

    def figures(self) -> Figures:
        return {"domain_accuracy": self._right / self._seen} if self._seen else {}


class InvariantPromptStage(_DomainPromptStage):
    """2a: tokens of identities learn; the reversed gradient of the classifier takes the domain out of them."""

    def __init__(
        self, texts: ClassTexts, classifier: DomainClassifier, data: LabelledSet, config: ClipFgdiConfig
    ) -> None:
        self.weight, self.strength = config.adversary_weight, config.reversal_strength
        optimisers = ("invariant_prompts", "adversary") if self.weight else ("invariant_prompts",)
        super().__init__("invariant_prompts", optimisers, texts, classifier, data, config.prompts)

    def further_losses(self, texts: Tensor, indices: I64) -> Mapping[str, Tensor]:
        if not self.weight:
            return {}
        return {"adversary": self.weight * self.domain_loss(reverse_gradient(texts, self.strength), indices)}


class RelevantPromptStage(_DomainPromptStage):
    """2b: only the tokens of domains learn, from the images; the classifier watches, and nothing learns from it."""

    def __init__(
        self, texts: ClassTexts, classifier: DomainClassifier, data: LabelledSet, config: PromptStageConfig
    ) -> None:
        optimisers = ("relevant_prompts", "domains")
        super().__init__("relevant_prompts", optimisers, texts, classifier, data, config)

    def embed(self, indices: I64) -> Tensor:
        class_ids, domain_ids = self.samples.classes[indices], self.domains[indices]
        return self.texts.embed(self.on_device(class_ids), self.on_device(domain_ids), detach_class=True)

    def further_losses(self, texts: Tensor, indices: I64) -> Mapping[str, Tensor]:
        return {"domains": self.domain_loss(texts.detach(), indices)}


class GuidedStage(IdentityStage):
    """Stage 3. Texts of identities, and of those pairs of identity and domain that occur, are computed once."""

    def __init__(self, texts: ClassTexts, heads: IdentityHeads, data: LabelledSet, config: ClipFgdiConfig) -> None:
        super().__init__("images", texts.encoder, heads, data, config.images)
        self.texts, self.guidance = texts, config.guidance

    def begin(self) -> None:
        pairs, pair_of_sample = np.unique(
            np.stack([self.data.identities, self.data.domains], axis=1), axis=0, return_inverse=True
        )
        self.pair_of_sample: I64 = pair_of_sample.reshape(-1)
        if self.guidance.invariant_texts:
            self.invariant = self.texts.features()  # (classes, L)
        if self.guidance.relevant_texts:
            class_ids, domain_ids = self.on_device(pairs).T
            self.relevant = self.texts.features(class_ids, domain_ids)  # (pairs, L)

    def text_losses(self, projected: Tensor, labels: Tensor, indices: I64) -> Mapping[str, Tensor]:
        guidance, parts = self.guidance, {}
        beta = guidance.beta if guidance.relevant_texts else 0.0
        if guidance.invariant_texts:
            parts["text"] = (1.0 - beta) * identity_loss(projected @ self.invariant.T, labels)
        if guidance.relevant_texts:
            relevant = self.relevant[self.on_device(self.pair_of_sample[indices])]
            # Zeros have the cosine 0 to everything, which leaves the push alone.
            invariant = self.invariant[labels] if guidance.invariant_texts else torch.zeros_like(relevant)
            parts["guidance"] = beta * guidance_loss(projected, invariant, relevant, guidance.sign)
        return parts


def _require_consistent(encoder: PersonEncoder, config: ClipFgdiConfig) -> None:
    guidance = config.guidance
    if not 0.0 <= guidance.beta <= 1.0 or guidance.sign not in (1, -1):
        raise ConfigurationError(
            f"beta is {guidance.beta} and the sign of the guidance {guidance.sign}; expected a share from 0 to 1, and "
            "1 (the paper's direction) or -1 (the released code's)"
        )
    if encoder.instance_normalised != config.is_instance_normalised:
        raise ConfigurationError(
            f"the encoder has instance_normalised={encoder.instance_normalised}, the configuration asks for "
            f"{config.is_instance_normalised}; build it with PersonOptions(instance_normalised=...), or change "
            "is_instance_normalised"
        )
