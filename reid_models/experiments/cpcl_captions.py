"""What CPCL adds to InfoNCE where nobody says who is who: text search from pairs alone, and its ablations.

Pairs are the human captions of the training split and, for every training image, one sentence that is made from the
coded attributes of the person. The trainer sees a `PairSet`; true identities are used here alone, to score and to say
how pure the clusters were. Both towers start from random weights, every variant has the same budget.

    python -m reid_models.experiments.cpcl_captions --data market1501-split.zip --captions market1501-captions.json \
        --attributes market1501-attributes.json --out results
"""

from __future__ import annotations

import logging
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import numpy as np
import torch
import typer
from torch import Tensor, nn

from reid_models.benchmarks import made_sentences, mean_by_identity
from reid_models.datasets.attribute_sentences import attribute_sentence
from reid_models.datasets.captions import read_attributes, read_captions, read_same_frame_captions
from reid_models.datasets.market1501 import read_query_and_gallery, read_train
from reid_models.datasets.sample import F32, I64, Caption, ImageSample, identities_of
from reid_models.datasets.training_sets import U8, PairSet, decoded_images, digest_of_samples, pair_set
from reid_models.encoder import PersonEncoder, channels_last, person_cnn_architecture
from reid_models.evaluation import score_texts
from reid_models.experiments.runs import Results, RunResult, chosen
from reid_models.extraction import extract, extract_texts
from reid_models.loader import LoaderConfig
from reid_models.methods.cpcl import CpclConfig, CpclStage, PseudoLabels, cpcl, info_nce
from reid_models.pseudo_labels import JaccardConfig
from reid_models.schedules import OptimiserConfig, Schedule
from reid_models.trainer import Figures, Run, TrainerConfig, train
from reid_models.vocabulary import UNKNOWN, Vocabulary, learn_vocabulary

log = logging.getLogger(__name__)

SIZE = (64, 32)  # height, width
CONTEXT_LENGTH = 32  # longer captions lose their last words
LEAST_COUNT = 2
EPOCHS = 8
SCORES = (
    "caption_rank_1", "caption_rank_5", "caption_rank_10", "caption_map", "caption_minp",
    "person_rank_1", "person_rank_5", "sentence_rank_1", "sentence_rank_5", "sentence_map",
)  # fmt: skip

LIGHT = CpclConfig(
    LoaderConfig(((0, SIZE),)),
    epochs=EPOCHS,
    warm_up_epochs=4,
    jaccard=JaccardConfig(k1=10, k2=6),
    epsilon=0.5,
    mask_token=UNKNOWN,
    encoder=OptimiserConfig(1e-3, 0.02, "adamw", decays_vectors=False, schedule=Schedule(1.0, epochs=EPOCHS)),
)
ORACLE = "CPCL with true clusters"
VARIANTS = {
    "InfoNCE": info_nce(LIGHT),
    # No sample has so many neighbours, so nothing is clustered: what matching does without pseudo-labels.
    "distribution matching of pairs": replace(LIGHT, has_prototypes=False, least_samples=1_000_000),
    "CPCL": LIGHT,
    "CPCL without PMM": replace(LIGHT, has_prototypes=False),
    "CPCL with resting prototypes": replace(LIGHT, momentum=1.0),
    "CPCL without HCM": replace(LIGHT, has_hybrid_matching=False),
    "CPCL without cross-modal prototype terms": replace(LIGHT, cross_weight=0.0),
    "CPCL without prototype terms within a kind": replace(LIGHT, own_weight=0.0),
    "CPCL without OPLM": replace(LIGHT, has_outlier_mining=False),
    "CPCL, image clusters only": replace(LIGHT, clusters="images"),
    ORACLE: replace(LIGHT, has_outlier_mining=False),  # there are no outliers
}


@dataclass(frozen=True, slots=True, eq=False)
class CaptionData:
    """What is learnt from, and apart from it the truth and the people for validation."""

    pairs: PairSet
    vocabulary: Vocabulary
    digest: str
    image_identities: I64  # (N,) of the pairs' images
    caption_identities: I64  # (M,)
    gallery: U8
    gallery_identities: I64
    captions: Sequence[Caption]  # of validation identities
    sentences: Sequence[Caption]  # made from their attributes


def read(data: Path, captions: Path, attributes: Path, cache: Path) -> CaptionData:
    """The same pairs for all seeds and variants."""
    samples = read_train(data)
    written = read_same_frame_captions(captions, "train")
    made = described_images(samples, attributes, np.random.default_rng(0))
    described = [*written, *made]
    images = decoded_images(samples, SIZE, cache)
    pairs = pair_set(samples, images, described)
    test = read_query_and_gallery(data)
    gallery = [*test.query, *test.gallery]
    return CaptionData(
        pairs,
        learn_vocabulary(pairs.captions, LEAST_COUNT),
        digest_of_samples(samples),
        identities_of(samples),
        identities_of(described),
        decoded_images(gallery, SIZE, cache),
        identities_of(gallery),
        read_captions(captions, "val"),
        made_sentences(attributes, "val", seed=5),
    )


def described_images(samples: Sequence[ImageSample], attributes: Path, rng: np.random.Generator) -> list[Caption]:
    """Every image with one made sentence."""
    coded = read_attributes(attributes, "train")
    return [
        Caption(attribute_sentence(coded[sample.identity], rng), sample.identity, sample.file_name)
        for sample in samples
    ]


def run(variant: str, seed: int, data: CaptionData, out: Path) -> RunResult:
    """Train one variant from scratch and score it on people whom it never saw.

    Until the warm-up ends all variants are the same, so those of one seed go on from a common checkpoint in `out`.
    """
    config = VARIANTS[variant]
    torch.manual_seed(seed)
    architecture = person_cnn_architecture("person_cnn_light", SIZE, data.vocabulary.size)
    architecture["text_cfg"] |= {"context_length": CONTEXT_LENGTH, "width": 128}
    encoder = channels_last(PersonEncoder(architecture))
    method = cpcl(encoder, lambda texts: data.vocabulary.encode(texts, CONTEXT_LENGTH), data.pairs, config)
    (stage,) = method.stages
    assert isinstance(stage, CpclStage)
    if variant == ORACLE:
        stage = TrueClusters(encoder, stage.token_ids, data, config)
        method = replace(method, stages=[stage])
    figures: dict[str, float] = {}

    def report(_: str, epoch: int, told: Figures) -> None:
        figures.update(told)
        if stage.labels is not None:
            figures.update(purity(stage.labels, data))
        log.info("%s, seed %d: epoch %d", variant, seed, epoch)

    trainer = TrainerConfig(seed, gradient_norm=5.0)
    settings = {"settings": repr(LIGHT)}  # a warm-up with others is refused
    warm_up = Run(out / f"warm-up-{seed}", settings, data.digest)
    started = time.monotonic()
    train(method, replace(trainer, stop_after_epochs=LIGHT.warm_up_epochs), warm_up)
    with TemporaryDirectory() as folder:
        shutil.copy(warm_up.folder / "checkpoint.safetensors", folder)
        train(method, trainer, Run(Path(folder), settings, data.digest, report=report))
    minutes = (time.monotonic() - started) / 60
    return RunResult(variant, seed, scores(encoder, data), figures, minutes)


class TrueClusters(CpclStage):
    """What is lost to wrong clusters, and what to the losses."""

    def __init__(self, encoder: PersonEncoder, token_ids: Tensor, data: CaptionData, config: CpclConfig) -> None:
        super().__init__(encoder, token_ids, data.pairs, config)
        images, captions = (relabelled_from_zero(of) for of in (data.image_identities, data.caption_identities))
        self.truth = PseudoLabels(images, captions)

    def label(self, images: F32, texts: F32) -> PseudoLabels:
        return self.truth


def relabelled_from_zero(identities: I64) -> I64:
    return np.unique(identities, return_inverse=True)[1].reshape(-1)


def scores(encoder: PersonEncoder, data: CaptionData) -> dict[str, float]:
    """Human captions against images and against persons (the mean of all images of each), made ones against images."""
    images = unit(extract(encoder, lambda batch: encoder(batch).language, data.gallery, SIZE))
    people, means = mean_by_identity(images, data.gallery_identities)
    told: dict[str, float] = {}
    for kind, captions in (("caption", data.captions), ("sentence", data.sentences)):
        token_ids = data.vocabulary.encode([caption.text for caption in captions], CONTEXT_LENGTH)
        texts = unit(extract_texts(encoder, encoder.embed_tokens, token_ids))
        identities = identities_of(captions)
        found = score_texts(texts @ images.T, identities, data.gallery_identities)
        told |= {f"{kind}_rank_{k}": found.rank(k) for k in (1, 5, 10)}
        told |= {f"{kind}_map": found.mean_average_precision, f"{kind}_minp": found.mean_inverse_negative_penalty}
        if kind == "caption":
            by_person = score_texts(texts @ means.T, identities, people)
            told |= {f"person_rank_{k}": by_person.rank(k) for k in (1, 5, 10)}
    return told


def purity(labels: PseudoLabels, data: CaptionData) -> dict[str, float]:
    """How often two samples with one label show one person, and how many pairs of one person have one label."""
    told = {}
    for kind, found, truth in (
        ("image", labels.images, data.image_identities),
        ("text", labels.captions, data.caption_identities),
    ):
        labelled = found >= 0
        together = _pairs(found[labelled])
        right = _pairs(np.stack([found, truth], axis=1)[labelled])
        told[f"{kind}_pair_precision"] = right / max(together, 1)
        told[f"{kind}_pair_recall"] = right / _pairs(truth)
    return told


def _pairs(labels: I64) -> int:
    """How many pairs of rows are equal."""
    counts = np.unique(labels, axis=0, return_counts=True)[1]
    return int((counts * (counts - 1)).sum()) // 2


def unit(features: torch.Tensor) -> F32:
    normalised: F32 = nn.functional.normalize(features, dim=1).numpy()
    return normalised


def main(
    data: Annotated[Path, typer.Option(help="Market-1501 folder or zip")],
    captions: Annotated[Path, typer.Option(help="JSON of captions")],
    attributes: Annotated[Path, typer.Option(help="JSON of coded attributes")],
    out: Annotated[Path, typer.Option(help="Folder for results and decoded images; a run that is there is kept")],
    variant: Annotated[list[str] | None, typer.Option(help="May be repeated [default: all]")] = None,
    seed: Annotated[list[int], typer.Option(help="May be repeated")] = [0, 1, 2],  # noqa: B006
    threads: Annotated[int, typer.Option(help="CPU threads")] = 1,
) -> None:
    """Train every variant with every seed that is missing, and print the table."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    variants = chosen(variant, list(VARIANTS))
    torch.set_num_threads(threads)
    results = Results(out / "cpcl_captions.json")
    read_data = read(data, captions, attributes, out / "images")
    for number in seed:
        for name in variants:
            if not results.has(name, number):
                results.add(run(name, number, read_data, out))
    typer.echo(results.table(SCORES))


if __name__ == "__main__":
    typer.run(main)
