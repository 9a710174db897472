"""How near labels within each camera come to full labels, on real images: CCAFL, its ablations, and a noisy tracker.

Every variant has the same tower from scratch, the same images, and the same number of batches of the same size. The
trainer sees an `IntraCameraSet`; true identities are used here alone, to score and to say how pure an association was.

    python -m reid_models.experiments.intra_camera --data market1501-split.zip --out results.json --seeds 3
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from torch import Tensor, nn
from torch.nn import functional

from pipeline.errors import ConfigurationError
from reid_models.datasets.market1501 import read_query_and_gallery, read_train
from reid_models.datasets.sample import I64, cameras_of, identities_of
from reid_models.datasets.training_sets import U8, decoded_images, intra_camera_set
from reid_models.encoder import PersonEncoder, channels_last, person_cnn_architecture
from reid_models.evaluation import RankingScores, score_images
from reid_models.experiments.runs import Results, RunResult
from reid_models.extraction import extract
from reid_models.jaccard import JaccardConfig, jaccard_distances
from reid_models.loader import LoaderConfig
from reid_models.losses.adversarial import AdversarialConfig
from reid_models.losses.metric import batch_hard_triplet_loss, identity_loss
from reid_models.losses.prototypes import memory_loss
from reid_models.memory import CentroidMemory, class_means
from reid_models.methods.ccafl import CcaflConfig, InterCameraStage, ccafl
from reid_models.prompt_stage import prompt_optimiser
from reid_models.prompts import CLASS_TEMPLATE
from reid_models.pseudo_labels import cluster
from reid_models.samplers import identity_draws
from reid_models.schedules import Optimisation, OptimiserConfig, Schedule
from reid_models.trainer import Figures, Losses, Method, Run, Stage, TrainerConfig, train
from reid_models.vocabulary import learn_vocabulary

log = logging.getLogger(__name__)

TOWER = "person_cnn_nano"
SIZE = (64, 32)  # height, width: small, so that three seeds of every variant are affordable on a CPU
EPOCHS, BATCHES = 24, 150
IDENTITIES, IMAGES = 16, 4
OPTIMISER = OptimiserConfig(1.5e-3, 0.02, "adamw", decays_vectors=False, schedule=Schedule(2.0, epochs=EPOCHS))
LOADER = LoaderConfig(((0, SIZE),))
WARM_UP, INTRA = 7, 2  # epochs; the rest of `EPOCHS` is the inter-camera stage
LIGHT = CcaflConfig(
    LOADER,
    identities_per_batch=IDENTITIES,
    images_per_identity=IMAGES,
    batches_per_epoch=BATCHES,
    warm_up_epochs=WARM_UP,
    prompt_epochs=4,
    intra_epochs=INTRA,
    inter_epochs=EPOCHS - WARM_UP - INTRA,
    momentum=0.5,
    inter_update="mean",
    instance_slots=8,
    pairs_per_class=8.0,
    is_camera_centred=True,
    is_exclusive=True,
    text_from_epoch=INTRA,
    adversarial_epochs=(INTRA, EPOCHS),
    adversarial=AdversarialConfig(margin=0.3),
    encoder=OPTIMISER,
    prompts=prompt_optimiser(4, 1e-2, 1),
    classifier=OptimiserConfig(1e-3, 5e-4),
)


@dataclass(frozen=True, slots=True, eq=False)
class TrueImages:
    """Images with the truth about them."""

    images: U8
    identities: I64
    cameras: I64


@dataclass(frozen=True, slots=True, eq=False)
class LaboratoryData:
    """Training images, and people whom no variant was trained on."""

    train: TrueImages
    query: TrueImages
    gallery: TrueImages


def read(data: Path, cache: Path | None = None) -> LaboratoryData:
    test = read_query_and_gallery(data)
    return LaboratoryData(
        *(
            TrueImages(decoded_images(samples, SIZE, cache), identities_of(samples), cameras_of(samples))
            for samples in (read_train(data), test.query, test.gallery)
        )
    )


def score(model: nn.Module, encode: Callable[[Tensor], Tensor], data: LaboratoryData) -> RankingScores:
    query, gallery = (
        functional.normalize(extract(model, encode, part.images, SIZE), dim=1).numpy()
        for part in (data.query, data.gallery)
    )
    return score_images(
        query @ gallery.T, data.query.identities, data.query.cameras, data.gallery.identities, data.gallery.cameras
    )


class IdentityStage(Stage):
    """The supervised yardstick: identity loss behind the neck, batch-hard triplet loss before it (Luo et al. 2019)."""

    name, optimisers = "identity", ("all",)

    def __init__(self, encoder: PersonEncoder, classifier: nn.Linear, images: U8, labels: I64) -> None:
        self.epochs, self.images, self.loader = EPOCHS, images, LOADER
        self.encoder, self.classifier, self.labels = encoder, classifier, labels

    def batches(self, epoch: int, rng: np.random.Generator) -> Sequence[I64]:
        return list(identity_draws(self.labels, IDENTITIES, IMAGES, BATCHES, rng))

    def losses(self, indices: I64, images: Tensor | None) -> Losses:
        assert images is not None
        features = self.encoder(images)
        labels = torch.from_numpy(self.labels[indices])
        logits = self.classifier(features.appearance)
        with torch.autocast("cpu", enabled=False):
            return {
                "identity": identity_loss(logits.float(), labels),
                "triplet": batch_hard_triplet_loss(features.pooled.float(), labels, 0.3),
            }


class ClusterStage(Stage):
    """No labels at all: clusters of the present features, learnt against their centroids (Dai et al. 2022)."""

    name, optimisers = "cluster", ("all",)

    def __init__(self, encoder: PersonEncoder, images: U8) -> None:
        self.epochs, self.images, self.loader, self.encoder = EPOCHS, images, LOADER, encoder
        self.all_images = images

    def batches(self, epoch: int, rng: np.random.Generator) -> Sequence[I64]:
        features = extract(self.encoder, self.unit_features, self.all_images, SIZE)
        self.labels = cluster(jaccard_distances(features.numpy(), JaccardConfig(), largest_kept=0.6), 0.6, 4)
        count = int(self.labels.max()) + 1
        self.memory = CentroidMemory(class_means(features, torch.from_numpy(self.labels), count), 0.1)
        return list(identity_draws(self.labels, IDENTITIES, IMAGES, BATCHES, rng))

    def unit_features(self, images: Tensor) -> Tensor:
        return functional.normalize(self.encoder(images).appearance.float(), dim=1)

    def losses(self, indices: I64, images: Tensor | None) -> Losses:
        assert images is not None
        features = self.unit_features(images)
        labels = torch.from_numpy(self.labels[indices])
        self._seen = features.detach(), labels
        return {"memory": memory_loss(features, labels, self.memory.centroids, 0.05)}

    def after_update(self) -> None:
        self.memory.update(*self._seen, rule="hard")

    def figures(self) -> Figures:
        return {"clusters": float(self.labels.max() + 1), "outliers": float((self.labels < 0).mean())}


class ScoredStage(InterCameraStage):
    """Stage 3 of CCAFL, watched: how many of the pairs of classes that it joins are one person, and how many of those
    that are one person it joins. `truth` (G,) stays out of every loss.
    """

    def __init__(self, stage: InterCameraStage, truth: I64) -> None:
        super().__init__(stage.model, stage.data, stage.config, stage.texts)
        self.truth = truth

    def figures(self) -> Figures:
        joined = (self.components[:, None] == self.components) & (self.components >= 0)
        right = self.truth[:, None] == self.truth
        joined, right = np.triu(joined, 1), np.triu(right, 1)
        both = float((joined & right).sum())
        pairs = {"pair_precision": both / max(joined.sum(), 1), "pair_recall": both / right.sum()}
        return {**super().figures(), **pairs}


class OracleStage(ScoredStage):
    """The same with the true association: what is lost to wrong links, and what to the losses."""

    def associate(self, features: Tensor) -> I64:
        return self.truth


def true_identities_of_classes(classes: I64, identities: I64) -> I64:
    """(G,) the identity of each class, renumbered from 0."""
    truth = np.zeros(int(classes.max()) + 1, np.int64)
    truth[classes] = np.unique(identities, return_inverse=True)[1]
    return truth


def identity_method(encoder: PersonEncoder, images: U8, labels: I64, seed: int) -> Method:
    torch.manual_seed(seed)
    classifier = nn.Linear(encoder.appearance_width, int(labels.max()) + 1, bias=False)
    nn.init.normal_(classifier.weight, std=0.001)
    modules = nn.ModuleDict({"encoder": encoder, "classifier": classifier})
    optimiser = Optimisation(OPTIMISER, [encoder.clip.visual, encoder.neck, classifier])
    return Method(modules, {"all": optimiser}, [IdentityStage(encoder, classifier, images, labels)])


def broken_tracks(identities: I64, cameras: I64, share: float, rng: np.random.Generator) -> I64:
    """What a tracker makes of people: a number (N,) for each (camera, person), `share` of them in two pieces.

    Images of a person in a camera must stand in the order of time, as sorted names of Market-1501 do: the first half
    becomes one piece, the rest the other.
    """
    _, tracks = np.unique(np.stack([cameras, identities]), axis=1, return_inverse=True)
    tracks = tracks.reshape(-1)
    count = int(tracks.max()) + 1
    for fresh, track in enumerate(rng.permutation(count)[: round(share * count)], start=count):
        members = np.flatnonzero(tracks == track)
        tracks[members[len(members) // 2 :]] = fresh
    return np.unique(tracks, return_inverse=True)[1]


def same(config: CcaflConfig) -> CcaflConfig:
    return config


FULL, UNION, UNLABELLED = "full labels", "union of the cameras' labels", "no labels"
ORACLE = "CCAFL with true association"
VARIANTS: Mapping[str, Callable[[CcaflConfig], CcaflConfig]] = {
    "CCAFL": same,
    "without prompts": lambda config: replace(config, prompt_epochs=0),
    "without the instance term": lambda config: replace(config, centroid_share=1.0),
    "without ICAL": lambda config: replace(config, adversarial_epochs=None),
    "without association": lambda config: replace(config, is_associated=False),
    "with chains (published)": lambda config: replace(config, is_exclusive=False, pairs_per_class=1.7),
    "cameras not centred (published)": lambda config: replace(config, is_camera_centred=False),
    "hard memory, 0.1 (published)": lambda config: replace(config, inter_update="hard", momentum=0.1),
    ORACLE: same,
    "20 % of tracks broken": same,
    "50 % of tracks broken": same,
}
BROKEN = {name: int(name.split(" ")[0]) / 100 for name in VARIANTS if "broken" in name}


def run_variant(name: str, data: LaboratoryData, seed: int, work: Path) -> RunResult:
    """Train one variant with one seed and score it."""
    began = time.monotonic()
    torch.manual_seed(seed)
    method, encoder = build(name, data, seed)
    figures: dict[str, float] = {}

    def evaluate() -> Figures:
        scores = score(method.modules, lambda images: encoder(images).appearance, data)
        return {"mAP": scores.mean_average_precision, "rank-1": scores.rank(1)}

    def report(stage: str, epoch: int, told: Figures) -> None:
        log.info("%s, seed %d, %s %d: %s", name, seed, stage, epoch, {k: round(v, 3) for k, v in told.items()})
        figures.update(told)

    config = TrainerConfig(seed, gradient_norm=5.0)
    folder = work / f"{name.replace(' ', '-').replace(',', '')}-{seed}"
    scores = train(method, config, Run(folder, {"variant": name}, evaluate=evaluate, report=report))
    return RunResult(name, seed, dict(scores), figures, (time.monotonic() - began) / 60)


def build(name: str, data: LaboratoryData, seed: int) -> tuple[Method, PersonEncoder]:
    """A variant's method over a fresh encoder. Raises `ConfigurationError` for an unknown name."""
    known = (FULL, UNION, UNLABELLED, *VARIANTS)
    if name not in known:
        raise ConfigurationError(f"there is no variant {name!r}; the known ones: {'; '.join(known)}")
    vocabulary = learn_vocabulary([], 1, kept=[CLASS_TEMPLATE])
    architecture = person_cnn_architecture(TOWER, SIZE, vocabulary.size) | {"embed_dim": 128}
    architecture["text_cfg"] |= {"context_length": 16, "width": 128, "layers": 1}
    encoder = channels_last(PersonEncoder(architecture))
    true = data.train
    tracks = broken_tracks(true.identities, true.cameras, BROKEN.get(name, 0.0), np.random.default_rng(seed))
    if name == FULL:
        return identity_method(encoder, true.images, np.unique(true.identities, return_inverse=True)[1], seed), encoder
    if name == UNION:
        return identity_method(encoder, true.images, tracks, seed), encoder
    if name == UNLABELLED:
        optimiser = Optimisation(OPTIMISER, [encoder.clip.visual, encoder.neck])
        return Method(encoder, {"all": optimiser}, [ClusterStage(encoder, true.images)]), encoder

    def tokenize(sentences: Sequence[str]) -> Tensor:
        return vocabulary.encode(sentences, encoder.context_length)

    seen = intra_camera_set(true.images, true.cameras, tracks)
    method = ccafl(encoder, tokenize, seen, VARIANTS[name](LIGHT), seed)
    truth = true_identities_of_classes(seen.intra_camera_identities, true.identities)
    kind = OracleStage if name == ORACLE else ScoredStage
    stages = [kind(stage, truth) if isinstance(stage, InterCameraStage) else stage for stage in method.stages]
    return replace(method, stages=stages), encoder


def main(
    data: Annotated[Path, typer.Option(help="Market-1501 folder or zip with a validation split")],
    out: Annotated[Path, typer.Option(help="JSON of results; finished runs in it are not repeated")],
    variant: Annotated[list[str] | None, typer.Option(help="May be repeated [default: all]")] = None,
    seed: Annotated[list[int], typer.Option(help="May be repeated")] = [0, 1, 2],  # noqa: B006
) -> None:
    """Run every variant with every seed and print the table."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    logging.getLogger("reid_models.trainer").setLevel(logging.WARNING)
    torch.set_num_threads(1)
    read_data = read(data, out.parent / "cache")
    for number in seed:
        for name in variant or (FULL, UNION, UNLABELLED, *VARIANTS):
            results = Results(out)
            if not results.has(name, number):
                results.add(run_variant(name, read_data, number, out.with_suffix("")))
    typer.echo(Results(out).table(("mAP", "rank-1")))


if __name__ == "__main__":
    typer.run(main)
