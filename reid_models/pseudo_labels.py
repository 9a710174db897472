"""Labels made where none are given: clusters, classes of different cameras joined, outliers taken in.

A label of -1 marks an outlier: a sample, or class, left without one.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import sparse
from scipy.cluster.hierarchy import DisjointSet
from scipy.sparse.csgraph import connected_components

from reid_models.jaccard import JaccardConfig, jaccard_distances

__all__ = ["JaccardConfig", "associate_cameras", "cluster", "jaccard_distances", "mine_outliers"]

F32 = npt.NDArray[np.float32]
I64 = npt.NDArray[np.int64]

OUTLIER = -1
CHUNK_SIMILARITIES = 1 << 24  # 64 MB of float32


def cluster(distances: sparse.csr_array, epsilon: float, least_samples: int) -> I64:
    """DBSCAN labels (N,), counting up in the order of each cluster's first core sample.

    `distances` are those of `jaccard_distances`, whose absent pairs stand at 1; so `epsilon` must be below 1, and not
    above the `largest_kept` with which they were made.
    """
    from sklearn.cluster import DBSCAN

    if not 0 < epsilon < 1:
        raise ValueError(f"epsilon is {epsilon}; expected between 0 and 1, for pairs at distance 1 are not stored")
    labels = DBSCAN(eps=epsilon, min_samples=least_samples, metric="precomputed").fit(distances).labels_
    return np.asarray(labels, np.int64)


def associate_cameras(
    class_features: F32, class_cameras: I64, pairs_per_class: float, is_exclusive: bool = False
) -> I64:
    """Which classes of different cameras are one person: a component for each class (G,), -1 without partner.

    `class_features` (G, d) are unit rows, one for each intra-camera identity. Of all pairs across cameras the
    `pairs_per_class` * G most similar are walked, best first; a pair is accepted if neither class has a partner in the
    other's camera yet. Equal pairs go in the order of their classes. Components count up in the order of their first
    class. A chain (a-b, b-c) may join two classes of one camera all the same, as in CCAFL, whose rule this is
    (Tan et al., TCSVT 2025; taken from Precise-ICS, WACV 2021).

    `is_exclusive`, our addition, refuses a pair whose components share a camera: a component then has at most one class
    of each camera, as a person has, and a wrong pair cannot chain dozens of people together.
    """
    count = len(class_features)
    first, second = _most_similar_pairs(class_features, class_cameras, int(pairs_per_class * count))
    choose = _pairs_without_shared_cameras if is_exclusive else _pairs_with_one_partner
    accepted = choose(list(zip(first.tolist(), second.tolist(), strict=True)), class_cameras.tolist())
    rows, columns = np.array(accepted, np.int64).reshape(-1, 2).T
    edges = sparse.coo_array((np.ones(len(rows)), (rows, columns)), shape=(count, count))
    _, component = connected_components(edges, directed=False)
    has_partner = np.bincount(np.concatenate([rows, columns]), minlength=count) > 0
    labels = np.full(count, OUTLIER, np.int64)
    labels[has_partner] = np.unique(component[has_partner], return_inverse=True)[1]
    return labels


def _pairs_with_one_partner(pairs: list[tuple[int, int]], cameras: list[int]) -> list[tuple[int, int]]:
    """The pairs, best first, in which neither class has a partner in the other's camera yet."""
    taken: set[tuple[int, int]] = set()
    accepted = []
    for a, b in pairs:
        ends = {(a, cameras[b]), (b, cameras[a])}
        if not ends & taken:
            taken |= ends
            accepted.append((a, b))
    return accepted


def _pairs_without_shared_cameras(pairs: list[tuple[int, int]], cameras: list[int]) -> list[tuple[int, int]]:
    """The pairs, best first, that join two components without a camera in common."""
    components = DisjointSet(range(len(cameras)))
    seen_by = {place: {camera} for place, camera in enumerate(cameras)}  # of each component's root
    accepted = []
    for a, b in pairs:
        one, other = seen_by[components[a]], seen_by[components[b]]
        if one.isdisjoint(other):
            components.merge(a, b)
            seen_by[components[a]] = one | other
            accepted.append((a, b))
    return accepted


def mine_outliers(
    labels_a: I64, labels_b: I64, features_a: F32, pairs_a: I64 | None = None, pairs_b: I64 | None = None
) -> I64:
    """Labels of modality A (N,) in which outliers are taken in through their partners in modality B.

    An outlier whose partner lies in a cluster of B takes the label of the sample nearest to it (`features_a` (N, d),
    unit rows) among those of A that have both a partner in that cluster and a label; without such a sample it stays.
    Pair p joins sample `pairs_a[p]` of A with sample `pairs_b[p]` of B; without these, equal positions are partners.
    For the other direction, call with the modalities exchanged. Reconstructed from the descriptions of CPCL's OPLM
    (Zheng et al., arXiv 2401.10011), which has no published code.
    """
    pairs_a = np.arange(len(labels_a)) if pairs_a is None else pairs_a
    pairs_b = np.arange(len(labels_b)) if pairs_b is None else pairs_b
    mined = labels_a.copy()
    best = np.full(len(labels_a), -np.inf)
    partner_labels = labels_b[pairs_b]
    order = np.argsort(partner_labels, kind="stable")
    order = order[np.searchsorted(partner_labels[order], 0) :]
    bounds = np.flatnonzero(np.diff(partner_labels[order])) + 1
    for group in np.split(pairs_a[order], bounds):
        members = np.unique(group)
        labelled, outliers = members[labels_a[members] >= 0], members[labels_a[members] < 0]
        if len(labelled) and len(outliers):
            similarity = features_a[outliers] @ features_a[labelled].T
            nearest = similarity.argmax(axis=1)
            nearness = similarity[np.arange(len(outliers)), nearest]
            closer = nearness > best[outliers]
            mined[outliers[closer]] = labels_a[labelled[nearest[closer]]]
            best[outliers] = np.maximum(best[outliers], nearness)
    return mined


def _most_similar_pairs(features: F32, cameras: I64, count: int) -> tuple[I64, I64]:
    """The `count` most similar pairs across cameras, best first; equal ones by first and second place."""
    rows = columns = np.empty(0, np.int64)
    similarities = np.empty(0, np.float32)
    step = max(1, CHUNK_SIMILARITIES // max(1, len(features)))
    for start in range(0, len(features), step):
        stop = min(start + step, len(features))
        similarity = features[start:stop] @ features[start:].T
        similarity[cameras[start:stop, None] == cameras[None, start:]] = -np.inf
        similarity[np.tri(stop - start, len(features) - start, dtype=bool)] = -np.inf
        least = similarities[-1] if len(similarities) == count > 0 else -np.inf
        flat = similarity.ravel()
        if flat.size > count > 0:
            least = max(least, np.partition(flat, flat.size - count)[flat.size - count])
        row, column = np.nonzero((similarity >= least) & (similarity > -np.inf))
        similarities = np.concatenate([similarities, similarity[row, column]])
        rows, columns = np.concatenate([rows, row + start]), np.concatenate([columns, column + start])
        best = np.lexsort((columns, rows, -similarities))[:count]
        rows, columns, similarities = rows[best], columns[best], similarities[best]
    return rows, columns
