"""The small bundle: a light CNN and a small text tower, trained from scratch in two stages.

1. `appearance`: identity loss with label smoothing on the neck's features and batch-hard triplet loss on the pooled
   ones (Luo et al. 2019), at rising image size.
2. `language`: the same losses, plus a symmetric image-text loss between the images of a batch and two sentences about
   each of its identities. All towers learn.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from safetensors.torch import load_model
from torch import Tensor, nn
from torch.nn import functional

from reid_models.datasets.described import DescribedPeople, Source, read_described_people
from reid_models.datasets.sample import I64, read_images
from reid_models.encoder import ImageFeatures, PersonEncoder, channels_last, person_cnn_architecture
from reid_models.losses.contrastive import image_text_loss
from reid_models.losses.metric import batch_hard_triplet_loss, identity_loss
from reid_models.manifest import Training
from reid_models.publishing import assemble, data_digest, publish
from reid_models.trainer import StageConfig, TrainingSet, run_stage
from reid_models.vocabulary import UNKNOWN, Vocabulary, learn_vocabulary

FULL = (128, 64)  # height, width of the images in memory
LOW, HIGH = (96, 48), (112, 56)  # of the tower's input: most is learnt at the small size, which costs a quarter less
APPEARANCE = StageConfig("appearance", 12, 1e-3, sizes=((0, LOW),))
LANGUAGE = StageConfig("language", 24, 8e-4, sizes=((0, LOW), (8, HIGH)), warm_up_epochs=0.5, seed=1)
WORD_DROPOUT = 0.1
LEAST_COUNT = 2  # a word seen once in training teaches nothing
LICENCE = (
    "research and evaluation only: trained on Market-1501 and CUHK-PEDES captions, which are licensed for research; "
    "train on your own data for production"
)


@dataclass(frozen=True, slots=True)
class Recipe:
    """What is trained and how; `appearance_checkpoint` replaces the first stage by its result."""

    tower: str = "person_cnn_small"
    input_size: tuple[int, int] = HIGH
    appearance: StageConfig = APPEARANCE
    language: StageConfig = LANGUAGE
    appearance_checkpoint: Path | None = None
    seed: int = 0


def train(people: DescribedPeople, recipe: Recipe, work: Path) -> tuple[PersonEncoder, Vocabulary]:
    """Run both stages; checkpoints go to the folder `work`."""
    work.mkdir(parents=True, exist_ok=True)
    run = SmallRun(people, recipe)
    training_set = TrainingSet(read_images(people.samples, *FULL), people.labels)
    if recipe.appearance_checkpoint is None:
        run_stage(recipe.appearance, run, training_set, run.appearance_losses, work / "appearance.safetensors")
    else:
        load_model(run, str(recipe.appearance_checkpoint))
    run_stage(recipe.language, run, training_set, run.language_losses, work / "language.safetensors")
    return run.encoder.eval(), run.vocabulary


class SmallRun(nn.Module):
    """The encoder with its identity classifier, and the losses of both stages."""

    def __init__(self, people: DescribedPeople, recipe: Recipe) -> None:
        super().__init__()
        torch.manual_seed(recipe.seed)
        self._rng = np.random.default_rng(recipe.seed)
        self._people = people
        self.vocabulary = learn_vocabulary(people.all_words(self._rng), LEAST_COUNT)
        architecture = person_cnn_architecture(recipe.tower, recipe.input_size, self.vocabulary.size)
        self.encoder = channels_last(PersonEncoder(architecture))
        self.classifier = nn.Linear(self.encoder.appearance_width, len(people.captions), bias=False)
        nn.init.normal_(self.classifier.weight, std=0.001)

    def appearance_losses(self, images: Tensor, indices: I64) -> Mapping[str, Tensor]:
        features = self.encoder(images)
        return self._appearance(features, self._labels(indices, images.device))

    def language_losses(self, images: Tensor, indices: I64) -> Mapping[str, Tensor]:
        features = self.encoder(images)
        labels = self._labels(indices, images.device)
        token_ids, text_labels = self.draw_sentences(np.unique(self._people.labels[indices]).tolist())
        texts = self.encoder.embed_tokens(token_ids.to(images.device))
        # Similarities times the scale need more digits than bfloat16 has.
        with torch.autocast(images.device.type, enabled=False):
            contrastive = image_text_loss(
                functional.normalize(features.language.float(), dim=1),
                labels,
                functional.normalize(texts.float(), dim=1),
                text_labels.to(images.device),
                self.encoder.similarity_scale(),
            )
        return {**self._appearance(features, labels), "image_text": contrastive}

    def draw_sentences(self, labels: list[int]) -> tuple[Tensor, Tensor]:
        """Two sentences for each label, some words hidden so that a sentence is more than its rarest word."""
        sentences = [sentence for label in labels for sentence in self._people.sentences(label, self._rng)]
        token_ids = self.vocabulary.encode(sentences, self.encoder.context_length)
        is_word = (token_ids > UNKNOWN) & (token_ids < self.vocabulary.size - 1)
        hidden = torch.from_numpy(self._rng.random(token_ids.shape) < WORD_DROPOUT) & is_word
        return token_ids.masked_fill(hidden, UNKNOWN), torch.tensor(labels).repeat_interleave(2)

    def _labels(self, indices: I64, device: torch.device) -> Tensor:
        return torch.from_numpy(self._people.labels[indices]).to(device)

    def _appearance(self, features: ImageFeatures, labels: Tensor) -> Mapping[str, Tensor]:
        logits = self.classifier(features.appearance)
        with torch.autocast(logits.device.type, enabled=False):
            return {
                "identity": identity_loss(logits.float(), labels),
                "triplet": batch_hard_triplet_loss(features.pooled.float(), labels),
            }


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
    encoder, vocabulary = train(people, recipe, out.with_name(f"{out.name}-checkpoints"))
    description = f"{len(people.samples)} images of {len(people.captions)} people: {data.name} and {len(extra)} more"
    training = Training(description=description, data_digest=data_digest(people))
    bundle = assemble(out.name, datetime.now(UTC).date(), encoder, vocabulary, training, LICENCE, recipe.input_size)
    checked = {"market1501": market} | {folder.name: simulated(folder) for folder in validation}
    publish(out, bundle, checked)


def simulated(folder: Path) -> Source:
    """A folder written by `sightline simulate --crops`."""
    return Source(folder, folder / "captions.json", folder / "attributes.json")


if __name__ == "__main__":
    typer.run(main)
