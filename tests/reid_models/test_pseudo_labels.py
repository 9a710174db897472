"""Clusters are DBSCAN's on the dense distances; association and mining equal loops written from their descriptions."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from sklearn.cluster import DBSCAN

from reid_models import pseudo_labels
from reid_models.pseudo_labels import JaccardConfig, associate_cameras, cluster, jaccard_distances, mine_outliers

F32 = np.typing.NDArray[np.float32]
I64 = np.typing.NDArray[np.int64]


def unit_clusters(people: int, count: int, seed: int, copies: bool = False) -> F32:
    rng = np.random.default_rng(seed)
    features = rng.standard_normal((people, 16))[rng.integers(0, people, count)]
    if not copies:
        features += 0.6 * rng.standard_normal((count, 16))
    return (features / np.linalg.norm(features, axis=1, keepdims=True)).astype(np.float32)


def quarter_turns(count: int, seed: int) -> F32:
    """Unit rows whose products are exact multiples of a quarter, so that many pairs are equally similar."""
    return (np.random.default_rng(seed).choice([-0.5, 0.5], (count, 4))).astype(np.float32)


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 8), st.integers(2, 80), st.floats(0.2, 0.8), st.integers(1, 6), st.booleans(), st.integers(0, 99))
def test_clusters_equal_those_of_dense_distances(
    people: int, count: int, epsilon: float, least_samples: int, copies: bool, seed: int
) -> None:
    distances = jaccard_distances(unit_clusters(people, count, seed, copies), JaccardConfig(k1=8, k2=3))
    pairs = distances.tocoo()
    full = np.ones(distances.shape)
    full[pairs.row, pairs.col] = pairs.data
    expected = DBSCAN(eps=epsilon, min_samples=least_samples, metric="precomputed").fit(full).labels_
    assert cluster(distances, epsilon, least_samples).tolist() == expected.tolist()


@settings(max_examples=30, deadline=None)
@example(people=1, count=52, epsilon=0.5, seed=27)  # has a distance of 0.5
@given(st.integers(1, 8), st.integers(2, 80), st.floats(0.2, 0.8), st.integers(0, 99))
def test_distances_above_epsilon_may_be_dropped(people: int, count: int, epsilon: float, seed: int) -> None:
    features, config = unit_clusters(people, count, seed), JaccardConfig(k1=8, k2=3)
    all_kept = jaccard_distances(features, config)
    some_kept = jaccard_distances(features, config, largest_kept=epsilon)
    assert some_kept.nnz <= all_kept.nnz
    assert cluster(some_kept, epsilon, 3).tolist() == cluster(all_kept, epsilon, 3).tolist()


def test_many_exact_copies_form_one_cluster_each() -> None:
    features = np.repeat(unit_clusters(5, 5, 2), 60, axis=0)
    labels = cluster(jaccard_distances(features, JaccardConfig(k1=10, k2=3)), 0.6, 4)
    assert labels.tolist() == np.repeat(np.arange(5), 60).tolist()


def test_clusters_count_up_in_the_order_of_their_samples() -> None:
    features = np.eye(4, dtype=np.float32)[[2, 0, 2, 3, 0, 2, 0, 1]]
    labels = cluster(jaccard_distances(features, JaccardConfig(k1=2, k2=1)), 0.5, 2)
    assert labels.tolist() == [0, 1, 0, -1, 1, 0, 1, -1]


@pytest.mark.parametrize("epsilon", [0.0, 1.0])
def test_an_epsilon_that_sparse_distances_cannot_answer_is_refused(epsilon: float) -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        cluster(jaccard_distances(unit_clusters(2, 9, 0), JaccardConfig()), epsilon, 2)


def naive_pairs(features: F32, cameras: list[int], pairs_per_class: float) -> list[tuple[int, int]]:
    """The accepted pairs of CCAFL's association."""
    squared = ((features[:, None].astype(np.float64) - features[None, :]) ** 2).sum(axis=2)
    across = [(a, b) for a, b in combinations(range(len(cameras)), 2) if cameras[a] != cameras[b]]
    nearest = sorted(across, key=lambda pair: (squared[pair], pair))[: int(pairs_per_class * len(cameras))]
    partners: list[set[int]] = [set() for _ in cameras]  # cameras in which a class has a partner
    accepted = []
    for a, b in nearest:
        if cameras[b] not in partners[a] and cameras[a] not in partners[b]:
            accepted.append((a, b))
            partners[a].add(cameras[b])
            partners[b].add(cameras[a])
    return accepted


def naive_components(count: int, accepted: list[tuple[int, int]]) -> list[int]:
    groups = [{member} for member in range(count)]
    for a, b in accepted:
        joined = groups[a] | groups[b]
        for member in joined:
            groups[member] = joined
    numbers: dict[int, int] = {}
    return [numbers.setdefault(min(group), len(numbers)) if len(group) > 1 else -1 for group in groups]


class_cameras = st.lists(st.integers(0, 3), min_size=1, max_size=25)


@settings(max_examples=100, deadline=None)
@given(class_cameras, st.floats(0.0, 3.0), st.booleans(), st.integers(0, 2**31), st.sampled_from([1, 60, 1 << 20]))
def test_association_equals_a_naive_walk(
    cameras: list[int], pairs_per_class: float, has_ties: bool, seed: int, chunk: int
) -> None:
    features = quarter_turns(len(cameras), seed) if has_ties else unit_clusters(6, len(cameras), seed)
    expected = naive_components(len(cameras), naive_pairs(features, cameras, pairs_per_class))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pseudo_labels, "CHUNK_SIMILARITIES", chunk)
        assert associate_cameras(features, np.array(cameras), pairs_per_class).tolist() == expected


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 1), min_size=2, max_size=25), st.integers(0, 2**31))
def test_between_two_cameras_nobody_has_two_partners(cameras: list[int], seed: int) -> None:
    labels = associate_cameras(unit_clusters(4, len(cameras), seed), np.array(cameras), 3.0)
    for component in range(labels.max() + 1):
        assert sorted(np.array(cameras)[labels == component]) == [0, 1]


def test_a_chain_through_other_cameras_may_join_two_classes_of_one_camera() -> None:
    angles = np.array([0.0, 0.10, 0.21, 0.33])
    features = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    assert associate_cameras(features, np.array([0, 1, 2, 0]), 0.75).tolist() == [0, 0, 0, 0]


@settings(max_examples=60, deadline=None)
@given(class_cameras, st.integers(0, 2**31))
def test_an_exclusive_component_has_at_most_one_class_of_each_camera(cameras: list[int], seed: int) -> None:
    features = unit_clusters(4, len(cameras), seed)
    components = associate_cameras(features, np.array(cameras), 3.0, is_exclusive=True)
    seen = [pair for pair in zip(components.tolist(), cameras, strict=True) if pair[0] >= 0]
    assert len(set(seen)) == len(seen)


def naive_mining(labels_a: I64, labels_b: I64, features_a: F32, pairs: list[tuple[int, int]]) -> list[int]:
    mined = labels_a.tolist()
    for outlier in np.flatnonzero(labels_a == -1):
        clusters = {labels_b[b] for a, b in pairs if a == outlier} - {-1}
        candidates = {a for a, b in pairs if labels_b[b] in clusters and labels_a[a] != -1}
        if candidates:
            nearest = max(candidates, key=lambda candidate: features_a[outlier] @ features_a[candidate])
            mined[outlier] = int(labels_a[nearest])
    return mined


labels = st.lists(st.integers(-1, 3), min_size=1, max_size=20)


@settings(max_examples=100, deadline=None)
@given(labels, labels, st.integers(0, 2**31))
def test_mining_equals_a_naive_loop_and_never_makes_an_outlier(a: list[int], b: list[int], seed: int) -> None:
    labels_a, labels_b = np.array(a), np.array(b)
    rng = np.random.default_rng(seed)
    features = unit_clusters(5, len(a), seed)
    first, second = rng.integers(0, len(a), 30), rng.integers(0, len(b), 30)
    mined = mine_outliers(labels_a, labels_b, features, first, second)
    assert mined.tolist() == naive_mining(labels_a, labels_b, features, list(zip(first, second, strict=True)))
    assert (mined[labels_a >= 0] == labels_a[labels_a >= 0]).all()


def test_an_outlier_never_copies_the_missing_label_of_a_nearer_outlier() -> None:
    features = np.array([[1, 0], [1, 0], [0, 1]], np.float32)
    mined = mine_outliers(np.array([-1, -1, 7]), np.array([4, 4, 4]), features)
    assert mined.tolist() == [7, 7, 7]
