"""CLIP-FGDI in miniature: a pair of cameras that no training image comes from takes the place of an unseen data set.

The six cameras of Market-1501 form three pairs. One is held out; the two others are the source domains, and as in the
published protocols no person is in two domains: each one with images in both cameras of a pair is given to one pair.
Scored are validation people, seen by the held-out cameras alone, from one camera to the other. The three pairs take
turns, as in leave-one-out. Every variant goes on from the same warmed-up encoder of its seed, for equally many epochs.

    python -m reid_models.experiments.fgdi_held_out_cameras --data market1501-split.zip --out results

The towers start from random weights: there is no language in the prompts, see `reid_models.methods.clip_fgdi`.
"""

from __future__ import annotations

import logging
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any

import numpy as np
import torch
import typer

from reid_models.datasets.market1501 import read_query_and_gallery, read_train
from reid_models.datasets.sample import I64, cameras_of, identities_of
from reid_models.datasets.training_sets import U8, LabelledSet, decoded_images
from reid_models.descriptor import DescribingMethod, Descriptor
from reid_models.encoder import PersonEncoder, PersonOptions, channels_last, person_cnn_architecture, with_options
from reid_models.evaluation import RankingScores, score_image_features
from reid_models.experiments.runs import Results, RunResult, chosen, spread
from reid_models.identity_stage import IdentityStageConfig
from reid_models.loader import LoaderConfig
from reid_models.methods.clip_fgdi import VIT, ClipFgdiConfig, Guidance, clip_fgdi
from reid_models.prompt_stage import PromptStageConfig
from reid_models.prompts import CLASS_TEMPLATE, DOMAIN_TEMPLATE
from reid_models.schedules import OptimiserConfig, Schedule
from reid_models.trainer import Figures, Run, TrainerConfig, train
from reid_models.vocabulary import learn_vocabulary

log = logging.getLogger(__name__)

TOWER = "person_cnn_nano"
SIZE = (64, 32)  # height, width
# Of cameras, counted from 0 (c1 is 0). Camera 3 sees few people, and shares most of them with camera 0.
PAIRS = ((0, 3), (1, 4), (2, 5))
CONTEXT_LENGTH = 16
WARM_UP, EPOCHS = 14, 8
VOCABULARY = learn_vocabulary([], 1, kept=[CLASS_TEMPLATE, DOMAIN_TEMPLATE])
LIGHT = ClipFgdiConfig(
    IdentityStageConfig(LoaderConfig(((0, SIZE),), VIT.images.loader.augment), EPOCHS, margin=None),
    PromptStageConfig(30, SIZE, batch=128),
    OptimiserConfig(1e-3, 0.02, "adamw", decays_vectors=False, schedule=Schedule(1.0, epochs=WARM_UP + EPOCHS)),
    warm_up_epochs=WARM_UP,
    relevant_epochs=10,
)
VARIANTS: dict[str, dict[str, Any]] = {  # what each changes in the configuration
    "identity and triplet only": {"guidance": Guidance(invariant_texts=False, relevant_texts=False)},
    "CLIP-FGDI": {},
    "sign of the released code": {"guidance": Guidance(sign=-1)},
    "without invariant prompts": {"guidance": Guidance(invariant_texts=False)},
    "without relevant prompts": {"guidance": Guidance(relevant_texts=False)},
    "without gradient reversal": {"adversary_weight": 0.0},
    # With so few steps the published 0.001 does not move a prompt, and the gradient of the guidance is a thousandth of
    # that of the texts: both are also measured at a strength at which they act.
    "reversal at full strength": {"adversary_weight": 1.0, "reversal_strength": 1.0},
    "beta 0.9": {"guidance": Guidance(beta=0.9)},
    "beta 0.9, sign of the released code": {"guidance": Guidance(beta=0.9, sign=-1)},
}


@dataclass(frozen=True, slots=True, eq=False)
class LabelledImages:
    """Images with the truth about them."""

    images: U8
    identities: I64
    cameras: I64

    def of_cameras(self, cameras: Sequence[int]) -> LabelledImages:
        chosen = np.isin(self.cameras, cameras)
        return LabelledImages(self.images[chosen], self.identities[chosen], self.cameras[chosen])


def read(data: Path, cache: Path) -> tuple[LabelledImages, LabelledImages]:
    """Training people, and validation people from queries and gallery together."""
    test = read_query_and_gallery(data)
    train_samples, validation_samples = read_train(data), (*test.query, *test.gallery)
    train_images, validation_images = (
        LabelledImages(decoded_images(samples, SIZE, cache), identities_of(samples), cameras_of(samples))
        for samples in (train_samples, validation_samples)
    )
    return train_images, validation_images


def source_domains(identities: I64, cameras: I64, pairs: Sequence[tuple[int, int]]) -> I64:
    """(N,) the domain of each image, a place in `pairs`; -1: it takes no part.

    A person is given to a pair whose both cameras saw them; with a choice, to the one with fewer people so far.
    """
    domains = np.full(len(identities), -1)
    people = np.zeros(len(pairs), np.int64)
    for identity in np.unique(identities):
        members = np.flatnonzero(identities == identity)
        seen_by = set(cameras[members].tolist())
        possible = [place for place, pair in enumerate(pairs) if seen_by.issuperset(pair)]
        if possible:
            chosen = min(possible, key=lambda place: people[place])
            people[chosen] += 1
            domains[members[np.isin(cameras[members], pairs[chosen])]] = chosen
    return domains


def labelled_set(people: LabelledImages, pairs: Sequence[tuple[int, int]]) -> LabelledSet:
    domains = source_domains(people.identities, people.cameras, pairs)
    used = domains >= 0
    labels = np.unique(people.identities[used], return_inverse=True)[1].reshape(-1)
    return LabelledSet(people.images[used], labels, domains[used])


def build(data: LabelledSet, seed: int, config: ClipFgdiConfig) -> DescribingMethod:
    torch.manual_seed(seed)
    architecture = person_cnn_architecture(TOWER, SIZE, VOCABULARY.size)
    # A random tower is no better for being deep, and prompts learn through it at every step.
    architecture["text_cfg"] |= {"context_length": CONTEXT_LENGTH, "width": 128, "layers": 1}
    encoder = channels_last(PersonEncoder(with_options(architecture, PersonOptions(instance_normalised=True))))
    return clip_fgdi(
        encoder, lambda sentences: VOCABULARY.encode(sentences, CONTEXT_LENGTH), data, replace(config, seed=seed)
    )


def score(descriptor: Descriptor, people: LabelledImages) -> RankingScores:
    """Every image of one held-out camera against those of the other, and the reverse."""
    features = descriptor.of_images(people.images, SIZE).numpy()
    return score_image_features(
        features, features, people.identities, people.cameras, people.identities, people.cameras, descriptor.metric
    )


def run(
    variant: str, seed: int, data: LabelledSet, unseen: LabelledImages, config: ClipFgdiConfig, folder: Path
) -> RunResult:
    """Go on from the checkpoint in `folder`, if there is one, and score on the held-out cameras."""
    method = build(data, seed, replace(config, **VARIANTS[variant]))
    figures: dict[str, float] = {}

    def report(stage: str, _: int, told: Figures) -> None:
        figures.update({f"{stage}_{name}": value for name, value in told.items()})
        log.info("%s seed %d %s %s", variant, seed, stage, {name: round(value, 3) for name, value in told.items()})

    started = time.monotonic()
    train(method, TrainerConfig(seed, gradient_norm=5.0), Run(folder, report=report))
    minutes = (time.monotonic() - started) / 60
    found, as_cosine = (score(d, unseen) for d in (method.descriptor, replace(method.descriptor, metric="cosine")))
    figures["cosine_map"] = as_cosine.mean_average_precision
    return RunResult(variant, seed, {"map": found.mean_average_precision, "rank_1": found.rank(1)}, figures, minutes)


def run_all(
    results: Results, people: LabelledImages, validation: LabelledImages, held_out: int, seed: int,
    variants: Sequence[str], config: ClipFgdiConfig = LIGHT,
) -> None:  # fmt: skip
    """All missing variants of one seed and one pair held out, behind one warm-up."""
    missing = [variant for variant in variants if not results.has(variant, seed)]
    if not missing:
        return
    sources = [pair for place, pair in enumerate(PAIRS) if place != held_out]
    data, unseen = labelled_set(people, sources), validation.of_cameras(PAIRS[held_out])
    log.info("pair %s held out: %d images of %d people", PAIRS[held_out], len(data.images), data.identities.max() + 1)
    with TemporaryDirectory() as name:
        warmed_up = Path(name) / "warm_up"
        method = build(data, seed, config)
        train(method, TrainerConfig(seed, gradient_norm=5.0, stop_after_epochs=config.warm_up_epochs), Run(warmed_up))
        log.info("behind the warm-up: mAP %.3f", score(method.descriptor, unseen).mean_average_precision)
        for place, variant in enumerate(missing):
            folder = shutil.copytree(warmed_up, Path(name) / str(place))
            results.add(run(variant, seed, data, unseen, config, folder))


def table(results: Mapping[tuple[int, int], Results]) -> str:
    """Markdown: mean average precision for each pair held out, and the gain over the first variant; mean ± spread.

    Gains compare runs from the same warm-up, so neither seed nor pair blurs them; they are taken over all such runs.
    """
    columns = [f"{one + 1}, {other + 1} held out" for one, other in results]
    lines = ["| variant | runs | " + " | ".join([*columns, "gain in mAP", "in rank-1"]) + " |"]
    lines.append("|---|---|" + "---|" * (len(results) + 2))
    first = next(iter(VARIANTS))
    for variant in VARIANTS:
        runs = [{run.seed: run.scores for run in found.runs if run.variant == variant} for found in results.values()]
        plain = [{run.seed: run.scores for run in found.runs if run.variant == first} for found in results.values()]
        count = sum(map(len, runs))
        if not count:
            continue
        cells = [spread([100 * scores["map"] for scores in found.values()]) for found in runs]
        for name in ("map", "rank_1"):
            pairs = [
                (ours[seed], base[seed])
                for ours, base in zip(runs, plain, strict=True)
                for seed in ours
                if seed in base
            ]
            cells.append(spread([100 * (with_it[name] - without[name]) for with_it, without in pairs]))
        lines.append(f"| {variant} | {count} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main(
    data: Annotated[Path, typer.Option(help="Market-1501 folder or zip")],
    out: Annotated[Path, typer.Option(help="Folder for results and decoded images; a run that is there is kept")],
    variant: Annotated[list[str] | None, typer.Option(help="May be repeated [default: all]")] = None,
    seed: Annotated[list[int], typer.Option(help="May be repeated")] = [0, 1, 2],  # noqa: B006
    held_out: Annotated[list[int], typer.Option(help=f"Places of camera pairs in {PAIRS}")] = [0, 1, 2],  # noqa: B006
    threads: Annotated[int, typer.Option(help="CPU threads")] = 1,
) -> None:
    """Train every variant with every seed and pair that is missing, and print the table."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    variants = chosen(variant, list(VARIANTS))
    torch.set_num_threads(threads)
    people, validation = read(data, out / "images")
    results = {PAIRS[place]: Results(out / f"fgdi_held_out_{place}.json") for place in held_out}
    for number in seed:
        for place in held_out:
            run_all(results[PAIRS[place]], people, validation, place, number, variants)
    typer.echo(table(results))


if __name__ == "__main__":
    typer.run(main)
