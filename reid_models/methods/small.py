"""The small bundle: a light CNN and a small text tower, trained from scratch in two stages.

1. `appearance`: identity loss with label smoothing on the neck's features and batch-hard triplet loss on the pooled
   ones (Luo et al. 2019), at rising image size.
2. `language`: the same losses, plus a symmetric image-text loss between the images of a batch and two sentences about
   each of its identities. All towers learn.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from torch import Tensor, nn
from torch.nn import functional

from reid_models.datasets.described import DescribedPeople, Source, read_described_people
from reid_models.datasets.sample import I64
from reid_models.datasets.training_sets import U8, decoded_images
from reid_models.distributed import gathered
from reid_models.encoder import ImageFeatures, PersonEncoder, channels_last, person_cnn_architecture
from reid_models.loader import LoaderConfig
from reid_models.losses.contrastive import image_text_loss
from reid_models.losses.metric import batch_hard_triplet_loss, identity_loss
from reid_models.manifest import Training
from reid_models.publishing import assemble, data_digest, publish
from reid_models.samplers import identity_batches
from reid_models.schedules import Optimisation, OptimiserConfig, Schedule
from reid_models.trainer import Losses, Method, Run, Stage, TrainerConfig, train
from reid_models.vocabulary import UNKNOWN, learn_vocabulary

FULL = (128, 64)  # height, width of the images in memory
LOW, HIGH = (96, 48), (112, 56)  # of the tower's input: most is learnt at the small size, which costs a quarter less
WORD_DROPOUT = 0.1
LEAST_COUNT = 2  # a word seen once in training teaches nothing
LICENCE = (
    "research and evaluation only: trained on Market-1501 and CUHK-PEDES captions, which are licensed for research; "
    "train on your own data for production"
)


@dataclass(frozen=True, slots=True)
class StageConfig:
    """One stage: how long, how fast, at which image sizes (see `LoaderConfig`)."""

    epochs: int
    learning_rate: float
    warm_up_epochs: float
    loader: LoaderConfig
    identities_per_batch: int = 16
    images_per_identity: int = 4

    def optimiser(self) -> OptimiserConfig:
        schedule = Schedule(self.warm_up_epochs, epochs=self.epochs)
        return OptimiserConfig(self.learning_rate, 0.02, "adamw", decays_vectors=False, schedule=schedule)


APPEARANCE = StageConfig(12, 1e-3, 2.0, LoaderConfig(((0, LOW),)))
LANGUAGE = StageConfig(24, 8e-4, 0.5, LoaderConfig(((0, LOW), (8, HIGH))))


@dataclass(frozen=True, slots=True)
class Recipe:
    """What is trained and how."""

    tower: str = "person_cnn_small"
    input_size: tuple[int, int] = HIGH
    appearance: StageConfig = APPEARANCE
    language: StageConfig = LANGUAGE
    trainer: TrainerConfig = field(default_factory=lambda: TrainerConfig(gradient_norm=5.0))


def small(people: DescribedPeople, images: U8, recipe: Recipe) -> tuple[Method, SmallModel]:
    """Both stages over one model; each has its own optimiser."""
    torch.manual_seed(recipe.trainer.seed)
    model = SmallModel(people, recipe)
    optimisers = {
        "appearance": Optimisation(recipe.appearance.optimiser(), [model.encoder, model.classifier]),
        "language": Optimisation(recipe.language.optimiser(), [model.encoder, model.classifier]),
    }
    stages = (
        AppearanceStage(model, people, images, recipe.appearance),
        LanguageStage(model, people, images, recipe.language),
    )
    return Method(model, optimisers, stages), model


class SmallModel(nn.Module):
    """The encoder with its identity classifier and the words that it knows."""

    def __init__(self, people: DescribedPeople, recipe: Recipe) -> None:
        super().__init__()
        words = people.all_words(np.random.default_rng(recipe.trainer.seed))
        self.vocabulary = learn_vocabulary(words, LEAST_COUNT)
        architecture = person_cnn_architecture(recipe.tower, recipe.input_size, self.vocabulary.size)
        self.encoder = channels_last(PersonEncoder(architecture))
        self.classifier = nn.Linear(self.encoder.appearance_width, len(people.captions), bias=False)
        nn.init.normal_(self.classifier.weight, std=0.001)


class AppearanceStage(Stage):
    """Identity loss on the neck's features, batch-hard triplet loss on the pooled ones."""

    name = "appearance"

    def __init__(self, model: SmallModel, people: DescribedPeople, images: U8, config: StageConfig) -> None:
        self.model, self.people, self.config = model, people, config
        self.images, self.loader, self.epochs, self.optimisers = images, config.loader, config.epochs, (self.name,)

    def batches(self, epoch: int, rng: np.random.Generator) -> Sequence[I64]:
        config = self.config
        return list(identity_batches(self.people.labels, config.identities_per_batch, config.images_per_identity, rng))

    def losses(self, indices: I64, images: Tensor | None) -> Losses:
        assert images is not None
        return self.appearance_losses(self.model.encoder(images), indices)

    def appearance_losses(self, features: ImageFeatures, indices: I64) -> dict[str, Tensor]:
        appearance, pooled = gathered(features.appearance), gathered(features.pooled)
        labels = torch.from_numpy(self.people.labels[indices]).to(pooled.device)
        logits = self.model.classifier(appearance)
        with torch.autocast(logits.device.type, enabled=False):
            return {
                "identity": identity_loss(logits.float(), labels),
                "triplet": batch_hard_triplet_loss(pooled.float(), labels),
            }


class LanguageStage(AppearanceStage):
    """The same, and each image against two sentences about each identity of the batch."""

    name = "language"

    def batches(self, epoch: int, rng: np.random.Generator) -> Sequence[I64]:
        self._rng = rng
        return super().batches(epoch, rng)

    def losses(self, indices: I64, images: Tensor | None) -> Losses:
        assert images is not None
        features = self.model.encoder(images)
        device = images.device
        token_ids, text_labels = self.draw_sentences(np.unique(self.people.labels[indices]).tolist(), self._rng)
        texts = self.model.encoder.embed_tokens(token_ids.to(device))
        language = gathered(features.language)
        # Similarities times the scale need more digits than bfloat16 has.
        with torch.autocast(device.type, enabled=False):
            contrastive = image_text_loss(
                functional.normalize(language.float(), dim=1),
                torch.from_numpy(self.people.labels[indices]).to(device),
                functional.normalize(texts.float(), dim=1),
                text_labels.to(device),
                self.model.encoder.similarity_scale(),
            )
        return {**self.appearance_losses(features, indices), "image_text": contrastive}

    def draw_sentences(self, labels: list[int], rng: np.random.Generator) -> tuple[Tensor, Tensor]:
        """Two sentences for each label, some words hidden so that a sentence is more than its rarest word."""
        vocabulary = self.model.vocabulary
        sentences = [sentence for label in labels for sentence in self.people.sentences(label, rng)]
        token_ids = vocabulary.encode(sentences, self.model.encoder.context_length)
        is_word = (token_ids > UNKNOWN) & (token_ids < vocabulary.size - 1)
        hidden = torch.from_numpy(rng.random(token_ids.shape) < WORD_DROPOUT) & is_word
        return token_ids.masked_fill(hidden, UNKNOWN), torch.tensor(labels).repeat_interleave(2)


def main(
    data: Annotated[Path, typer.Option(help="Market-1501 folder or zip")],
    captions: Annotated[Path, typer.Option(help="JSON of captions")],
    attributes: Annotated[Path, typer.Option(help="JSON of coded attributes")],
    out: Annotated[Path, typer.Option(help="The bundle folder to write")],
    extra: Annotated[list[Path], typer.Option(help="Folder of `sightline simulate --crops`, for training")] = [],  # noqa: B006
    validation: Annotated[list[Path], typer.Option(help="The same, for validation")] = [],  # noqa: B006
    threads: Annotated[int, typer.Option(help="CPU threads; one is faster where others compute")] = 2,
) -> None:
    """Train the small bundle and write it, scored and calibrated."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    torch.set_num_threads(threads)
    market = Source(data, captions, attributes)
    people = read_described_people([market, *map(simulated, extra)])
    recipe = Recipe()
    digest = data_digest(people)
    method, model = small(people, decoded_images(people.samples, FULL), recipe)
    train(method, recipe.trainer, Run(out.with_name(f"{out.name}-checkpoints"), {"method": "small"}, digest))
    description = f"{len(people.samples)} images of {len(people.captions)} people: {data.name} and {len(extra)} more"
    training = Training(description=description, data_digest=digest)
    encoder = model.encoder.eval()
    today = datetime.now(UTC).date()
    bundle = assemble(out.name, today, encoder, model.vocabulary, training, LICENCE, recipe.input_size)
    checked = {"market1501": market} | {folder.name: simulated(folder) for folder in validation}
    publish(out, bundle, checked)


def simulated(folder: Path) -> Source:
    """A folder written by `sightline simulate --crops`."""
    return Source(folder, folder / "captions.json", folder / "attributes.json")


if __name__ == "__main__":
    typer.run(main)
