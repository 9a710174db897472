"""How good a ranking is: person re-identification and text search, scored on similarities.

Average precision is the mean over the hits of the precision at each hit (no interpolation). A query without a single
right gallery image is left out, as in the published protocols. Equally similar items rank in the gallery's order.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from reid_models.datasets.sample import JUNK

F32 = npt.NDArray[np.float32]
I64 = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]
Metric = Literal["cosine", "euclidean"]

RANKS = 50
CHUNK_SIMILARITIES = 1 << 24  # 64 MB of float32


@dataclass(frozen=True, slots=True)
class RankingScores:
    """All values are shares between 0 and 1."""

    mean_average_precision: float
    mean_inverse_negative_penalty: float  # precision at the last hit (Ye et al. 2021)
    cumulative_match: tuple[float, ...]  # share of queries with a hit among the first k, for k = 1, 2, …
    queries: int

    def rank(self, k: int) -> float:
        """Share of queries with a hit among the first `k` (at most `RANKS`)."""
        return self.cumulative_match[k - 1]


@dataclass(frozen=True, slots=True)
class _Judged:
    """One query: similarity to each gallery item (G,), positions of its right answers and of what does not count."""

    similarity: F32
    hits: I64
    ignored: I64


def score_images(
    similarity: F32, query_identities: I64, query_cameras: I64, gallery_identities: I64, gallery_cameras: I64
) -> RankingScores:
    """Cross-camera rule: gallery images of the query's identity in the query's camera do not count, nor does junk.

    `similarity` is (Q, G). Distractors (identity 0) stay in the gallery and are never right.
    """
    truth = _Truth(gallery_identities, gallery_cameras)
    return _score(truth.judge(similarity, query_identities, query_cameras))


def score_image_features(
    query_features: F32,
    gallery_features: F32,
    query_identities: I64,
    query_cameras: I64,
    gallery_identities: I64,
    gallery_cameras: I64,
    metric: Metric = "cosine",
) -> RankingScores:
    """`score_images` from features (Q, d) and (G, d) of any length, without ever holding the whole (Q, G) matrix."""
    counts = gallery_identities != JUNK
    truth = _Truth(gallery_identities[counts], gallery_cameras[counts])
    similarity = _similarity_rows(query_features, gallery_features[counts], metric)
    return _score(truth.judge(similarity, query_identities, query_cameras))


def score_texts(similarity: F32, query_identities: I64, gallery_identities: I64) -> RankingScores:
    """Sentences (Q) against images or identities (G); no camera rule."""
    return _score(_Truth(gallery_identities).judge(similarity, query_identities))


def score_text_features(
    query_features: F32, gallery_features: F32, query_identities: I64, gallery_identities: I64
) -> RankingScores:
    """`score_texts` by the cosine of features (Q, d) and (G, d), without ever holding the whole (Q, G) matrix."""
    similarity = _similarity_rows(query_features, gallery_features, "cosine")
    return _score(_Truth(gallery_identities).judge(similarity, query_identities))


def score_ranking(similarity: F32, right: Mask, ignored: Mask) -> RankingScores:
    """`right` and `ignored` (Q, G) say which gallery items answer a query, and which do not count for it."""
    rows = zip(similarity, right, ignored, strict=True)
    return _score(_Judged(row, np.flatnonzero(yes & ~out), np.flatnonzero(out)) for row, yes, out in rows)


class _Truth:
    """Which gallery items answer a query: those of one identity lie together in `_order`."""

    def __init__(self, identities: I64, cameras: I64 | None = None) -> None:
        self._order = np.argsort(identities, kind="stable")
        self._sorted = identities[self._order]
        self._cameras = cameras
        self._junk = np.flatnonzero(identities == JUNK) if cameras is not None else np.empty(0, np.int64)

    def judge(self, similarity: Iterable[F32], identities: I64, cameras: I64 | None = None) -> Iterator[_Judged]:
        """`similarity` gives one row (G,) for each query; with `cameras`, the cross-camera rule applies."""
        starts = np.searchsorted(self._sorted, identities, side="left")
        stops = np.searchsorted(self._sorted, identities, side="right")
        for query, row in enumerate(similarity):
            hits = self._order[starts[query] : stops[query]]
            ignored = self._junk
            if cameras is not None and self._cameras is not None:
                same_camera = self._cameras[hits] == cameras[query]
                hits, ignored = hits[~same_camera], np.concatenate([ignored, hits[same_camera]])
            yield _Judged(row, hits, ignored)


def _similarity_rows(queries: F32, gallery: F32, metric: Metric) -> Iterator[F32]:
    """One row (G,) for each query, made in chunks; Euclidean closeness up to a constant of the query."""
    if metric == "cosine":
        queries, gallery = _unit(queries), _unit(gallery)
    step = max(1, CHUNK_SIMILARITIES // max(1, len(gallery)))
    squares = np.einsum("gd,gd->g", gallery, gallery)
    for start in range(0, len(queries), step):
        similarity = queries[start : start + step] @ gallery.T
        if metric == "euclidean":
            similarity *= 2
            similarity -= squares
        yield from similarity


def _unit(features: F32) -> F32:
    return np.asarray(features / np.maximum(np.linalg.norm(features, axis=1, keepdims=True), 1e-12), np.float32)


def _score(judged: Iterable[_Judged]) -> RankingScores:
    precisions, penalties, first_places = [], [], []
    for query in judged:
        if len(query.hits):
            places = _places(query)
            precisions.append(float((np.arange(1, len(places) + 1) / places).mean()))
            penalties.append(len(places) / places[-1])
            first_places.append(places[0])
    if not first_places:
        raise ValueError("no query has a right gallery item in another camera; expected at least one")
    ranks = np.arange(1, RANKS + 1)
    return RankingScores(
        mean_average_precision=float(np.mean(precisions)),
        mean_inverse_negative_penalty=float(np.mean(penalties)),
        cumulative_match=tuple((np.array(first_places)[:, None] <= ranks[None, :]).mean(axis=0).tolist()),
        queries=len(first_places),
    )


def _places(query: _Judged) -> I64:
    """The places of the hits, from 1, in rising order; ignored items take none.

    A hit's place is one more than the number of items before it. Counting these for each of the few hits of a query
    takes about a third of the time of sorting the gallery.
    """
    similarity = query.similarity.copy()
    similarity[query.ignored] = -np.inf
    if np.isnan(similarity).any():
        raise ValueError("a similarity is not a number; look for features that are not finite")
    places = [
        1 + np.count_nonzero(similarity[:hit] >= similarity[hit]) + np.count_nonzero(similarity[hit:] > similarity[hit])
        for hit in query.hits
    ]
    return np.sort(np.array(places, np.int64))
