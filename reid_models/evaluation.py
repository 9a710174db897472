"""How good a ranking is: person re-identification and text search, scored on similarities.

Average precision is the mean over the hits of the precision at each hit (no interpolation). A query without a single
right gallery image is left out, as in the published protocols.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from reid_models.datasets.sample import JUNK

F32 = npt.NDArray[np.float32]
I64 = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]

RANKS = 50


@dataclass(frozen=True, slots=True)
class RankingScores:
    """All values are shares between 0 and 1."""

    mean_average_precision: float
    mean_inverse_negative_penalty: float  # precision at the last hit (Ye et al. 2021)
    cumulative_match: tuple[float, ...]  # share of queries with a hit among the first k, for k = 1, 2, …
    queries: int

    def rank(self, k: int) -> float:
        """Share of queries with a hit among the first `k` (beyond the gallery's end nothing is added)."""
        return self.cumulative_match[min(k, len(self.cumulative_match)) - 1]


def score_images(
    similarity: F32, query_identities: I64, query_cameras: I64, gallery_identities: I64, gallery_cameras: I64
) -> RankingScores:
    """Cross-camera rule: gallery images of the query's identity in the query's camera do not count, nor does junk.

    `similarity` is (Q, G). Distractors (identity 0) stay in the gallery and are never right.
    """
    right = query_identities[:, None] == gallery_identities[None, :]
    same_camera = query_cameras[:, None] == gallery_cameras[None, :]
    ignored = (right & same_camera) | (gallery_identities == JUNK)[None, :]
    return score_ranking(similarity, right, ignored)


def score_texts(similarity: F32, query_identities: I64, gallery_identities: I64) -> RankingScores:
    """Sentences (Q) against images or identities (G); no camera rule."""
    right = query_identities[:, None] == gallery_identities[None, :]
    return score_ranking(similarity, right, np.zeros_like(right))


def score_ranking(similarity: F32, right: Mask, ignored: Mask) -> RankingScores:
    """`right` and `ignored` (Q, G) say which gallery items answer a query, and which do not count for it."""
    order = np.argsort(-similarity, axis=1, kind="stable")
    counts = ~np.take_along_axis(ignored, order, axis=1)
    hits = np.take_along_axis(right, order, axis=1) & counts
    answerable = hits.any(axis=1)
    hits, counts = hits[answerable], counts[answerable]
    if not len(hits):
        raise ValueError("no query has a right gallery item in another camera; expected at least one")
    place = np.cumsum(counts, axis=1)  # from 1, ignored items take none
    precision = np.cumsum(hits, axis=1) / np.maximum(place, 1)
    total = hits.sum(axis=1)
    last = hits.shape[1] - 1 - np.argmax(hits[:, ::-1], axis=1)
    first_place = place[np.arange(len(hits)), np.argmax(hits, axis=1)]
    ranks = np.arange(1, min(RANKS, similarity.shape[1]) + 1)
    return RankingScores(
        mean_average_precision=float(((precision * hits).sum(axis=1) / total).mean()),
        mean_inverse_negative_penalty=float(precision[np.arange(len(hits)), last].mean()),
        cumulative_match=tuple((first_place[:, None] <= ranks[None, :]).mean(axis=0).tolist()),
        queries=len(hits),
    )
