"""How near labels within each camera come to full labels, on real images: CCAFL, its ablations, and a noisy tracker.

Every variant has the same tower from scratch, the same images, and the same number of batches of the same size. The
trainer sees an `IntraCameraSet`; true identities are used here alone, to score and to say how pure an association was.

    python -m reid_models.experiments.intra_camera --data market1501-split.zip --out results.json
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from torch import Tensor, nn
from torch.nn import functional

from reid_models.datasets.sample import I64
from reid_models.datasets.training_sets import U8, intra_camera_set
from reid_models.encoder import PersonEncoder, channels_last, person_cnn_architecture
from reid_models.experiments.runs import Results, RunResult, chosen
from reid_models.experiments.true_images import (
    SIZE,
    LaboratoryData,
    TrueImages,
    broken_tracks,
    read,
    score,
    true_identities_of_classes,
)
from reid_models.experiments.yardsticks import (
    BATCHES,
    EPOCHS,
    IDENTITIES,
    IMAGES,
    LOADER,
    OPTIMISER,
    ClusterStage,
    LabelStage,
    OracleStage,
    ScoredStage,
)
from reid_models.extraction import extract
from reid_models.losses.adversarial import AdversarialConfig
from reid_models.methods.ccafl import CcaflConfig, InterCameraStage, ccafl
from reid_models.prompt_stage import prompt_optimiser
from reid_models.prompts import CLASS_TEMPLATE
from reid_models.schedules import Optimisation, OptimiserConfig
from reid_models.track_linking import LinkingConfig, link_tracks, tracks_of
from reid_models.trainer import Figures, Method, Run, TrainerConfig, train
from reid_models.vocabulary import learn_vocabulary

log = logging.getLogger(__name__)

TOWER = "person_cnn_nano"
CONTEXT_LENGTH = 16  # tokens of a prompt
VOCABULARY = learn_vocabulary([], 1, kept=[CLASS_TEMPLATE])
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


def identity_method(encoder: PersonEncoder, images: U8, labels: I64, seed: int) -> Method:
    torch.manual_seed(seed)
    classifier = nn.Linear(encoder.appearance_width, int(labels.max()) + 1, bias=False)
    nn.init.normal_(classifier.weight, std=0.001)
    modules = nn.ModuleDict({"encoder": encoder, "classifier": classifier})
    optimiser = Optimisation(OPTIMISER, [encoder.clip.visual, encoder.neck, classifier])
    return Method(modules, {"all": optimiser}, [LabelStage(encoder, classifier, images, labels)])


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
    "20 % broken, linked again": same,
    "50 % broken, linked again": same,
}
BROKEN = {name: int(name.split(" ")[0]) / 100 for name in VARIANTS if "broken" in name}
LINKED = tuple(name for name in VARIANTS if "linked again" in name)


def run_variant(name: str, data: LaboratoryData, seed: int, work: Path) -> RunResult:
    """Train one variant with one seed and score it."""
    began = time.monotonic()
    torch.manual_seed(seed)
    method, encoder = build(name, data, seed)
    config = TrainerConfig(seed, gradient_norm=5.0)
    folder = work / f"{name.replace(' ', '-').replace(',', '')}-{seed}"
    figures: dict[str, float] = {}
    if name in LINKED:
        train(method, replace(config, stop_after_epochs=WARM_UP), Run(folder / "warm-up"))
        method, figures = linked_method(name, data, seed, encoder)

    def evaluate() -> Figures:
        scores = score(method.modules, lambda images: encoder(images).appearance, data)
        return {"mAP": scores.mean_average_precision, "rank-1": scores.rank(1)}

    def report(stage: str, epoch: int, told: Figures) -> None:
        log.info("%s, seed %d, %s %d: %s", name, seed, stage, epoch, {k: round(v, 3) for k, v in told.items()})
        figures.update(told)

    scores = train(method, config, Run(folder, {"variant": name}, evaluate=evaluate, report=report))
    return RunResult(name, seed, dict(scores), figures, (time.monotonic() - began) / 60)


def build(name: str, data: LaboratoryData, seed: int) -> tuple[Method, PersonEncoder]:
    """A variant's method over a fresh encoder."""
    encoder = channels_last(PersonEncoder(architecture_of(VOCABULARY.size)))
    true = data.train
    tracks = broken_tracks(true.identities, true.cameras, BROKEN.get(name, 0.0), np.random.default_rng(seed))
    if name == FULL:
        return identity_method(encoder, true.images, np.unique(true.identities, return_inverse=True)[1], seed), encoder
    if name == UNION:
        return identity_method(encoder, true.images, tracks, seed), encoder
    if name == UNLABELLED:
        optimiser = Optimisation(OPTIMISER, [encoder.clip.visual, encoder.neck])
        return Method(encoder, {"all": optimiser}, [ClusterStage(encoder, true.images)]), encoder

    return ccafl_method(name, true, tracks, seed, encoder, VARIANTS[name](LIGHT)), encoder


def architecture_of(words: int) -> dict[str, Any]:
    """The tower, with a text tower just large enough for prompts."""
    architecture = person_cnn_architecture(TOWER, SIZE, words) | {"embed_dim": 128}
    architecture["text_cfg"] |= {"context_length": CONTEXT_LENGTH, "width": 128, "layers": 1}
    return architecture


def tokenize(sentences: Sequence[str]) -> Tensor:
    return VOCABULARY.encode(sentences, CONTEXT_LENGTH)


def ccafl_method(
    name: str, true: TrueImages, tracks: I64, seed: int, encoder: PersonEncoder, config: CcaflConfig
) -> Method:
    """CCAFL on `tracks`, with its last stage watched."""
    seen = intra_camera_set(true.images, true.cameras, tracks)
    method = ccafl(encoder, tokenize, seen, config, seed)
    truth = true_identities_of_classes(seen.intra_camera_identities, true.identities)
    kind = OracleStage if name == ORACLE else ScoredStage
    stages = [kind(stage, truth) if isinstance(stage, InterCameraStage) else stage for stage in method.stages]
    return replace(method, stages=stages)


def linked_method(
    name: str, data: LaboratoryData, seed: int, encoder: PersonEncoder
) -> tuple[Method, dict[str, float]]:
    """The rest of the course behind a warm-up on broken tracks, whose features put the pieces together; and how well.

    Figures: the share of links that are right, and of broken tracks that are whole again.
    """
    true = data.train
    tracks = broken_tracks(true.identities, true.cameras, BROKEN[name], np.random.default_rng(seed))
    features = extract(
        encoder, lambda images: functional.normalize(encoder(images).appearance.float()), true.images, SIZE
    )
    pieces = tracks_of(features.numpy(), tracks, true.cameras, true.seen_at, true.seen_at)
    group = link_tracks(pieces, LinkingConfig())
    identity = np.zeros(len(group), np.int64)
    identity[tracks] = true.identities
    linked, right = (
        np.triu((of[:, None] == of) & (pieces.cameras[:, None] == pieces.cameras), 1) for of in (group, identity)
    )
    both = float((linked & right).sum())
    figures = {"link_precision": both / max(int(linked.sum()), 1), "link_recall": both / max(int(right.sum()), 1)}
    method = ccafl_method(name, true, group[tracks], seed, encoder, replace(LIGHT, warm_up_epochs=0))
    method.optimisers["encoder"].epochs_used = WARM_UP
    return method, figures


def main(
    data: Annotated[Path, typer.Option(help="Market-1501 folder or zip with a validation split")],
    out: Annotated[Path, typer.Option(help="JSON of results; finished runs in it are not repeated")],
    variant: Annotated[list[str] | None, typer.Option(help="May be repeated [default: all]")] = None,
    seed: Annotated[list[int], typer.Option(help="May be repeated")] = [0, 1, 2],  # noqa: B006
) -> None:
    """Run every variant with every seed and print the table."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    logging.getLogger("reid_models.trainer").setLevel(logging.WARNING)
    names = chosen(variant, (FULL, UNION, UNLABELLED, *VARIANTS))
    torch.set_num_threads(1)
    read_data = read(data, out.parent / "cache")
    for number in seed:
        for name in names:
            results = Results(out)
            if not results.has(name, number):
                results.add(run_variant(name, read_data, number, out.with_suffix("")))
    typer.echo(Results(out).table(("mAP", "rank-1")))


if __name__ == "__main__":
    typer.run(main)
