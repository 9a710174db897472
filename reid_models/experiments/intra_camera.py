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

from reid_models.datasets.market1501 import read_query_and_gallery, read_train
from reid_models.datasets.sample import F32, I64, cameras_of, identities_of
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
from reid_models.prompts import CLASS_TEMPLATE
from reid_models.pseudo_labels import cluster
from reid_models.samplers import identity_draws
from reid_models.schedules import Optimisation, OptimiserConfig, Schedule
from reid_models.trainer import Figures, Losses, Method, Run, Stage, TrainerConfig, train
from reid_models.transforms import AugmentConfig
from reid_models.vocabulary import learn_vocabulary

log = logging.getLogger(__name__)

TOWER = "person_cnn_nano"
SIZE = (64, 32)  # height, width: small, so that three seeds of every variant are affordable on a CPU
EPOCHS, BATCHES = 24, 150
IDENTITIES, IMAGES = 16, 4
OPTIMISER = OptimiserConfig(1.5e-3, 0.02, "adamw", decays_vectors=False, schedule=Schedule(2.0, epochs=EPOCHS))
LOADER = LoaderConfig(((0, SIZE),))
CCAFL = CcaflConfig(
    LOADER,
    identities_per_batch=IDENTITIES,
    images_per_identity=IMAGES,
    batches_per_epoch=BATCHES,
    warm_up_epochs=8,
    prompt_epochs=10,
    intra_epochs=2,
    inter_epochs=EPOCHS - 10,
    instance_slots=8,
    text_from_epoch=2,
    adversarial_epochs=(8, 12),
    adversarial=AdversarialConfig(margin=0.3),
    encoder=OPTIMISER,
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

    def batches(self, epoch: int, rng: np.random.Generator) -> Sequence[I64]:
        features = extract(self.encoder, self.unit_features, self.images, SIZE)
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


class OracleStage(InterCameraStage):
    """Stage 3 of CCAFL with the true association: what is lost to wrong links, and what to the losses."""

    true_components: I64

    def associate(self, means: Tensor) -> I64:
        return self.true_components


def identity_method(encoder: PersonEncoder, images: U8, labels: I64, seed: int) -> Method:
    torch.manual_seed(seed)
    classifier = nn.Linear(encoder.appearance_width, int(labels.max()) + 1, bias=False)
    nn.init.normal_(classifier.weight, std=0.001)
    modules = nn.ModuleDict({"encoder": encoder, "classifier": classifier})
    optimiser = Optimisation(OPTIMISER, [encoder.clip.visual, encoder.neck, classifier])
    return Method(modules, {"all": optimiser}, [IdentityStage(encoder, classifier, images, labels)])


def broken_tracks(identities: I64, cameras: I64, share: float, rng: np.random.Generator) -> I64:
    """What a tracker makes of people: a new number (N,) for each (camera, person), `share` of them in two pieces.

    The pieces are random halves of the images, so they are as alike as pieces of one track.
    """
    _, tracks = np.unique(np.stack([cameras, identities]), axis=1, return_inverse=True)
    tracks = tracks.reshape(-1)
    fresh = int(tracks.max()) + 1
    for track in rng.permutation(fresh)[: round(share * fresh)]:
        members = rng.permutation(np.flatnonzero(tracks == track))
        if len(members) > 1:
            tracks[members[: len(members) // 2]] = fresh
            fresh += 1
    return tracks


VARIANTS: Mapping[str, Callable[[CcaflConfig], CcaflConfig]] = {
    "ccafl": lambda config: config,
    "ccafl without prompts": lambda config: replace(config, prompt_epochs=0),
    "ccafl without instance term": lambda config: replace(config, centroid_share=1.0),
    "ccafl without ICAL": lambda config: replace(config, adversarial_epochs=None),
    "ccafl without association": lambda config: replace(config, is_associated=False),
}


def run_variant(name: str, data: LaboratoryData, seed: int, work: Path) -> RunResult:
    """Train one variant with one seed and score it."""
    began = time.monotonic()
    torch.manual_seed(seed)
    vocabulary = learn_vocabulary([], 1, kept=[CLASS_TEMPLATE])
    encoder = channels_last(PersonEncoder(person_cnn_architecture(TOWER, SIZE, vocabulary.size)))
    images, identities, cameras = data.train.images, data.train.identities, data.train.cameras
    tracks = broken_tracks(identities, cameras, 0.0, np.random.default_rng(seed))
    if name == "full labels":
        method = identity_method(encoder, images, np.unique(identities, return_inverse=True)[1], seed)
    elif name == "union of cameras":
        method = identity_method(encoder, images, tracks, seed)
    elif name == "no labels":
        method = Method(
            encoder,
            {"all": Optimisation(OPTIMISER, [encoder.clip.visual, encoder.neck])},
            [ClusterStage(encoder, images)],
        )
    else:

        def tokenize(sentences: Sequence[str]) -> Tensor:
            return vocabulary.encode(sentences, encoder.context_length)

        method = ccafl(encoder, tokenize, intra_camera_set(images, cameras, tracks), VARIANTS[name](CCAFL), seed)
    figures: dict[str, float] = {}

    def evaluate() -> Figures:
        scores = score(method.modules, lambda shown: encoder(shown).appearance, data)
        return {"map": scores.mean_average_precision, "rank_1": scores.rank(1)}

    def report(stage: str, epoch: int, told: Figures) -> None:
        log.info("%s seed %d %s %d %s", name, seed, stage, epoch, {k: round(v, 3) for k, v in told.items()})
        figures.update(told)

    config = TrainerConfig(seed, gradient_norm=5.0, evaluate_epochs=4)
    scores = train(method, config, Run(work / f"{name}-{seed}", {"variant": name}, evaluate=evaluate, report=report))
    return RunResult(name, seed, dict(scores), figures, (time.monotonic() - began) / 60)


def main(
    data: Annotated[Path, typer.Option(help="Market-1501 folder or zip with a validation split")],
    out: Annotated[Path, typer.Option(help="JSON of results; finished runs in it are not repeated")],
    variants: Annotated[str, typer.Option(help="Comma-separated")] = "ccafl",
    seeds: Annotated[str, typer.Option(help="Comma-separated")] = "0,1,2",
) -> None:
    """Run every variant with every seed and print the table."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    logging.getLogger("reid_models.trainer").setLevel(logging.WARNING)
    torch.set_num_threads(1)
    read_data = read(data, out.parent / "cache")
    for seed in map(int, seeds.split(",")):
        for variant in variants.split(","):
            results = Results(out)
            if not results.has(variant, seed):
                results.add(run_variant(variant, read_data, seed, out.with_suffix("")))
    print(Results(out).table(("map", "rank_1")))


if __name__ == "__main__":
    typer.run(main)
