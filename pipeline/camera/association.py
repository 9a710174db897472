"""Who is who between two frames: costs of pairs, and the cheapest one-to-one assignment."""

from __future__ import annotations

import math

import lap
import numpy as np

from pipeline.boxes import Boxes, Numbers, overlaps
from pipeline.contracts import F64, I64


def assign(cost: Numbers, limit: float) -> tuple[I64, I64]:
    """The cheapest one-to-one assignment of rows to columns of `cost` (N, M), when staying alone costs half of `limit`.

    Returns matched rows and columns; no pair costs `limit` or more.
    """
    rows, columns = np.nonzero(cost < limit)
    partners = np.bincount(rows, minlength=cost.shape[0])
    rivals = np.bincount(columns, minlength=cost.shape[1])
    # A pair with no other possible partner on either side is decided. Of walking people most pairs are like that, and
    # what the solver gets, whose time grows with the cube, is a few small crowds. The result is the same.
    is_decided = (partners[rows] == 1) & (rivals[columns] == 1)
    decided_rows, decided_columns = rows[is_decided], columns[is_decided]
    if is_decided.all():
        return decided_rows, decided_columns
    partners[decided_rows] = rivals[decided_columns] = 0
    crowd_rows, crowd_columns = np.flatnonzero(partners), np.flatnonzero(rivals)
    _, chosen, _ = lap.lapjv(cost[crowd_rows][:, crowd_columns], extend_cost=True, cost_limit=limit)
    matched = np.flatnonzero(chosen >= 0)
    return (
        np.concatenate([decided_rows, crowd_rows[matched]]),
        np.concatenate([decided_columns, crowd_columns[chosen[matched]]]),
    )


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
