"""k-reciprocal re-ranking of a gallery (Zhong et al., CVPR 2017). It reads the whole gallery, so report it apart.

Final distance (their equation 12): (1 - original_share) * Jaccard + original_share * squared Euclidean, where the
latter, here and in the weights of the neighbours, is divided by the largest of its row, as their code does.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from reid_models.jaccard import distances_between, k_reciprocal_distributions, rank_all

F32 = npt.NDArray[np.float32]

CHUNK_SIMILARITIES = 1 << 24  # 64 MB of float32


@dataclass(frozen=True, slots=True)
class ReRankingConfig:
    """The paper's setting for Market-1501; CLIP-ReID's code takes k1 = 50 and k2 = 15."""

    k1: int = 20
    k2: int = 6
    original_share: float = 0.3  # their lambda


def re_ranked_similarity(
    query_features: F32, gallery_features: F32, config: ReRankingConfig, device: str = "cpu"
) -> F32:
    """The negative final distance, (Q, G), ready for `score_images`. Features (Q, d) and (G, d) are unit rows."""
    features = np.concatenate([query_features, gallery_features])
    largest = _largest_squared_distances(features)
    ranking = rank_all(features, max(config.k1 + 1, config.k2), device)
    distributions = k_reciprocal_distributions(features, ranking, config.k1, config.k2, np.reciprocal(largest))
    count = len(query_features)
    jaccard = distances_between(distributions[:count], distributions[count:])
    original = (2 - 2 * query_features @ gallery_features.T) / largest[:count, None]
    # Absent pairs stand at Jaccard distance 1.
    final = config.original_share * original + np.float32(1 - config.original_share)
    pairs = jaccard.tocoo()
    final[pairs.row, pairs.col] += np.float32(1 - config.original_share) * (pairs.data - 1)
    return -final


def _largest_squared_distances(features: F32) -> F32:
    """From each unit row to the row farthest from it: (N,); 1 where all are equal."""
    step = max(1, CHUNK_SIMILARITIES // max(1, len(features)))
    least = [(features[start : start + step] @ features.T).min(axis=1) for start in range(0, len(features), step)]
    largest = 2 - 2 * np.concatenate(least)
    return np.where(largest > 0, largest, np.float32(1))
