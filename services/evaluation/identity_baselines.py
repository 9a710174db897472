"""What an online matcher is measured against: who may see everything at once, and who does the obvious.

Both get their threshold from the truth, which no matcher at work can have.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from pipeline.contracts import F32, F64, I64, GlobalId, IdentityEventKind, unpack_vector
from pipeline.errors import ConfigurationError
from pipeline.matching.assignment import track_of
from pipeline.matching.evidence import TrackKey
from services.evaluation.identity import JudgedTracklet, score_identities
from services.evaluation.identity_answers import Statement, TrueTracklet
from services.evaluation.identity_report import judged_tracklets

Baseline = Callable[[Sequence[TrueTracklet]], list[Statement]]  # of tracklets in the order of arrival

MOST_TRACKS = 12_000  # the oracle holds half of their square as float64: 576 MB
_TRIES = 40  # thresholds in each of two rounds, the second between the neighbours of the first's best
_ROWS_AT_ONCE = 1024


def oracle(tracklets: Sequence[TrueTracklet]) -> list[Statement]:
    """Agglomerative clustering of all tracks with average linkage, cut where IDF1 is greatest.

    The similarity of two tracks is the mean over pairs of their tracklets, so pieces of a track are one from the start
    and each track weighs the same. It knows appearance alone: no times, no cameras. Raises `ConfigurationError` for
    more than `MOST_TRACKS` tracks.
    """
    from scipy.cluster.hierarchy import fcluster, linkage
    from scipy.spatial.distance import squareform

    tracks = _tracks(tracklets)
    if int(tracks.max(initial=0)) >= MOST_TRACKS:
        raise ConfigurationError(
            f"{tracks.max() + 1} tracks; the oracle clusters at most {MOST_TRACKS} in memory: choose fewer tracklets"
        )
    if tracks.max(initial=0) == 0:
        return _statements(tracklets, tracks)
    vectors = _vectors(tracklets)
    means = np.zeros((int(tracks.max()) + 1, vectors.shape[1]))
    np.add.at(means, tracks, vectors)
    means /= np.bincount(tracks)[:, None]
    distances = np.maximum(0.0, 1.0 - means @ means.T)
    np.fill_diagonal(distances, 0.0)
    tree = linkage(squareform(distances, checks=False), "average")
    labels = _best(tracklets, tree[:, 2], lambda most: fcluster(tree, most, "distance")[tracks].astype(np.int64))
    return [replace(said, said_at=tracklets[-1].arrived_at) for said in _statements(tracklets, labels)]


def naive(tracklets: Sequence[TrueTracklet]) -> list[Statement]:
    """The nearest earlier tracklet of another track gives the identity, at a cosine threshold that makes IDF1 greatest.

    Only the first piece of a track asks; the others follow it. In order of arrival.
    """
    tracks, vectors = _tracks(tracklets), _vectors(tracklets)
    firsts = np.unique(tracks, return_index=True)[1]
    nearest, similarities = _nearest_before(vectors, firsts)
    labels = _best(tracklets, similarities, lambda least: _chained(tracks, nearest, similarities >= least))
    return _statements(tracklets, labels)


def _best(tracklets: Sequence[TrueTracklet], thresholds: F64, labels_at: Callable[[float], I64]) -> I64:
    """The labels with the greatest IDF1, at one of the given thresholds or beyond them."""
    ordered = np.unique(np.concatenate([[-np.inf], thresholds, [np.inf]]))

    unnamed = judged_tracklets(tracklets, {})

    def score(index: int) -> float:
        labels = labels_at(ordered[index]).tolist()
        return score_identities(
            [
                JudgedTracklet(seen.camera_id, seen.detections, seen.true_id, GlobalId(label))
                for seen, label in zip(unnamed, labels, strict=True)
            ]
        ).idf1

    low, high = 0, len(ordered) - 1
    for _ in range(2):
        tried = np.unique(np.linspace(low, high, _TRIES).round().astype(int))
        best = int(np.argmax([score(index) for index in tried]))
        low, high = tried[max(0, best - 1)], tried[min(len(tried) - 1, best + 1)]
    return labels_at(ordered[tried[best]])


def _statements(tracklets: Sequence[TrueTracklet], labels: I64) -> list[Statement]:
    return [
        Statement(seen.arrived_at, IdentityEventKind.ASSIGNED, GlobalId(int(label) + 1), (seen.embedding.tracklet_id,))
        for seen, label in zip(tracklets, labels, strict=True)
    ]


def _tracks(tracklets: Sequence[TrueTracklet]) -> I64:
    """(N,) the number of each tracklet's track, from 0 in order of arrival."""
    numbers: dict[TrackKey, int] = {}
    return np.array([numbers.setdefault(track_of(seen.embedding), len(numbers)) for seen in tracklets], np.int64)


def _vectors(tracklets: Sequence[TrueTracklet]) -> F32:
    vectors = np.stack([unpack_vector(seen.embedding.appearance) for seen in tracklets])
    unit: F32 = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return unit


def _nearest_before(vectors: F32, asking: I64) -> tuple[I64, F64]:
    """For each asking row the nearest earlier row, and its similarity; -inf for the first of all."""
    nearest, similarities = np.zeros(len(asking), np.int64), np.full(len(asking), -np.inf)
    for start in range(0, len(asking), _ROWS_AT_ONCE):
        rows = asking[start : start + _ROWS_AT_ONCE]
        products = vectors[rows] @ vectors[: rows[-1] + 1].T
        products[np.arange(len(products[0])) >= rows[:, None]] = -np.inf
        nearest[start : start + len(rows)] = products.argmax(axis=1)
        similarities[start : start + len(rows)] = products.max(axis=1)
    return nearest, similarities


def _chained(tracks: I64, nearest: I64, is_joined: np.typing.NDArray[np.bool_]) -> I64:
    """(N,) labels: a track takes that of its nearest earlier tracklet's track where it is joined, else its own."""
    of_track = np.arange(len(nearest))
    for track in np.flatnonzero(is_joined).tolist():
        of_track[track] = of_track[tracks[nearest[track]]]
    labels: I64 = of_track[tracks]
    return labels
