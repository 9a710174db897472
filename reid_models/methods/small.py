"""The small bundle: a light CNN and a small text tower, trained from scratch in three stages.

1. `appearance`: identity loss with label smoothing on the neck's features and batch-hard triplet loss on the pooled
   ones (Luo et al. 2019), at rising image size.
2. `language`: the same losses, plus a symmetric image-text loss between the images of a batch and two sentences about
   each of its identities. All towers learn.
3. `sentences`: the image tower rests, its features are computed once; its projection and the text tower go on with the
   image-text loss in batches six times as wide, whose many negatives the second stage cannot afford.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import numpy as np
import numpy.typing as npt
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
from reid_models.trainer import AugmentedImages, StageConfig, normalise, run_stage
from reid_models.vocabulary import UNKNOWN, Vocabulary, learn_vocabulary

FULL = (128, 64)  # height, width of the images in memory
LOW, HIGH = (96, 48), (112, 56)  # of the tower's input: most is learnt at the small size, which costs a quarter less
APPEARANCE = StageConfig("appearance", 12, 1e-3, sizes=((0, LOW),))
LANGUAGE = StageConfig("language", 24, 8e-4, sizes=((0, LOW), (8, HIGH)), warm_up_epochs=0.5, seed=1)
SENTENCES = StageConfig(
    "sentences", 5, 5e-4, sizes=((0, HIGH),), warm_up_epochs=0.3, identities_per_batch=96, images_per_identity=2, seed=2
)
WORD_DROPOUT = 0.1
FEATURE_DROPOUT = 0.1
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
    sentences: StageConfig = SENTENCES
    appearance_checkpoint: Path | None = None
    seed: int = 0


def train(people: DescribedPeople, recipe: Recipe, work: Path) -> tuple[PersonEncoder, Vocabulary]:
    """Run all stages; checkpoints go to the folder `work`."""
    work.mkdir(parents=True, exist_ok=True)
    run = SmallRun(people, recipe)
    images = read_images(people.samples, *FULL)
    if recipe.appearance_checkpoint is None:
        stage, checkpoint = recipe.appearance, work / "appearance.safetensors"
        run_stage(stage, run, people.labels, AugmentedImages(images, stage), run.appearance_losses, checkpoint)
    else:
        load_model(run, str(recipe.appearance_checkpoint))
    stage, checkpoint = recipe.language, work / "language.safetensors"
    run_stage(stage, run, people.labels, AugmentedImages(images, stage), run.language_losses, checkpoint)
    teach_sentences(run, people, images, recipe, work / "sentences.safetensors")
    return run.encoder.eval(), run.vocabulary


def teach_sentences(
    run: SmallRun, people: DescribedPeople, images: npt.NDArray[np.uint8], recipe: Recipe, checkpoint: Path
) -> None:
    """The third stage."""
    features = RestingFeatures.of(run.encoder, images, recipe.input_size)
    run.encoder.clip.visual.trunk.requires_grad_(False)
    run.encoder.neck.requires_grad_(False)
    run.classifier.requires_grad_(False)
    run_stage(recipe.sentences, run, people.labels, features, run.sentence_losses, checkpoint)


@dataclass(frozen=True, slots=True)
class RestingFeatures:
    """Pooled features of every training image and of its mirror image, computed once."""

    features: Tensor  # (2, N, P)

    @classmethod
    def of(cls, encoder: PersonEncoder, images: npt.NDArray[np.uint8], size: tuple[int, int]) -> RestingFeatures:
        """`images` is (N, H, W, 3) RGB; they are scaled to `size` (height, width)."""
        encoder.eval()
        parts = []
        for start in range(0, len(images), 128):
            batch = torch.from_numpy(images[start : start + 128]).permute(0, 3, 1, 2).float()
            batch = functional.interpolate(batch, size=size, mode="bilinear", align_corners=False, antialias=True)
            with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
                plain = normalise(batch).contiguous(memory_format=torch.channels_last)
                parts.append(torch.stack([encoder.clip.visual.trunk(view).float() for view in (plain, plain.flip(3))]))
        return cls(torch.cat(parts, dim=1))

    def __call__(self, indices: I64, _epoch: int, generator: torch.Generator, /) -> Tensor:
        """(B, P): of each image or its mirror image, some features hidden."""
        mirrored = torch.randint(0, 2, (len(indices),), generator=generator)
        drawn = self.features[mirrored, torch.from_numpy(indices)]
        shown = torch.rand(drawn.shape, generator=generator) >= FEATURE_DROPOUT
        return drawn * shown / (1.0 - FEATURE_DROPOUT)


class SmallRun(nn.Module):
    """The encoder with its identity classifier, and the losses of all stages."""

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
        return {**self._appearance(features, labels), "image_text": self._contrastive(features.language, labels)}

    def sentence_losses(self, pooled: Tensor, indices: I64) -> Mapping[str, Tensor]:
        language = self.encoder.clip.visual.head(pooled)
        return {"image_text": self._contrastive(language, self._labels(indices, pooled.device))}

    def draw_sentences(self, labels: list[int]) -> tuple[Tensor, Tensor]:
        """Two sentences for each label, some words hidden so that a sentence is more than its rarest word."""
        sentences = [sentence for label in labels for sentence in self._people.sentences(label, self._rng)]
        token_ids = self.vocabulary.encode(sentences, self.encoder.context_length)
        is_word = (token_ids > UNKNOWN) & (token_ids < self.vocabulary.size - 1)
        hidden = torch.from_numpy(self._rng.random(token_ids.shape) < WORD_DROPOUT) & is_word
        return token_ids.masked_fill(hidden, UNKNOWN), torch.tensor(labels).repeat_interleave(2)

    def _labels(self, indices: I64, device: torch.device) -> Tensor:
        return torch.from_numpy(self._people.labels[indices]).to(device)

    def _contrastive(self, language: Tensor, labels: Tensor) -> Tensor:
        token_ids, text_labels = self.draw_sentences(labels.unique().tolist())
        texts = self.encoder.embed_tokens(token_ids.to(language.device))
        # Similarities times the scale need more digits than bfloat16 has.
        with torch.autocast(language.device.type, enabled=False):
            return image_text_loss(
                functional.normalize(language.float(), dim=1),
                labels,
                functional.normalize(texts.float(), dim=1),
                text_labels.to(language.device),
                self.encoder.similarity_scale(),
            )

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
