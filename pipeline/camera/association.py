"""Who is who between two frames: costs of pairs, and the cheapest one-to-one assignment."""

from __future__ import annotations

import math

import lap
import numpy as np

from pipeline.camera.boxes import Boxes, Numbers, overlaps
from pipeline.contracts import F64, I64

_NOBODY: I64 = np.zeros(0, np.int64)


def assign(cost: Numbers, limit: float) -> tuple[I64, I64]:
    """The cheapest one-to-one assignment of rows to columns of `cost` (N, M), when staying alone costs half of `limit`.

    Returns matched rows and columns; no pair costs `limit` or more.
    """
    if not cost.size:
        return _NOBODY, _NOBODY
    possible = cost < limit
    # A pair with no other possible partner on either side is decided. Of walking people most pairs are like that, and
    # what the solver gets, whose time grows with the cube, is a few small crowds. The result is the same.
    partners = possible.sum(axis=1)
    rivals = possible.sum(axis=0)
    column_of = possible.argmax(axis=1)
    rows = np.flatnonzero(partners == 1)
    rows = rows[rivals[column_of[rows]] == 1]
    columns = column_of[rows]
    crowd_rows = np.setdiff1d(np.flatnonzero(partners), rows, assume_unique=True)
    if not len(crowd_rows):
        return rows, columns
    crowd_columns = np.setdiff1d(np.flatnonzero(rivals), columns, assume_unique=True)
    _, chosen, _ = lap.lapjv(cost[np.ix_(crowd_rows, crowd_columns)], extend_cost=True, cost_limit=limit)
    matched = np.flatnonzero(chosen >= 0)
    return np.concatenate([rows, crowd_rows[matched]]), np.concatenate([columns, crowd_columns[chosen[matched]]])


def widened(boxes: Boxes, share: float) -> Boxes:
    """Boxes (N, 4) grown on every side by `share` of their width and height."""
    margin = (boxes[:, 2:] - boxes[:, :2]) * share
    return np.hstack([boxes[:, :2] - margin, boxes[:, 2:] + margin])


def overlap_cost(predicted: Boxes, seen: Boxes, margin: float) -> Numbers:
    """(N, M) one minus the overlap of boxes grown by `margin`, so that near misses compare too.

    Source of the margin: Yang et al., "Hard to Track Objects with Irregular Motions and Similar Appearances? Make It
    Easier by Buffering the Matching Space", WACV 2023, section 3.2.
    """
    if margin:
        predicted, seen = widened(predicted, margin), widened(seen, margin)
    return 1 - overlaps(predicted, seen)


def distance_cost(predicted: F64, seen: F64, reach: F64, max_height_change: float) -> Numbers:
    """(N, M) how far apart centres are, where boxes (N, 4), (M, 4: centre and size) need not overlap; inf out of reach.

    Distance is measured in `reach` (N,) heights, and the change of height, as a ratio, in `max_height_change`; each is
    from 0 to 1, and the cost their sum.
    """
    unit = np.sqrt(predicted[:, None, 3] * seen[:, 3]) * reach[:, None]
    away = np.hypot(predicted[:, None, 0] - seen[:, 0], predicted[:, None, 1] - seen[:, 1]) / unit
    change = np.abs(np.log(predicted[:, None, 3] / seen[:, 3])) / math.log1p(max_height_change)
    return np.where((away <= 1) & (change <= 1), away + change, np.inf)
