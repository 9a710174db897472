"""Scores equal an independent, naive count, and torchmetrics where the protocols coincide."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.torchvision_cpu import install
from reid_models import evaluation
from reid_models.evaluation import (
    score_image_features,
    score_images,
    score_ranking,
    score_text_features,
    score_texts,
)


def naive_scores(
    similarity: np.ndarray, query: list[tuple[int, int]], gallery: list[tuple[int, int]]
) -> tuple[float, float, list[int]] | None:
    """Mean average precision, mean inverse negative penalty, first hit of each query; pairs are (identity, camera)."""
    precisions, penalties, first_hits = [], [], []
    for row, (identity, camera) in zip(similarity, query, strict=True):
        ranked = sorted(range(len(gallery)), key=lambda place: -row[place])
        kept = [place for place in ranked if gallery[place][0] != -1 and gallery[place] != (identity, camera)]
        hits = [rank for rank, place in enumerate(kept, start=1) if gallery[place][0] == identity]
        if hits:
            precisions.append(sum((count + 1) / rank for count, rank in enumerate(hits)) / len(hits))
            penalties.append(len(hits) / hits[-1])
            first_hits.append(hits[0])
    return (float(np.mean(precisions)), float(np.mean(penalties)), first_hits) if precisions else None


people = st.lists(st.tuples(st.integers(1, 3), st.integers(0, 2)), min_size=1, max_size=6)
galleries = st.lists(st.tuples(st.integers(-1, 3), st.integers(0, 2)), min_size=1, max_size=12)


@settings(max_examples=150, deadline=None)
@given(people, galleries, st.integers(0, 2**31))
def test_scores_equal_a_naive_count(query: list[tuple[int, int]], gallery: list[tuple[int, int]], seed: int) -> None:
    # Few values, so that many are equal: those rank in the gallery's order.
    similarity = np.random.default_rng(seed).integers(0, 6, (len(query), len(gallery))).astype(np.float32)
    (query_ids, query_cameras), (gallery_ids, gallery_cameras) = np.array(query).T, np.array(gallery).T
    expected = naive_scores(similarity, query, gallery)
    if expected is None:
        with pytest.raises(ValueError, match="no query has a right gallery item"):
            score_images(similarity, query_ids, query_cameras, gallery_ids, gallery_cameras)
        return
    scores = score_images(similarity, query_ids, query_cameras, gallery_ids, gallery_cameras)
    assert scores.mean_average_precision == pytest.approx(expected[0])
    assert scores.mean_inverse_negative_penalty == pytest.approx(expected[1])
    for k in (1, 2, 5, 50):
        assert scores.rank(k) == pytest.approx(np.mean([hit <= k for hit in expected[2]]))


@settings(max_examples=60, deadline=None)
@given(people, galleries, st.integers(0, 2**31))
def test_a_ranking_with_masks_scores_as_the_cross_camera_rule(
    query: list[tuple[int, int]], gallery: list[tuple[int, int]], seed: int
) -> None:
    similarity = np.random.default_rng(seed).integers(0, 6, (len(query), len(gallery))).astype(np.float32)
    (query_ids, query_cameras), (gallery_ids, gallery_cameras) = np.array(query).T, np.array(gallery).T
    right = query_ids[:, None] == gallery_ids[None, :]
    ignored = (right & (query_cameras[:, None] == gallery_cameras[None, :])) | (gallery_ids == -1)[None, :]
    if not (right & ~ignored).any():
        return
    expected = score_images(similarity, query_ids, query_cameras, gallery_ids, gallery_cameras)
    assert score_ranking(similarity, right, ignored) == expected


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_features_in_chunks_score_as_the_whole_matrix(
    metric: evaluation.Metric, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(evaluation, "CHUNK_SIMILARITIES", 130)  # three queries of the 40 images that count at a time
    rng = np.random.default_rng(4)
    query, gallery = rng.standard_normal((20, 8)), rng.standard_normal((50, 8))
    query_ids, gallery_ids = rng.integers(1, 6, 20), np.repeat(np.arange(-1, 4), 10)
    query_cameras, gallery_cameras = rng.integers(0, 3, 20), rng.integers(0, 3, 50)
    if metric == "cosine":
        lengths = np.linalg.norm(query, axis=1)[:, None] * np.linalg.norm(gallery, axis=1)[None, :]
        similarity = query @ gallery.T / lengths
    else:
        similarity = -np.linalg.norm(query[:, None] - gallery[None, :], axis=2)
    labels = (query_ids, query_cameras, gallery_ids, gallery_cameras)
    scores = score_image_features(query.astype(np.float32), gallery.astype(np.float32), *labels, metric=metric)
    assert scores == score_images(similarity.astype(np.float32), *labels)
    if metric == "cosine":
        texts = score_text_features(query.astype(np.float32), gallery.astype(np.float32), query_ids, gallery_ids)
        assert texts == score_texts(similarity.astype(np.float32), query_ids, gallery_ids)


def test_features_that_are_not_finite_are_refused() -> None:
    features, ids = np.full((2, 3), np.nan, np.float32), np.array([1, 1])
    with pytest.raises(ValueError, match="not finite"):
        score_image_features(features, features, ids, np.array([0, 1]), ids, np.array([1, 0]))


def test_text_scores_equal_torchmetrics() -> None:
    install()  # torchmetrics imports torchvision
    from torchmetrics.retrieval import RetrievalHitRate, RetrievalMAP

    rng = np.random.default_rng(3)
    similarity = rng.random((20, 30)).astype(np.float32)
    query, gallery = rng.integers(0, 6, 20), rng.integers(0, 6, 30)
    scores = score_texts(similarity, query, gallery)
    truth = torch.from_numpy(query[:, None] == gallery[None, :]).flatten()
    rows = torch.arange(20).repeat_interleave(30)
    predicted = torch.from_numpy(similarity).flatten()
    peer = RetrievalMAP(empty_target_action="skip")(predicted, truth, indexes=rows)
    hit = RetrievalHitRate(empty_target_action="skip", top_k=5)(predicted, truth, indexes=rows)
    assert scores.mean_average_precision == pytest.approx(float(peer), abs=1e-6)
    assert scores.rank(5) == pytest.approx(float(hit))


def test_a_distractor_costs_precision_and_junk_does_not() -> None:
    similarity = np.array([[0.9, 0.8]], np.float32)
    query, cameras = np.array([5]), np.array([0])
    gallery_cameras = np.array([1, 1])
    junk = score_images(similarity, query, cameras, np.array([-1, 5]), gallery_cameras)
    distractor = score_images(similarity, query, cameras, np.array([0, 5]), gallery_cameras)
    assert (junk.mean_average_precision, distractor.mean_average_precision) == (1.0, 0.5)
