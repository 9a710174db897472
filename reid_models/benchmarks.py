"""An encoder scored on a data set: what `sightline evaluate images` and `evaluate text` print."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from pipeline.contracts import F32, Embeddings, Image
from pipeline.errors import ConfigurationError
from reid_models.datasets.attribute_sentences import attribute_sentence
from reid_models.datasets.captions import read_attributes, read_captions
from reid_models.datasets.market1501 import read_query_and_gallery
from reid_models.datasets.sample import I64, Caption, ImageSample, cameras_of, identities_of, read_image
from reid_models.evaluation import score_images, score_texts
from reid_models.re_ranking import ReRankingConfig, re_ranked_similarity


class ScoredEncoder(Protocol):
    """What is scored: `BundleEncoder`; a toy in tests."""

    def embed_images(self, crops: Sequence[Image]) -> Embeddings: ...

    def embed_texts(self, sentences: Sequence[str]) -> F32: ...


@dataclass(frozen=True, slots=True)
class ImageReport:
    """Re-identification across cameras on query and gallery of a data set. Scores are shares from 0 to 1."""

    mean_average_precision: float
    mean_inverse_negative_penalty: float
    rank_1: float
    rank_5: float
    rank_10: float
    queries: int
    gallery_images: int
    identities: int


@dataclass(frozen=True, slots=True)
class TextReport:
    """Sentences against all images of a data set, and against identities. Scores are shares from 0 to 1.

    `rank_k`: an image of the right person is among the first k images, the published protocol. `person_rank_k`: the
    right person is among the first k persons, each represented by the mean of all her images.
    """

    mean_average_precision: float
    mean_inverse_negative_penalty: float
    rank_1: float
    rank_5: float
    rank_10: float
    person_rank_1: float
    person_rank_5: float
    person_rank_10: float
    sentences: int
    gallery_images: int
    identities: int


@dataclass(frozen=True, slots=True)
class EmbeddedSet:
    """The query and gallery images of a data set as vectors."""

    query: Embeddings
    gallery: Embeddings
    query_identities: I64
    query_cameras: I64
    gallery_identities: I64
    gallery_cameras: I64


def evaluate_images(encoder: ScoredEncoder, data: Path) -> ImageReport:
    """Score `data`, a folder or zip in the layout of Market-1501, by the cross-camera rule."""
    return image_report(embed_set(encoder, data))


def evaluate_text(encoder: ScoredEncoder, data: Path, captions: Path, split: str = "val") -> TextReport:
    """Score the sentences of `captions` (JSON) that belong to `split` against query and gallery images of `data`."""
    return text_report(encoder, embed_set(encoder, data), read_captions(captions, split))


def evaluate_attribute_sentences(
    encoder: ScoredEncoder, data: Path, attributes: Path, split: str = "val", seed: int = 5
) -> TextReport:
    """As `evaluate_text`, with one sentence made from the coded attributes of each identity."""
    return text_report(encoder, embed_set(encoder, data), made_sentences(attributes, split, seed))


def made_sentences(attributes: Path, split: str, seed: int) -> tuple[Caption, ...]:
    """One sentence for each identity that tells everything that is coded."""
    rng = np.random.default_rng(seed)
    coded = read_attributes(attributes, split)
    return tuple(Caption(attribute_sentence(coded[who], rng, detail=1.0), who, "") for who in sorted(coded))


def embed_set(encoder: ScoredEncoder, data: Path) -> EmbeddedSet:
    """Every query and gallery image of `data` through the encoder."""
    parts = read_query_and_gallery(data)
    return EmbeddedSet(
        _embed(encoder, parts.query),
        _embed(encoder, parts.gallery),
        identities_of(parts.query),
        cameras_of(parts.query),
        identities_of(parts.gallery),
        cameras_of(parts.gallery),
    )


def image_report(embedded: EmbeddedSet, re_ranking: ReRankingConfig | None = None) -> ImageReport:
    """By the cosine or, with `re_ranking`, by shared neighbours, which is to be reported apart."""
    query, gallery = embedded.query.appearance, embedded.gallery.appearance
    scores = score_images(
        query @ gallery.T if re_ranking is None else re_ranked_similarity(query, gallery, re_ranking),
        embedded.query_identities,
        embedded.query_cameras,
        embedded.gallery_identities,
        embedded.gallery_cameras,
    )
    return ImageReport(
        mean_average_precision=scores.mean_average_precision,
        mean_inverse_negative_penalty=scores.mean_inverse_negative_penalty,
        rank_1=scores.rank(1),
        rank_5=scores.rank(5),
        rank_10=scores.rank(10),
        queries=scores.queries,
        gallery_images=len(embedded.gallery_identities),
        identities=len(np.unique(embedded.query_identities)),
    )


def text_report(encoder: ScoredEncoder, embedded: EmbeddedSet, captions: Sequence[Caption]) -> TextReport:
    identities = np.concatenate([embedded.query_identities, embedded.gallery_identities])
    vectors = np.concatenate([embedded.query.language, embedded.gallery.language])
    described = np.array([caption.identity for caption in captions], np.int64)
    if not np.isin(described, identities).any():
        raise ConfigurationError(
            "no captioned identity is among the query and gallery images; do the captions belong to this data set?"
        )
    texts = encoder.embed_texts([caption.text for caption in captions])
    people, means = mean_by_identity(vectors, identities)
    by_image = score_texts(texts @ vectors.T, described, identities)
    by_person = score_texts(texts @ means.T, described, people)
    return TextReport(
        mean_average_precision=by_image.mean_average_precision,
        mean_inverse_negative_penalty=by_image.mean_inverse_negative_penalty,
        rank_1=by_image.rank(1),
        rank_5=by_image.rank(5),
        rank_10=by_image.rank(10),
        person_rank_1=by_person.rank(1),
        person_rank_5=by_person.rank(5),
        person_rank_10=by_person.rank(10),
        sentences=by_image.queries,
        gallery_images=len(identities),
        identities=len(people),
    )


def mean_by_identity(vectors: F32, identities: I64) -> tuple[I64, F32]:
    """The distinct identities (P,) and the unit mean of each one's vectors (P, D)."""
    people, place = np.unique(identities, return_inverse=True)
    sums = np.zeros((len(people), vectors.shape[1]), np.float32)
    np.add.at(sums, place, vectors)
    return people, sums / np.linalg.norm(sums, axis=1, keepdims=True)


def _embed(encoder: ScoredEncoder, samples: Sequence[ImageSample]) -> Embeddings:
    return encoder.embed_images([read_image(sample) for sample in samples])
