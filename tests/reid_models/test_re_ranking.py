"""Re-ranking equals dense loops written from the paper, and helps where neighbours agree."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reid_models.evaluation import score_images
from reid_models.re_ranking import ReRankingConfig, re_ranked_similarity

F32 = np.typing.NDArray[np.float32]


def people_in_two_cameras(people: int, images: int, noise: float, seed: int) -> tuple[F32, np.ndarray]:
    rng = np.random.default_rng(seed)
    identities = rng.integers(1, people + 1, images)
    features = rng.standard_normal((people + 1, 12))[identities] + noise * rng.standard_normal((images, 12))
    return (features / np.linalg.norm(features, axis=1, keepdims=True)).astype(np.float32), identities


def naive_final_distances(features: F32, queries: int, config: ReRankingConfig) -> np.ndarray:
    exact, count = features.astype(np.float64), len(features)
    original = ((exact[:, None] - exact[None, :]) ** 2).sum(axis=2)
    order = np.argsort(original, axis=1, kind="stable")
    original /= original.max(axis=1, keepdims=True)

    def mutual(i: int, k: int) -> set[int]:
        return {int(j) for j in order[i, : k + 1] if i in order[j, : k + 1]}

    encoded = np.zeros((count, count))
    for i in range(count):
        members = grown = mutual(i, config.k1)
        for candidate in members:
            half = mutual(candidate, round(config.k1 / 2))
            if 3 * len(half & members) > 2 * len(half):
                grown = grown | half
        encoded[i, list(grown)] = np.exp(-original[i, list(grown)])
        encoded[i] /= encoded[i].sum()
    encoded = np.stack([encoded[order[i, : config.k2]].mean(axis=0) for i in range(count)])
    final = np.zeros((queries, count - queries))
    for i in range(queries):
        for j in range(queries, count):
            low, high = np.minimum(encoded[i], encoded[j]).sum(), np.maximum(encoded[i], encoded[j]).sum()
            share = config.original_share
            final[i, j - queries] = (1 - share) * (1 - low / high) + share * original[i, j]
    return final


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 6), st.integers(4, 40), st.integers(1, 20), st.integers(1, 6), st.integers(0, 2**31))
def test_the_final_distance_equals_the_papers_definition(people: int, images: int, k1: int, k2: int, seed: int) -> None:
    features, _ = people_in_two_cameras(people, images, 0.5, seed)
    config = ReRankingConfig(k1=k1, k2=k2)
    queries = images // 3
    similarity = re_ranked_similarity(features[:queries], features[queries:], config)
    assert -similarity == pytest.approx(naive_final_distances(features, queries, config), abs=2e-5)


def test_re_ranking_raises_mean_average_precision_among_noisy_clusters() -> None:
    features, identities = people_in_two_cameras(20, 400, 1.0, 1)
    cameras = (np.arange(400) >= 80).astype(np.int64)
    labels = (identities[:80], cameras[:80], identities[80:], cameras[80:])
    plain = score_images(features[:80] @ features[80:].T, *labels)
    better = score_images(re_ranked_similarity(features[:80], features[80:], ReRankingConfig()), *labels)
    assert better.mean_average_precision > plain.mean_average_precision
