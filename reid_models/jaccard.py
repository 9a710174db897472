"""How far two samples are apart, judged by the neighbours that they share: k-reciprocal and camera-aware Jaccard.

A sample is described by a distribution V over its neighbours; the distance of two samples is
1 - sum(min(V_i, V_j)) / sum(max(V_i, V_j)). Nearly all samples share no neighbour and stand at distance 1, so
everything here is sparse, and no (N, N) array is ever made.

Sources: Zhong et al., CVPR 2017 (k-reciprocal encoding); Chen et al., CVPR 2024 (CA-Jaccard). Deviations:
- A neighbour's set joins when it shares *more* than two thirds, as in every published implementation; the paper says
  "at least". Weights are exp(-|f_i - f_j|²) as in the clustering literature.
- A sample is always its own nearest neighbour, also among exact copies.
- A camera with too few images gives shorter lists, where the published code fills up with images of wrong cameras.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import sparse

F32 = npt.NDArray[np.float32]
I64 = npt.NDArray[np.int64]

NOBODY = -1  # fills a list of neighbours that is shorter than the others
CHUNK_SIMILARITIES = 1 << 25  # 128 MB of float32
BLOCK_ROWS = 1 << 12  # 64 MB of float32 for a square block
CHUNK_PAIRS = 1 << 21  # pairs of entries whose minimum is taken at once; few enough to stay near the caches


@dataclass(frozen=True, slots=True)
class JaccardConfig:
    """Lengths of the neighbour lists; the camera-aware ones are used when cameras are given."""

    k1: int = 30  # neighbours that may be reciprocal
    k2: int = 6  # nearest samples, itself among them, whose distributions are averaged; 1 turns this off
    same_camera_k1: int = 5
    other_cameras_k1: int = 20
    same_camera_k2: int = 2  # itself among them
    other_cameras_k2: int = 4

    def __post_init__(self) -> None:
        if min(self.k1, self.k2, self.same_camera_k1, self.other_cameras_k1, self.same_camera_k2) < 1:
            raise ValueError(f"{self} has a list of neighbours without any; expected at least 1")


def jaccard_distances(
    features: F32,
    config: JaccardConfig,
    cameras: I64 | None = None,
    largest_kept: float = 1.0,
    device: str = "cpu",
) -> sparse.csr_array:
    """Distances below 1 between all samples, symmetric (N, N); a pair that is absent stands at 1.

    `features` (N, d) are unit rows. Zeros (the diagonal, exact copies) are stored. Distances above `largest_kept` are
    dropped as well: with the clustering's epsilon there, the result is the same and takes less memory. With `cameras`
    (N,), the camera-aware distance. Only the search for neighbours runs on `device`.
    """
    if cameras is None:
        ranking = rank_all(features, max(config.k1 + 1, config.k2), device)
        distributions = k_reciprocal_distributions(features, ranking, config.k1, config.k2)
    else:
        distributions = camera_aware_distributions(features, cameras, config, device)
    return shared_neighbour_distances(distributions, largest_kept)


def nearest(queries: F32, gallery: F32, count: int, device: str = "cpu") -> I64:
    """Positions in the gallery of the `count` nearest unit rows (fewer in a small gallery), best first: (Q, count)."""
    import torch

    found = np.empty((len(queries), min(count, len(gallery))), np.int64)
    step = max(1, CHUNK_SIMILARITIES // max(1, len(gallery)))
    columns = torch.from_numpy(gallery).to(device).T
    for start in range(0, len(queries), step):
        similarity = torch.from_numpy(queries[start : start + step]).to(device) @ columns
        found[start : start + step] = similarity.topk(found.shape[1]).indices.cpu().numpy()
    return found


def rank_all(features: F32, count: int, device: str = "cpu") -> I64:
    """The `count` nearest samples of each (fewer of few), best first, itself before any copy: (N, count).

    A block of similarities serves its rows and, transposed, its columns, which saves half of the products.
    """
    import torch

    rows = torch.from_numpy(features).to(device)
    count = min(count, len(rows))
    similarities = torch.full((len(rows), count), -torch.inf, device=device)
    positions = torch.zeros((len(rows), count), dtype=torch.int64, device=device)

    def take_in(start: int, block: torch.Tensor, offset: int) -> None:
        values, places = block.topk(min(count, block.shape[1]))
        own = slice(start, start + len(block))
        similarities[own], chosen = torch.cat([similarities[own], values], dim=1).topk(count)
        positions[own] = torch.cat([positions[own], places + offset], dim=1).gather(1, chosen)

    for top in range(0, len(rows), BLOCK_ROWS):
        for left in range(top, len(rows), BLOCK_ROWS):
            block = rows[top : top + BLOCK_ROWS] @ rows[left : left + BLOCK_ROWS].T
            if left == top:
                block.fill_diagonal_(torch.inf)
            else:
                take_in(left, block.T.contiguous(), top)
            take_in(top, block, left)
    return positions.cpu().numpy()


def k_reciprocal_distributions(
    features: F32, ranking: I64, k1: int, k2: int, scale: F32 | None = None
) -> sparse.csr_array:
    """V (N, N): rows sum to 1. `ranking` (N, more than k1) has each sample itself first.

    `scale` (N,) multiplies the squared distances of a row before they become weights.
    """
    reciprocal = _reciprocal(ranking[:, : k1 + 1])
    half = _reciprocal(ranking[:, : round(k1 / 2) + 1])
    shared = (reciprocal @ half.T).multiply(reciprocal).tocoo()
    joins = 3 * shared.data > 2 * np.diff(half.indptr)[shared.col]
    candidates = sparse.csr_array(
        (np.ones(joins.sum(), np.int32), (shared.row[joins], shared.col[joins])), shape=shared.shape
    )
    return _averaged(_weighted(features, reciprocal + candidates @ half, scale), ranking[:, :k2])


def camera_aware_distributions(
    features: F32, cameras: I64, config: JaccardConfig, device: str = "cpu"
) -> sparse.csr_array:
    """V of CA-Jaccard: reciprocal within the camera or among all others; no expansion by half sets (section 3.3)."""
    same, other = _camera_rankings(features, cameras, config, device)
    reciprocal = _reciprocal(same[:, : config.same_camera_k1 + 1]) + _reciprocal(
        other[:, : config.other_cameras_k1 + 1]
    )
    nearby = np.hstack([same[:, : config.same_camera_k2], other[:, : config.other_cameras_k2]])
    return _averaged(_weighted(features, reciprocal, None), nearby)


def shared_neighbour_distances(distributions: sparse.csr_array, largest_kept: float = 1.0) -> sparse.csr_array:
    """The symmetric Jaccard distances between the rows of V that are below 1 and at most `largest_kept`."""
    by_column = distributions.tocsc()
    # Each entry meets only those below it in its column, so that a pair is visited once.
    order = sparse.csr_array((np.arange(by_column.nnz), distributions.indices, distributions.indptr)).tocsc().data
    after = np.empty(by_column.nnz, np.int64)
    after[order] = np.arange(1, by_column.nnz + 1)
    upper = _shared(distributions, by_column, after, largest_kept)
    # A sample shares all with itself. Adding shares, not distances, keeps the zeros among the latter stored.
    return _distances(upper + upper.T + _identity(upper.shape[0]))


def distances_between(distributions: sparse.csr_array, others: sparse.csr_array) -> sparse.csr_array:
    """Jaccard distances below 1 between the rows of V (Q, N) and those of `others` (G, N): (Q, G)."""
    by_column = others.tocsc()
    return _distances(_shared(distributions, by_column, by_column.indptr[distributions.indices].astype(np.int64)))


def _distances(shared: sparse.csr_array) -> sparse.csr_array:
    """From sum(min(V_i, V_j)); the rows sum to 1, so the sum of maxima is 2 less that."""
    values = np.maximum(1 - shared.data / (2 - shared.data), 0)
    return sparse.csr_array((values, shared.indices, shared.indptr), shape=shared.shape)


def _shared(
    distributions: sparse.csr_array, by_column: sparse.csc_array, meets_from: I64, largest_kept: float = 1.0
) -> sparse.csr_array:
    """sum(min(V_i, W_j)) of the rows of V and W, from an inverted index: W by column.

    Entry e of V, in row order, meets the entries of W in its column from position `meets_from[e]` on.
    """
    # A little less, so that rounding cannot drop a pair whose distance is `largest_kept` itself.
    least_shared = 2 * (1 - largest_kept) / (2 - largest_kept) * (1 - 1e-5)
    met_count = by_column.indptr[1:].astype(np.int64)[distributions.indices] - meets_from
    pairs_before = np.concatenate([[0], np.cumsum(met_count)])[distributions.indptr]
    merging = _identity(by_column.shape[0])
    blocks = []
    start = 0
    while start < distributions.shape[0]:
        stop = int(np.searchsorted(pairs_before, pairs_before[start] + CHUNK_PAIRS, side="right")) - 1
        stop = max(stop, start + 1)
        entries = slice(distributions.indptr[start], distributions.indptr[stop])
        counts = met_count[entries]
        first_pair = np.cumsum(counts) - counts
        met = np.arange(counts.sum()) + np.repeat(meets_from[entries] - first_pair, counts)
        smaller = np.minimum(np.repeat(distributions.data[entries], counts), by_column.data[met])
        ends = (pairs_before[start : stop + 1] - pairs_before[start]).astype(np.int32)
        pairs = sparse.csr_array((smaller, by_column.indices[met], ends), shape=(stop - start, by_column.shape[0]))
        # A product sums what a row says several times about one column without sorting it first.
        block = pairs @ merging
        if least_shared > 0:
            block.data[block.data < least_shared] = 0
            block.eliminate_zeros()
        blocks.append(block)
        start = stop
    return sparse.csr_array(sparse.vstack(blocks, format="csr"))


def _camera_rankings(features: F32, cameras: I64, config: JaccardConfig, device: str) -> tuple[I64, I64]:
    """The nearest of the same camera, itself first, and the nearest of the others; `NOBODY` fills short lists."""
    same = np.full((len(features), max(config.same_camera_k1 + 1, config.same_camera_k2)), NOBODY)
    other = np.full((len(features), max(config.other_cameras_k1 + 1, config.other_cameras_k2)), NOBODY)
    for camera in np.unique(cameras):
        inside, outside = np.flatnonzero(cameras == camera), np.flatnonzero(cameras != camera)
        near = inside[rank_all(features[inside], same.shape[1], device)]
        far = outside[nearest(features[inside], features[outside], other.shape[1], device)]
        same[inside, : near.shape[1]], other[inside, : far.shape[1]] = near, far
    return same, other


def _reciprocal(ranking: I64) -> sparse.csr_array:
    """(N, N) with a 1 where two samples stand in each other's lists."""
    forward = _membership(ranking, np.int32)
    return sparse.csr_array(forward.multiply(forward.T))


def _membership(ranking: I64, dtype: npt.DTypeLike) -> sparse.csr_array:
    present = ranking != NOBODY
    # SciPy keeps the width of these indices through all that follows; int64 would take twice the memory.
    ends = np.concatenate([[0], np.cumsum(present.sum(axis=1))]).astype(np.int32)
    columns = ranking[present].astype(np.int32)
    return sparse.csr_array((np.ones(len(columns), dtype), columns, ends), shape=(len(ranking), len(ranking)))


def _identity(count: int) -> sparse.csr_array:
    return _membership(np.arange(count)[:, None], np.float32)


def _weighted(features: F32, neighbours: sparse.csr_array, scale: F32 | None) -> sparse.csr_array:
    """Turns the pattern of `neighbours` into rows of weights exp(-squared distance) that sum to 1."""
    neighbours = neighbours.tocsr()
    rows = np.repeat(np.arange(len(features)), np.diff(neighbours.indptr))
    weights = np.empty(neighbours.nnz, np.float32)
    step = max(1, CHUNK_SIMILARITIES // features.shape[1] // 4)
    for start in range(0, len(rows), step):
        pair = slice(start, start + step)
        similarity = np.einsum("nd,nd->n", features[rows[pair]], features[neighbours.indices[pair]])
        weights[pair] = 2 * similarity - 2
    if scale is not None:
        weights *= scale[rows]
    np.exp(weights, out=weights)
    weights /= np.add.reduceat(weights, neighbours.indptr[:-1])[rows]
    return sparse.csr_array((weights, neighbours.indices, neighbours.indptr), shape=neighbours.shape)


def _averaged(distributions: sparse.csr_array, nearby: I64) -> sparse.csr_array:
    """Local query expansion: each row becomes the mean over the rows named in `nearby` (N, k)."""
    members = _membership(nearby, np.float32)
    members.data /= np.repeat(np.diff(members.indptr), np.diff(members.indptr))
    return sparse.csr_array(members @ distributions)
