"""How well a model tells apart who stood before one camera at one time: certain truth that needs no labels.

Crops of one track show one person; crops of two tracks that overlap in time before one camera show two.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from reid_models.datasets.sample import F32, I64
from reid_models.evaluation import score_ranking

F64 = npt.NDArray[np.float64]

_ROWS = 512  # queries at once: the matrix of all pairs of a night would not fit into memory


@dataclass(frozen=True, slots=True)
class TrackedCrops:
    """Of each crop: its camera, its track (unique over cameras), and when that track began and ended; all (N,)."""

    cameras: I64
    tracks: I64
    started_at: F64
    ended_at: F64


@dataclass(frozen=True, slots=True)
class TrackScore:
    """Mean average precision within cameras, and the number of crops that had somebody else beside them."""

    mean_average_precision: float
    queries: int


def score_tracks(appearance: F32, crops: TrackedCrops) -> TrackScore | None:
    """Each crop asks for the others of its track among those of the tracks that ran beside it.

    `appearance` is (N, D), unit rows. None where no crop has both a second one and somebody beside it.
    """
    total, queries = 0.0, 0
    for camera in np.unique(crops.cameras):
        members = np.flatnonzero(crops.cameras == camera)
        for start in range(0, len(members), _ROWS):
            asking = members[start : start + _ROWS]
            right, wrong = _truth(crops, asking, members)
            told = right.any(axis=1) & wrong.any(axis=1)
            if told.any():
                similarity = appearance[asking[told]] @ appearance[members].T
                scores = score_ranking(similarity, right[told], ~(right | wrong)[told])
                total += scores.mean_average_precision * scores.queries
                queries += scores.queries
    return TrackScore(total / queries, queries) if queries else None


def _truth(crops: TrackedCrops, asking: I64, members: I64) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    """Who certainly is the same person (but not the same crop), and who certainly is another one: (A, M) each."""
    same = crops.tracks[asking][:, None] == crops.tracks[members][None, :]
    begins_in_time = crops.started_at[members][None, :] <= crops.ended_at[asking][:, None]
    ends_in_time = crops.ended_at[members][None, :] >= crops.started_at[asking][:, None]
    return same & (asking[:, None] != members[None, :]), begins_in_time & ends_in_time & ~same
