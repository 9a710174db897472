"""What it means to look more alike than strangers do: log-odds curves, measured on people who are known."""

from __future__ import annotations

import numpy as np
from scipy.optimize import isotonic_regression

from pipeline.look_scores import LOOK_SCORES, LOOK_SIZES, ordinary_strangers
from reid_models.datasets.sample import F32, I64
from reid_models.manifest import StrangerLooks

F64 = np.ndarray[tuple[int, ...], np.dtype[np.float64]]

_DRAWS = 8  # groups of each person
_LEAST_GROUPS = 50
_LIMIT = 12.0  # log-odds that no curve exceeds


def stranger_looks(vectors: F32, identities: I64, cameras: I64, seed: int = 0) -> StrangerLooks:
    """From unit vectors (N, D) of people who were seen by several cameras.

    Scores are similarities of two groups of `LOOK_SIZES` images each, before different cameras, in deviations from the
    mean of ordinary strangers (`pipeline.look_scores`), each camera's mean look taken away. Where too few people have
    so many images, the curve of smaller groups stands for larger ones.
    """
    is_other_camera = np.triu(cameras[:, None] != cameras[None, :])
    is_stranger = identities[:, None] != identities[None, :]
    as_they_are = (vectors @ vectors.T)[is_other_camera & is_stranger]
    looks = _without_cameras(vectors, cameras)
    similar = looks @ looks.T
    strangers = similar[is_other_camera & is_stranger]
    mean, deviation = ordinary_strangers(strangers)
    right = (similar[is_other_camera & ~is_stranger] - mean) / deviation
    curves = [log_odds_curve(right, (strangers - mean) / deviation)]
    rng = np.random.default_rng(seed)
    for size in LOOK_SIZES[1:]:
        whose, one, other = _groups(looks, identities, cameras, size, rng)
        if len(whose) < _LEAST_GROUPS:
            curves.append(curves[-1])
            continue
        scores = (one @ other.T - mean) / deviation
        curves.append(log_odds_curve(np.diagonal(scores), scores[whose[:, None] != whose[None, :]]))
    return StrangerLooks(mean=float(as_they_are.mean()), deviation=float(as_they_are.std()), curves=tuple(curves))


def log_odds_curve(right: F32, wrong: F32) -> tuple[float, ...]:
    """Log-odds of "right" at each of `LOOK_SCORES`, both kinds weighing the same: a ratio of histograms that never
    falls (isotonic regression)."""
    step = LOOK_SCORES[1] - LOOK_SCORES[0]
    edges = np.concatenate([[-np.inf], np.asarray(LOOK_SCORES[1:]) - step / 2, [np.inf]])
    hits, misses = (np.histogram(scores, edges)[0].astype(np.float64) for scores in (right, wrong))
    odds = np.log((hits + 0.5) / (len(right) + 1.0)) - np.log((misses + 0.5) / (len(wrong) + 1.0))
    # Where neither was seen, the ratio says nothing; its neighbours decide.
    weights = hits / max(len(right), 1) + misses / max(len(wrong), 1) + 1e-9
    rising = isotonic_regression(odds, weights=weights).x.clip(-_LIMIT, _LIMIT)
    return tuple(round(float(value), 3) for value in rising)


def _without_cameras(vectors: F32, cameras: I64) -> F32:
    _, place = np.unique(cameras, return_inverse=True)
    sums = np.zeros((int(place.max()) + 1, vectors.shape[1]), np.float32)
    np.add.at(sums, place, vectors)
    looks = vectors - (sums / np.bincount(place)[:, None].astype(np.float32))[place]
    found: F32 = looks / np.maximum(np.linalg.norm(looks, axis=1, keepdims=True), np.float32(1e-6))
    return found


def _groups(looks: F32, identities: I64, cameras: I64, size: int, rng: np.random.Generator) -> tuple[I64, F32, F32]:
    """Persons (G,), and the mean looks (G, D) of two groups of each, before different cameras."""
    whose, one, other = [], [], []
    for person in np.unique(identities).tolist():
        own = np.flatnonzero(identities == person)
        seen_by = np.unique(cameras[own])
        for _ in range(_DRAWS if len(seen_by) > 1 else 0):
            order = rng.permutation(own)
            here = np.isin(cameras[order], rng.permutation(seen_by)[: len(seen_by) // 2])
            if min(here.sum(), (~here).sum()) >= size:
                whose.append(person)
                one.append(looks[order[here][:size]].mean(axis=0))
                other.append(looks[order[~here][:size]].mean(axis=0))
    width = looks.shape[1]
    return np.array(whose, np.int64), np.array(one).reshape(-1, width), np.array(other).reshape(-1, width)
