"""The sparse Jaccard distances equal dense loops written from the papers."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reid_models.jaccard import JaccardConfig, jaccard_distances

F32 = np.typing.NDArray[np.float32]
I64 = np.typing.NDArray[np.int64]


def unit_clusters(people: int, count: int, seed: int) -> F32:
    rng = np.random.default_rng(seed)
    centres = rng.standard_normal((people, 16))
    features = centres[rng.integers(0, people, count)] + 0.5 * rng.standard_normal((count, 16))
    return (features / np.linalg.norm(features, axis=1, keepdims=True)).astype(np.float32)


def naive_mutual(lists: list[list[int]]) -> list[set[int]]:
    return [{j for j in near if i in lists[j]} for i, near in enumerate(lists)]


def naive_distances(features: F32, sets: list[set[int]], averaged: list[list[int]]) -> np.ndarray:
    """Weights within the sets, the mean over the `averaged` rows, one minus minima over maxima."""
    exact = features.astype(np.float64)
    count = len(features)
    weights = np.zeros((count, count))
    for i, members in enumerate(sets):
        for j in members:
            weights[i, j] = np.exp(-((exact[i] - exact[j]) ** 2).sum())
        weights[i] /= weights[i].sum()
    expanded = np.stack([weights[rows].mean(axis=0) for rows in averaged])
    distances = np.zeros((count, count))
    for i in range(count):
        for j in range(count):
            low, high = np.minimum(expanded[i], expanded[j]).sum(), np.maximum(expanded[i], expanded[j]).sum()
            distances[i, j] = 1 - low / high
    return distances


def naive_k_reciprocal(features: F32, config: JaccardConfig) -> np.ndarray:
    similarity = features.astype(np.float64) @ features.T
    order = np.argsort(-similarity, axis=1, kind="stable").tolist()
    full = naive_mutual([row[: config.k1 + 1] for row in order])
    half = naive_mutual([row[: round(config.k1 / 2) + 1] for row in order])
    sets = []
    for own in full:
        grown = set(own)
        for candidate in own:
            if 3 * len(half[candidate] & own) > 2 * len(half[candidate]):
                grown |= half[candidate]
        sets.append(grown)
    return naive_distances(features, sets, [row[: config.k2] for row in order])


def naive_camera_aware(features: F32, cameras: I64, config: JaccardConfig) -> np.ndarray:
    similarity = features.astype(np.float64) @ features.T
    order = np.argsort(-similarity, axis=1, kind="stable").tolist()
    same = [[j for j in row if cameras[j] == cameras[i]] for i, row in enumerate(order)]
    other = [[j for j in row if cameras[j] != cameras[i]] for i, row in enumerate(order)]
    within = naive_mutual([row[: config.same_camera_k1 + 1] for row in same])
    across = naive_mutual([row[: config.other_cameras_k1 + 1] for row in other])
    averaged = [
        near[: config.same_camera_k2] + far[: config.other_cameras_k2] for near, far in zip(same, other, strict=True)
    ]
    return naive_distances(features, [a | b for a, b in zip(within, across, strict=True)], averaged)


def dense(distances: object) -> np.ndarray:
    """An absent pair stands at 1, a stored zero at 0."""
    full = np.ones(distances.shape)
    pairs = distances.tocoo()
    full[pairs.row, pairs.col] = pairs.data
    return full


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 8), st.integers(2, 60), st.integers(1, 20), st.integers(1, 8), st.integers(0, 2**31))
def test_the_distances_equal_the_papers_definition(people: int, count: int, k1: int, k2: int, seed: int) -> None:
    features, config = unit_clusters(people, count, seed), JaccardConfig(k1=k1, k2=k2)
    distances = jaccard_distances(features, config)
    assert dense(distances) == pytest.approx(naive_k_reciprocal(features, config), abs=2e-5)


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 8), st.integers(2, 50), st.integers(1, 4), st.integers(1, 12), st.integers(0, 2**31))
def test_camera_aware_distances_equal_the_papers_definition(
    people: int, count: int, camera_count: int, k: int, seed: int
) -> None:
    features = unit_clusters(people, count, seed)
    cameras = np.random.default_rng(seed).integers(0, camera_count, count)
    config = JaccardConfig(same_camera_k1=max(k // 3, 1), other_cameras_k1=k, same_camera_k2=2, other_cameras_k2=k % 5)
    distances = jaccard_distances(features, config, cameras)
    assert dense(distances) == pytest.approx(naive_camera_aware(features, cameras, config), abs=2e-5)
