"""CLIP-ReID: prompts for each identity, then an image encoder that learns from them (Li, Sun, Li 2023, AAAI).

Stages, in the paper's order:

1. `prompts`: four tokens for each identity against resting image features (equations 3 and 4);
2. `images`: identity and triplet losses, and the cross-entropy of an image against the texts of all identities.

The equations follow the authors' released code. Deviations:

- the schedules count epochs from 0, theirs from 1;
- no GradScaler: bfloat16 needs none;
- `warm_up_epochs` (0 as published) of stage 2 without texts come first for towers without pretrained weights, whose
  features a prompt could not describe; they use the optimiser and the schedule of stage 2;
- an encoder with camera vectors (SIE) learns one for each camera; theirs may also know the view, for vehicles.

Prompts describe features without camera vectors, as in the authors' code.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from torch import Tensor, nn

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
from reid_models.losses.metric import identity_loss
from reid_models.prompt_stage import (
    ClassTexts,
    PromptSamples,
    PromptStage,
    PromptStageConfig,
    class_texts,
    prompt_optimiser,
)
from reid_models.prompts import CLASS_TEMPLATE, Tokenize
from reid_models.schedules import Optimisation, OptimiserConfig, Schedule
from reid_models.trainer import Stage
from reid_models.transforms import HALF, IMAGENET, AugmentConfig


@dataclass(frozen=True, slots=True)
class ClipReidConfig:
    """`VIT` and `RN50` hold the published settings. `text_weight` is that of the texts in stage 2."""

    prompts: PromptStageConfig
    images: IdentityStageConfig
    encoder: OptimiserConfig
    warm_up_epochs: int = 0
    text_weight: float = 1.0
    template: str = CLASS_TEMPLATE
    seed: int = 0  # of the prompts' start


_SIZE = (256, 128)
_AUGMENT = AugmentConfig(
    flip_probability=0.5, pad_share=10 / 256, pad_value=0.0, jitter_strength=0.0, blur_probability=0.0,
    erase_probability=0.5, erase_area=(0.02, 1 / 3), erase_fill="noise", normalisation=HALF,
)  # fmt: skip

VIT = ClipReidConfig(
    PromptStageConfig(120, _SIZE),
    IdentityStageConfig(LoaderConfig(((0, _SIZE),), _AUGMENT), 60, identity_weight=0.25),
    OptimiserConfig(
        5e-6, 1e-4, bias_rate_factor=2.0, schedule=Schedule(10, 0.1, milestones=(30, 50), whole_epochs=True)
    ),
)
RN50 = ClipReidConfig(
    PromptStageConfig(60, _SIZE),
    IdentityStageConfig(LoaderConfig(((0, _SIZE),), replace(_AUGMENT, normalisation=IMAGENET)), 120),
    OptimiserConfig(
        3.5e-4, 5e-4, bias_rate_factor=2.0, schedule=Schedule(10, 0.01, milestones=(40, 70), whole_epochs=True)
    ),
)


def clip_reid(
    encoder: PersonEncoder, tokenize: Tokenize, data: LabelledSet, config: ClipReidConfig
) -> DescribingMethod:
    """The method over one encoder, whose text tower is frozen.

    Raises `ConfigurationError` for identities with gaps, fewer than two of them, or an unusable template.
    """
    classes = count_labels(data.identities, "identities", least=2)
    texts = class_texts(encoder, tokenize, classes, seed=config.seed, template=config.template)
    heads = IdentityHeads(encoder, classes)
    modules = nn.ModuleDict({"encoder": encoder, "heads": heads, "prompts": texts.learner})
    optimisers = {
        "prompts": Optimisation(prompt_optimiser(config.prompts.epochs), [texts.learner]),
        "encoder": Optimisation(config.encoder, [encoder, heads]),  # its frozen text tower is not taken
    }
    stages: list[Stage] = []
    if config.warm_up_epochs:
        stages.append(
            IdentityStage("warm_up", encoder, heads, data, replace(config.images, epochs=config.warm_up_epochs))
        )
    samples = PromptSamples(data.images, data.identities)
    stages.append(PromptStage("prompts", ("prompts",), texts, samples, config.prompts))
    stages.append(TextGuidedStage(texts, heads, data, config))
    return DescribingMethod(modules, optimisers, stages, concatenated_descriptor(encoder, "cosine"))


class TextGuidedStage(IdentityStage):
    """Stage 2: every image against the texts of all identities, which were computed once."""

    def __init__(self, texts: ClassTexts, heads: IdentityHeads, data: LabelledSet, config: ClipReidConfig) -> None:
        super().__init__("images", texts.encoder, heads, data, config.images)
        self.texts, self.text_weight = texts, config.text_weight

    def begin(self) -> None:
        self.class_texts = self.texts.features()

    def text_losses(self, projected: Tensor, labels: Tensor, indices: I64) -> Mapping[str, Tensor]:
        # Neither side is normalised and there is no temperature, as in the authors' code.
        return {"text": self.text_weight * identity_loss(projected @ self.class_texts.T, labels)}
