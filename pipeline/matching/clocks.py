"""Whose clock is wrong: the matcher's own clock, by which tracklets come and are decided, is the same for all cameras.

A tracklet of a slow camera seems to come late, one of a fast camera before its time. Whatever else makes tracklets late
(a queue, a matcher that was away) delays those that are decided one after the other alike, so only these are compared.
"""

from __future__ import annotations

import numpy as np

from pipeline.contracts import F64, I64

_NEWEST = 256  # tracks of each camera
_NEIGHBOURS = 3  # decisions before each, with which it is compared
_LEAST_PAIRS = 8  # that tell anything about two cameras
# Differences between two clocks are steady; those of a camera whose tracklets were held up for a while are not.
_STEADY_S = 20.0
_IDLE_S = 10.0  # differences below may have other reasons


def clock_changes(cameras: I64, started_at: F64, delays_s: F64, camera_count: int) -> F64:
    """(A,) how much faster each camera's clock is than was taken for granted; 0 where that is not known or not much.

    From tracks (N,), those of each camera in the order of decisions: their camera's place, when they began, and how
    long after their first piece they were decided (NaN: not noted). The clock in the middle counts as right.
    """
    low, high, later_s = _compared(cameras, started_at, delays_s, camera_count)
    told: list[F64] = []
    for one, other in sorted({*zip(low.tolist(), high.tolist(), strict=True)}):
        between = later_s[(low == one) & (high == other)]
        first, middle, third = np.quantile(between, (0.25, 0.5, 0.75))
        if len(between) >= _LEAST_PAIRS and third - first <= _STEADY_S:
            row = np.zeros(camera_count + 1)
            row[[one, other, -1]] = 1.0, -1.0, middle
            told.append(row * np.sqrt(len(between)))
    changes_s = np.zeros(camera_count)
    if told:
        equations = np.stack(told)
        later_than_all_s = np.linalg.lstsq(equations[:, :-1], equations[:, -1], rcond=None)[0]
        is_told = equations[:, :-1].any(axis=0)
        faster_s = np.median(later_than_all_s[is_told]) - later_than_all_s
        changes_s = np.where(is_told & (np.abs(faster_s) > _IDLE_S), faster_s, 0.0)
    return changes_s


def _compared(cameras: I64, started_at: F64, delays_s: F64, camera_count: int) -> tuple[I64, I64, F64]:
    """Decisions and those soon before them at other cameras: two cameras, and how much later the first one's came."""
    chosen = _newest(cameras, delays_s, camera_count)
    order = chosen[np.lexsort((cameras[chosen], started_at[chosen] + delays_s[chosen]))]
    apart = range(1, _NEIGHBOURS + 1)
    one = np.concatenate([order[:-steps] for steps in apart])
    other = np.concatenate([order[steps:] for steps in apart])
    is_other = cameras[one] != cameras[other]
    one, other = one[is_other], other[is_other]
    is_low = cameras[one] < cameras[other]
    low, high = np.where(is_low, one, other), np.where(is_low, other, one)
    return cameras[low], cameras[high], delays_s[low] - delays_s[high]


def _newest(cameras: I64, delays_s: F64, camera_count: int) -> I64:
    """Places of the last tracks of each camera whose delay is noted."""
    noted = np.flatnonzero(~np.isnan(delays_s))
    return np.concatenate([noted[cameras[noted] == camera][-_NEWEST:] for camera in range(camera_count)])
