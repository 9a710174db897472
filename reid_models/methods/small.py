"""The small bundle: a light CNN and a small text tower, trained from scratch in two stages.

1. `appearance`: identity loss with label smoothing on the neck's features and batch-hard triplet loss on the pooled
   ones (Luo et al. 2019), at rising image size; each strip of the image has an identity loss of its own (Sun et al.
   2018). With a teacher (`teacher.py`) also its features of every picture, predicted from ours, and the similarities of
   all pairs of a batch (`losses/distillation.py`); a third of the pictures are then invented people
   (`datasets/composites.py`). The teacher has seen the clean picture, the student a spoilt one (`degradations.py`), so
   it learns to see through loose boxes, blur and people in front.
2. `language`: the same losses, plus a symmetric image-text loss between the images of a batch and two sentences about
   each of its people, where a sentence counts as true of everybody of whom it is, and the coded attributes, told from
   the language features. All towers learn.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from torch import Tensor, nn
from torch.nn import functional

from reid_models.bundle import Bundle, load_bundle
from reid_models.clip_towers import image_size_of, part_widths
from reid_models.datasets.composites import Composites, draw_composites
from reid_models.datasets.described import Source, read_described_people
from reid_models.datasets.lessons import INVENTED, Lessons, is_yes, lessons_of_people, with_inventions
from reid_models.datasets.market1501 import read_query_and_gallery
from reid_models.datasets.sample import I64, cameras_of, identities_of
from reid_models.datasets.training_sets import U8, decoded_images
from reid_models.distributed import gathered
from reid_models.encoder import ImageFeatures, PersonEncoder, channels_last, mixed, person_cnn_architecture
from reid_models.evaluation import score_image_features
from reid_models.extraction import extract
from reid_models.loader import LoaderConfig
from reid_models.losses.contrastive import truth_matching_loss
from reid_models.losses.distillation import attribute_loss, feature_distillation_loss, relation_distillation_loss
from reid_models.losses.metric import batch_hard_triplet_loss, identity_loss
from reid_models.manifest import Training
from reid_models.publishing import assemble, data_digest, publish
from reid_models.samplers import identity_batches
from reid_models.schedules import Optimisation, OptimiserConfig, Schedule
from reid_models.teacher import Teacher
from reid_models.trainer import Figures, Losses, Method, Run, Stage, TrainerConfig, train
from reid_models.transforms import AugmentConfig
from reid_models.vocabulary import UNKNOWN, learn_vocabulary, scarce_words

log = logging.getLogger(__name__)

FULL = (128, 64)  # height, width of the images in memory
LOW = (96, 48)  # of the tower's input at first: most is learnt at the small size, which costs half
WORD_DROPOUT = 0.1
LEAST_COUNT = 2  # a word seen once in training teaches nothing
LEAST_PEOPLE = 10  # of whom a word must be said before an answer may rest on it
COMPOSITES = 40_000
FEATURE_WEIGHT, RELATION_WEIGHT = 4.0, 20.0  # of the teacher's two losses; both then start near the identity loss
ATTRIBUTE_WEIGHT = 1.0
PART_WEIGHT = 0.5  # of the identity losses of the strips, their mean
LICENCE = (
    "research and evaluation only: trained on Market-1501 and CUHK-PEDES captions, which are licensed for research; "
    "train on your own data for production"
)
CAMERAS_FAULTS = AugmentConfig(
    erase_probability=0.4, rebox_probability=0.5, hide_probability=0.1, motion_blur_probability=0.1
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
    inventions_per_batch: int = 32  # where there is a teacher

    def optimiser(self) -> OptimiserConfig:
        schedule = Schedule(self.warm_up_epochs, epochs=self.epochs)
        return OptimiserConfig(self.learning_rate, 0.02, "adamw", decays_vectors=False, schedule=schedule)


APPEARANCE = StageConfig(8, 1e-3, 2.0, LoaderConfig(((0, LOW),), CAMERAS_FAULTS))
LANGUAGE = StageConfig(20, 1e-3, 0.5, LoaderConfig(((0, LOW), (13, FULL)), CAMERAS_FAULTS))


@dataclass(frozen=True, slots=True)
class Recipe:
    """What is trained and how."""

    tower: str = "person_cnn_strips"
    input_size: tuple[int, int] = FULL
    appearance: StageConfig = APPEARANCE
    language: StageConfig = LANGUAGE
    trainer: TrainerConfig = field(default_factory=lambda: TrainerConfig(gradient_norm=5.0, evaluate_epochs=4))


def small(lessons: Lessons, recipe: Recipe) -> tuple[Method, SmallModel]:
    """Both stages over one model; each has its own optimiser."""
    torch.manual_seed(recipe.trainer.seed)
    model = SmallModel(lessons, recipe)
    optimisers = {
        "appearance": Optimisation(recipe.appearance.optimiser(), [model]),
        "language": Optimisation(recipe.language.optimiser(), [model]),
    }
    stages = (
        AppearanceStage(model, lessons, recipe.appearance),
        LanguageStage(model, lessons, recipe.language),
    )
    return Method(model, optimisers, stages), model


class SmallModel(nn.Module):
    """The encoder, the words that it knows, and what only training needs: classifiers of identity and attributes, and
    the prediction of the teacher's features.
    """

    def __init__(self, lessons: Lessons, recipe: Recipe) -> None:
        super().__init__()
        descriptions = list(lessons.people.descriptions(np.random.default_rng(recipe.trainer.seed)))
        self.vocabulary = learn_vocabulary(chain.from_iterable(descriptions), LEAST_COUNT)
        self.scarce_words = scarce_words(descriptions, self.vocabulary, LEAST_PEOPLE)
        architecture = person_cnn_architecture(recipe.tower, recipe.input_size, self.vocabulary.size)
        self.encoder = channels_last(PersonEncoder(architecture))
        self.classifier = nn.Linear(self.encoder.appearance_width, len(lessons.people.captions), bias=False)
        nn.init.normal_(self.classifier.weight, std=0.001)
        self.part_widths = part_widths(self.encoder.clip.visual)
        self.part_classifiers = nn.ModuleList(
            nn.Linear(width, len(lessons.people.captions), bias=False) for width in self.part_widths[1:]
        )
        self.attributes = nn.Linear(self.encoder.language_width, len(lessons.attribute_names))
        width = lessons.taught.shape[1]
        self.taught = nn.Linear(self.encoder.appearance_width, width) if width else None


class AppearanceStage(Stage):
    """Identity loss on the neck's features, batch-hard triplet loss on the pooled ones, and the teacher's losses."""

    name = "appearance"

    def __init__(self, model: SmallModel, lessons: Lessons, config: StageConfig) -> None:
        self.model, self.lessons, self.config = model, lessons, config
        self.images, self.loader, self.epochs, self.optimisers = (
            lessons.images, config.loader, config.epochs, (self.name,),
        )  # fmt: skip
        self.inventions = np.flatnonzero(lessons.labels == INVENTED)

    def batches(self, epoch: int, rng: np.random.Generator) -> Sequence[I64]:
        config = self.config
        known = identity_batches(self.lessons.labels, config.identities_per_batch, config.images_per_identity, rng)
        if not len(self.inventions):
            return list(known)
        return [np.concatenate([batch, rng.choice(self.inventions, config.inventions_per_batch)]) for batch in known]

    def losses(self, indices: I64, images: Tensor | None) -> Losses:
        assert images is not None
        return self.appearance_losses(self.model.encoder(images), indices)

    def appearance_losses(self, features: ImageFeatures, indices: I64) -> dict[str, Tensor]:
        appearance, pooled = gathered(features.appearance), gathered(features.pooled)
        labels = torch.from_numpy(self.lessons.labels[indices]).to(pooled.device)
        is_known = labels != INVENTED
        logits = self.model.classifier(appearance[is_known])
        by_part = [
            classify(part)
            for classify, part in zip(
                self.model.part_classifiers, appearance[is_known].split(self.model.part_widths, dim=1)[1:], strict=True
            )
        ]
        with torch.autocast(logits.device.type, enabled=False):
            found = {
                "identity": identity_loss(logits.float(), labels[is_known]),
                "triplet": batch_hard_triplet_loss(pooled.float(), labels),
            }
            if by_part:
                costs = [identity_loss(logits.float(), labels[is_known]) for logits in by_part]
                found["parts"] = PART_WEIGHT * torch.stack(costs).mean()
        return {**found, **self.lessons_of_the_teacher(appearance, indices)}

    def lessons_of_the_teacher(self, appearance: Tensor, indices: I64) -> dict[str, Tensor]:
        """Nothing without a teacher, or where it was asked about no picture of the batch."""
        taught = torch.from_numpy(self.lessons.taught[indices]).to(appearance.device)
        has_lesson = taught.any(dim=1)
        if self.model.taught is None or not has_lesson.any():
            return {}
        wanted = taught[has_lesson]
        predicted = self.model.taught(appearance[has_lesson])
        with torch.autocast(appearance.device.type, enabled=False):
            own = functional.normalize(appearance[has_lesson].float(), dim=1)
            guess = functional.normalize(predicted.float(), dim=1)
            return {
                "teacher": FEATURE_WEIGHT * feature_distillation_loss(guess, wanted),
                "teacher_relations": RELATION_WEIGHT * relation_distillation_loss(own, wanted),
            }


class LanguageStage(AppearanceStage):
    """The same, each image against sentences about the people of the batch, and its attributes."""

    name = "language"

    def batches(self, epoch: int, rng: np.random.Generator) -> Sequence[I64]:
        self._rng = rng
        return super().batches(epoch, rng)

    def losses(self, indices: I64, images: Tensor | None) -> Losses:
        assert images is not None
        features = self.model.encoder(images)
        device = images.device
        subjects = self.lessons.subjects[indices]
        token_ids, is_true = self.draw_sentences(subjects, self._rng)
        texts = self.model.encoder.embed_tokens(token_ids.to(device))
        language = gathered(features.language)
        holds, is_known = is_yes(self.lessons.codes[subjects])
        # Similarities times the scale need more digits than bfloat16 has.
        with torch.autocast(device.type, enabled=False):
            shown = functional.normalize(language.float(), dim=1)
            matching = truth_matching_loss(
                shown,
                functional.normalize(texts.float(), dim=1),
                is_true.to(device),
                self.model.encoder.similarity_scale(),
            )
            attributes = attribute_loss(
                self.model.attributes(language.float()),
                torch.from_numpy(holds).to(device),
                torch.from_numpy(is_known).to(device),
            )
        return {
            **self.appearance_losses(features, indices),
            "image_text": matching,
            "attributes": ATTRIBUTE_WEIGHT * attributes,
        }

    def draw_sentences(self, subjects: I64, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
        """Sentences about the subjects of a batch, as token ids (T, context length), and of which of the batch's images
        they are true (B, T). Some words are hidden, so that a sentence is more than its rarest word.
        """
        vocabulary = self.model.vocabulary
        sentences = [
            sentence for subject in np.unique(subjects).tolist() for sentence in self.lessons.sentences(subject, rng)
        ]
        token_ids = vocabulary.encode([sentence.text for sentence in sentences], self.model.encoder.context_length)
        is_word = (token_ids > UNKNOWN) & (token_ids < vocabulary.size - 1)
        hidden = torch.from_numpy(rng.random(token_ids.shape) < WORD_DROPOUT) & is_word
        return token_ids.masked_fill(hidden, UNKNOWN), torch.from_numpy(self.lessons.truth(sentences, subjects))


def begin_with(model: SmallModel, bundle: Bundle) -> int:
    """Take over every weight of `bundle` that has the same name and shape, words only with the same vocabulary.

    Returns how many arrays were taken. What training alone needs begins anew.
    """
    given, own = bundle.encoder.state_dict(), model.encoder.state_dict()
    words = "clip.text.token_embedding.weight"
    taken = {
        name: value for name, value in given.items() if name in own and value.shape == own[name].shape and name != words
    }
    if bundle.manifest.vocabulary == model.vocabulary.words:
        taken[words] = given[words]
    model.encoder.load_state_dict({**own, **taken})
    return len(taken)


def forget_drawings(model: SmallModel, images: U8, photographs: int) -> None:
    """Take out of the appearance vectors what all of `images` behind the first `photographs` have in common."""
    encoder = model.encoder
    size = image_size_of(encoder.clip.visual)
    features = functional.normalize(extract(model, lambda batch: encoder(batch).appearance, images, size), dim=1)
    encoder.forget(features[photographs:].mean(dim=0) - features[:photographs].mean(dim=0))


def validation(model: SmallModel, data: Path, size: tuple[int, int]) -> Figures:
    """Cross-camera scores of the appearance vectors on the query and gallery of `data`."""
    parts = read_query_and_gallery(data)
    query, gallery = (
        extract(model, lambda batch: model.encoder(batch).appearance, decoded_images(part, FULL), size).numpy()
        for part in (parts.query, parts.gallery)
    )
    scores = score_image_features(
        query, gallery, identities_of(parts.query), cameras_of(parts.query),
        identities_of(parts.gallery), cameras_of(parts.gallery),
    )  # fmt: skip
    return {"mean_average_precision": scores.mean_average_precision, "rank_1": scores.rank(1)}


def taught_lessons(lessons: Lessons, count: int, teacher: Teacher, cache: Path, seed: int) -> Lessons:
    """With composites of the first `count` pictures. What the teacher says takes minutes, so it is kept in `cache`."""
    rng = np.random.default_rng(seed)
    composites: Composites = draw_composites(lessons.images[:count], COMPOSITES, rng)
    if not cache.exists():
        pictures = lessons.images[:count]
        both = teacher.features(pictures) + teacher.features(np.ascontiguousarray(pictures[:, :, ::-1]))
        cache.parent.mkdir(parents=True, exist_ok=True)
        made = teacher.features(composites.images)
        np.savez(cache, pictures=both / np.linalg.norm(both, axis=1, keepdims=True), composites=made)
    kept = np.load(cache)
    return with_inventions(lessons, kept["pictures"], composites, kept["composites"])


def main(
    data: Annotated[Path, typer.Option(help="Market-1501 folder or zip")],
    captions: Annotated[Path, typer.Option(help="JSON of captions")],
    attributes: Annotated[Path, typer.Option(help="JSON of coded attributes")],
    out: Annotated[Path, typer.Option(help="The bundle folder to write")],
    teacher: Annotated[
        Path | None, typer.Option(help="A network (OpenVINO, ONNX) whose view of people is learnt")
    ] = None,
    start: Annotated[Path | None, typer.Option(help="A bundle whose weights are begun with, where they fit")] = None,
    earlier: Annotated[
        Path | None, typer.Option(help="A bundle of an earlier epoch of this run, to be mixed in")
    ] = None,
    earlier_share: Annotated[float, typer.Option(help="Of that bundle in the weights", min=0.0, max=1.0)] = 0.1,
    appearance_epochs: Annotated[int, typer.Option(help="Of the first stage")] = APPEARANCE.epochs,
    language_epochs: Annotated[int, typer.Option(help="Of the second stage")] = LANGUAGE.epochs,
    extra: Annotated[list[Path], typer.Option(help="Folder of `sightline simulate --crops`, for training")] = [],  # noqa: B006
    checked: Annotated[list[Path], typer.Option(help="The same, for validation")] = [],  # noqa: B006
    threads: Annotated[int, typer.Option(help="CPU threads; one is faster where others compute")] = 2,
) -> None:
    """Train the small bundle and write it, scored and calibrated. A run that was stopped goes on."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    torch.set_num_threads(threads)
    market = Source(data, captions, attributes)
    people = read_described_people([market, *map(simulated, extra)])
    recipe = Recipe(
        appearance=replace(APPEARANCE, epochs=appearance_epochs), language=replace(LANGUAGE, epochs=language_epochs)
    )
    if start is not None:  # what small images teach is learnt
        full = LoaderConfig(((0, FULL),), CAMERAS_FAULTS)
        recipe = replace(
            recipe, appearance=replace(recipe.appearance, loader=full), language=replace(recipe.language, loader=full)
        )
    work = out.with_name(f"{out.name}-checkpoints")
    lessons = lessons_of_people(people, decoded_images(people.samples, FULL))
    told = ""
    described_first = len(read_described_people([market]).samples)
    if teacher is not None:
        lessons = taught_lessons(
            lessons, described_first, Teacher(teacher, threads=threads), work / "teacher.npz", recipe.trainer.seed
        )
        told = f"; learnt from {teacher.stem}, a network that others trained"
    method, model = small(lessons, recipe)
    if start is not None:
        told += f"; begun with {begin_with(model, load_bundle(start))} weights of {start.name}"
    run = Run(work, {"method": "small"}, data_digest(people), lambda: validation(model, data, recipe.input_size))
    train(method, recipe.trainer, run)
    if earlier is not None:
        before = load_bundle(earlier).encoder.state_dict()
        model.encoder.load_state_dict(mixed(before, model.encoder.state_dict(), earlier_share))
        told += f"; {earlier_share:.0%} of the weights are those of {earlier.name}"
    pictures = len(people.samples)
    if described_first < pictures:
        forget_drawings(model, lessons.images[:pictures], described_first)
        told += "; what drawn people have in common was taken out"
    description = (
        f"{len(people.samples)} images of {len(people.captions)} people: {data.name} and {len(extra)} more{told}"
    )
    training = Training(description=description, data_digest=data_digest(people))
    encoder = model.encoder.eval()
    today = datetime.now(UTC).date()
    bundle = assemble(out.name, today, encoder, model.vocabulary, training, LICENCE, recipe.input_size)
    manifest = bundle.manifest.model_copy(update={"scarce_words": model.scarce_words})
    publish(
        out,
        replace(bundle, manifest=manifest),
        {"market1501": market} | {folder.name: simulated(folder) for folder in checked},
    )


def simulated(folder: Path) -> Source:
    """A folder written by `sightline simulate --crops`."""
    return Source(folder, folder / "captions.json", folder / "attributes.json")


if __name__ == "__main__":
    typer.run(main)
