"""Pieces of a broken track put together again, within each camera: a step before labels are made of tracks.

A tracker that loses somebody for a moment gives him two numbers, and labels made of them would teach that he is two
people. Two pieces are taken for one person if they are each other's nearest among those of the camera that come within
`longest_gap_s`, and are more alike than all but few of the pairs that cannot be one person: tracks seen at one moment.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

F32 = npt.NDArray[np.float32]
F64 = npt.NDArray[np.float64]
I64 = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class LinkingConfig:
    """When two tracks of a camera may be pieces of one."""

    longest_gap_s: float = 30.0  # between the end of one piece and the start of the next
    false_share: float = 0.02  # of pairs of tracks seen together that would pass for alike: sets the threshold


@dataclass(frozen=True, slots=True, eq=False)
class Tracks:
    """Tracks of all cameras of a site. `features` are sums over a track's images: their lengths carry the counts."""

    features: F32  # (T, d)
    cameras: I64  # (T,)
    started_at: F64  # (T,) seconds
    ended_at: F64  # (T,)


def tracks_of(features: F32, labels: I64, cameras: I64, seen_from: F64, seen_until: F64) -> Tracks:
    """The tracks numbered by `labels` (N,), from their images: features (N, d), and when each was seen, in seconds."""
    count = int(labels.max()) + 1
    sums = np.zeros((count, features.shape[1]), np.float32)
    np.add.at(sums, labels, features)
    camera_of = np.zeros(count, np.int64)
    camera_of[labels] = cameras
    started_at, ended_at = np.full(count, np.inf), np.full(count, -np.inf)
    np.minimum.at(started_at, labels, seen_from)
    np.maximum.at(ended_at, labels, seen_until)
    return Tracks(sums, camera_of, started_at, ended_at)


def link_tracks(tracks: Tracks, config: LinkingConfig) -> I64:
    """(T,) numbers from 0; pieces of one person within a camera share one.

    Joins nearest pairs, takes each group for one track, and looks again until no pair is left; a group never has two
    tracks of one moment. Where no two tracks of any camera overlap nothing says how alike strangers are, and nothing is
    linked.
    """
    labels = np.arange(len(tracks.features), dtype=np.int64)
    threshold = similarity_of_strangers(tracks, config.false_share)
    linked = 0
    for members in _by_camera(tracks):
        groups = _linked_in_camera(tracks, members, threshold, config.longest_gap_s)
        labels[members] = linked + groups
        linked += int(groups.max()) + 1
    return labels


def similarity_of_strangers(tracks: Tracks, false_share: float) -> float:
    """The cosine that only `false_share` of the pairs seen together in one camera exceed; 1 without such pairs."""
    together = []
    for members in _by_camera(tracks):
        start, end = tracks.started_at[members], tracks.ended_at[members]
        overlap = (start[:, None] <= end) & (start <= end[:, None])
        similarity = _cosines(tracks.features[members])
        together.append(similarity[np.triu(overlap, 1)])
    similarities = np.concatenate(together) if together else np.empty(0, np.float32)
    return float(np.quantile(similarities, 1.0 - false_share)) if len(similarities) else 1.0


def _linked_in_camera(tracks: Tracks, members: I64, threshold: float, longest_gap_s: float) -> I64:
    """(M,) group of each member, from 0."""
    start, end = tracks.started_at[members], tracks.ended_at[members]
    gap = np.maximum(start[:, None] - end, start - end[:, None])  # not positive where they overlap
    groups = np.arange(len(members))
    while True:
        belongs = (groups == np.arange(groups.max() + 1)[:, None]).astype(np.float32)  # (groups, M)
        clash = belongs @ ((gap <= 0) & ~np.eye(len(gap), dtype=bool)) @ belongs.T > 0
        near = belongs @ ((gap > 0) & (gap <= longest_gap_s)) @ belongs.T > 0
        np.fill_diagonal(near, False)
        similarity = np.where(near & ~clash, _cosines(belongs @ tracks.features[members]), -np.inf)
        nearest, places = similarity.argmax(axis=1), np.arange(len(belongs))
        chosen = (nearest[nearest] == places) & (similarity.max(axis=1) > threshold) & (places < nearest)
        if not chosen.any():
            return groups
        edges = (np.ones(int(chosen.sum())), (places[chosen], nearest[chosen]))
        joined = connected_components(coo_array(edges, shape=(len(belongs), len(belongs))), directed=False)[1]
        groups = joined.astype(np.int64)[groups]


def _by_camera(tracks: Tracks) -> list[I64]:
    return [np.flatnonzero(tracks.cameras == camera) for camera in np.unique(tracks.cameras)]


def _cosines(features: F32) -> F32:
    unit = features / np.maximum(np.linalg.norm(features, axis=1, keepdims=True), 1e-12)
    return np.asarray(unit @ unit.T, np.float32)
