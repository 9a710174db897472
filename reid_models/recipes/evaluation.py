"""What a trained encoder is measured on: the sets of a recipe, by the protocol that goes with each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipeline.errors import ConfigurationError
from reid_models.datasets.readers import READERS, read_images_of, read_texts_of
from reid_models.datasets.sample import F32, I64, ImageSample, cameras_of, identities_of
from reid_models.datasets.text_sets import flattened
from reid_models.datasets.totals import require_published_totals
from reid_models.datasets.training_sets import U8
from reid_models.evaluation import RankingScores, score_image_features, score_images, score_text_features
from reid_models.extraction import extract, extract_texts
from reid_models.re_ranking import ReRankingConfig, re_ranked_similarity
from reid_models.recipes.images import kept_images
from reid_models.recipes.methods import Built
from reid_models.recipes.schema import Recipe, SourceRecipe
from reid_models.recipes.sources import captions_of
from reid_models.trainer import Figures


@dataclass(frozen=True, slots=True, eq=False)
class ImageTest:
    """Images that ask for the same people before other cameras."""

    name: str
    query: tuple[ImageSample, ...]
    gallery: tuple[ImageSample, ...]


@dataclass(frozen=True, slots=True, eq=False)
class TextTest:
    """Sentences that ask for the images of a person; no camera rule."""

    name: str
    captions: tuple[str, ...]
    caption_identities: I64
    gallery: tuple[ImageSample, ...]


@dataclass(frozen=True, slots=True)
class TestSetting:
    """How images are shown to the encoder. Several tests of one name are averaged."""

    size: tuple[int, int]  # (height, width)
    stored_size: tuple[int, int]
    device: str
    precision: str
    cache: Path | None


def read_tests(recipe: Recipe) -> list[ImageTest | TextTest]:
    """Of located sources. Raises `ConfigurationError` for whatever is missing, and for a set without a test."""
    sources = recipe.evaluation.data or recipe.data.train
    return [test for source in sources for test in _tests_of(recipe, source)]


def evaluate(built: Built, tests: Sequence[ImageTest | TextTest], setting: TestSetting) -> Figures:
    """The scores as shares from 0 to 1: the means over all sets and, where there are several, those of each set."""
    scores: dict[str, list[Figures]] = {}
    for test in tests:
        found = (
            _score_images(built, test, setting) if isinstance(test, ImageTest) else _score_texts(built, test, setting)
        )
        scores.setdefault(test.name, []).append(_figures(found))
    by_set = {name: _means(parts) for name, parts in scores.items()}
    if len(by_set) == 1:
        return next(iter(by_set.values()))
    each = {f"{name}_{figure}": value for name, figures in by_set.items() for figure, value in figures.items()}
    return {**_means(list(by_set.values())), **each}


def evaluate_re_ranked(
    built: Built, tests: Sequence[ImageTest | TextTest], setting: TestSetting, config: ReRankingConfig
) -> Figures:
    """The image tests once more after k-reciprocal re-ranking, which reads the gallery: report it apart."""
    scores = []
    for test in tests:
        if isinstance(test, ImageTest):
            query, gallery = (_unit(part) for part in _described(built, test, setting))
            similarity = re_ranked_similarity(query, gallery, config, setting.device)
            scores.append(_figures(score_images(similarity, *_labels(test))))
    if not scores:
        raise ConfigurationError("re-ranking is for image search, and this recipe searches by sentences; leave it out")
    return _means(scores)


def _tests_of(recipe: Recipe, source: SourceRecipe) -> list[ImageTest | TextTest]:
    if source.reader not in READERS:
        dataset = read_texts_of(source.reader, source.path, **source.options)
        if not source.is_part:
            require_published_totals(dataset)
        images = getattr(dataset, recipe.evaluation.part)
        captions, places = flattened(images)
        gallery = tuple(image.sample for image in images)
        if not gallery:
            raise ConfigurationError(
                f"{source.reader} has no part {recipe.evaluation.part!r}; evaluate on another part"
            )
        return [TextTest(source.reader, captions, identities_of(gallery)[places], gallery)]
    tests: list[ImageTest | TextTest] = []
    for split in range(recipe.evaluation.splits):
        options = {**source.options, **({"split": split} if recipe.evaluation.splits > 1 else {})}
        images_only = read_images_of(source.reader, source.path, **options)
        if not source.is_part:
            require_published_totals(images_only)
        if not images_only.query or not images_only.gallery:
            raise ConfigurationError(
                f"{source.reader} has no query and gallery; name a set with a test in `evaluation.data` of the recipe"
            )
        if recipe.method != "cpcl":
            tests.append(ImageTest(source.reader, images_only.query, images_only.gallery))
        if recipe.method in ("cpcl", "small"):
            shown = (*images_only.query, *images_only.gallery)
            asking = captions_of(source, recipe.evaluation.part, shown)
            texts = tuple(caption.text for caption in asking)
            tests.append(TextTest(f"{source.reader}_text", texts, identities_of(asking), shown))
    return tests


def _score_images(built: Built, test: ImageTest, setting: TestSetting) -> RankingScores:
    query, gallery = _described(built, test, setting)
    return score_image_features(query, gallery, *_labels(test), built.descriptor.metric)


def _described(built: Built, test: ImageTest, setting: TestSetting) -> tuple[F32, F32]:
    vectors = built.towers.encoder.camera_vectors
    query, gallery = (
        built.descriptor.of_images(
            _pictures(part, setting), setting.size, setting.device, setting.precision,
            None if vectors is None else _known_cameras(part, len(vectors)),
        )
        for part in (test.query, test.gallery)
    )  # fmt: skip
    return query.cpu().numpy(), gallery.cpu().numpy()


def _known_cameras(samples: Sequence[ImageSample], known: int) -> I64:
    cameras = cameras_of(samples)
    if cameras.max(initial=-1) >= known:
        raise ConfigurationError(
            f"the test has a camera number {cameras.max()}, but the encoder learnt vectors of {known} cameras; "
            "evaluate on the cameras that it was trained on, or train without encoder.cameras"
        )
    return cameras


def _labels(test: ImageTest) -> tuple[I64, I64, I64, I64]:
    return identities_of(test.query), cameras_of(test.query), identities_of(test.gallery), cameras_of(test.gallery)


def _score_texts(built: Built, test: TextTest, setting: TestSetting) -> RankingScores:
    encoder = built.towers.encoder
    of_images = extract(
        encoder, lambda images: encoder(images).language, _pictures(test.gallery, setting), setting.size,
        setting.device, setting.precision,
    )  # fmt: skip
    token_ids = built.towers.tokenize(test.captions)
    of_texts = extract_texts(encoder, encoder.embed_tokens, token_ids, setting.device, setting.precision)
    return score_text_features(
        of_texts.cpu().numpy(), of_images.cpu().numpy(), test.caption_identities, identities_of(test.gallery)
    )


def _pictures(samples: Sequence[ImageSample], setting: TestSetting) -> U8:
    return kept_images(samples, setting.stored_size, setting.cache)


def _figures(scores: RankingScores) -> dict[str, float]:
    return {
        "mean_average_precision": scores.mean_average_precision,
        "mean_inverse_negative_penalty": scores.mean_inverse_negative_penalty,
        **{f"rank_{k}": scores.rank(k) for k in (1, 5, 10)},
    }


def _means(scores: Sequence[Figures]) -> dict[str, float]:
    return {name: float(np.mean([figures[name] for figures in scores])) for name in scores[0]}


def _unit(features: F32) -> F32:
    return np.asarray(features / np.maximum(np.linalg.norm(features, axis=1, keepdims=True), 1e-12), np.float32)
