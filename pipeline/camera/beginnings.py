"""Where a track began: boxes that nobody was told of, followed back from where it is told.

A tracker waits until it is sure, and whoever comes in is at first a doubtful part of a person at the border of the
picture. Once he is followed, what he was before is plain: those boxes are told then, with the times of their frames.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import numpy as np

from pipeline.boxes import Boxes, overlaps
from pipeline.contracts import F64, EarlierBox


@dataclass(frozen=True, slots=True)
class BeginningConfig:
    """How far back, and what counts as the same person."""

    memory_s: float = 1.0
    min_overlap: float = 0.3  # with where the person must have been
    longest_gap_s: float = 0.35  # between two boxes
    max_overlap_of_free: float = 0.4  # with a track that is told in the same frame: more is a second box on its person


@dataclass(slots=True)
class _Moment:
    """The boxes of one frame that no track was told with."""

    captured_at: float
    boxes: Boxes  # (N, 4) px
    scores: F64
    is_free: list[bool]


class Beginnings:
    """What one camera's tracker has not told in the last moments."""

    def __init__(self, config: BeginningConfig) -> None:
        self._config = config
        self._moments: deque[_Moment] = deque()

    def note(self, captured_at: float, boxes: Boxes, scores: F64, told: Boxes) -> None:
        """Boxes (N, 4) of the newest frame that are no track's that is told with it, and the boxes `told`."""
        while self._moments and captured_at - self._moments[0].captured_at > self._config.memory_s:
            self._moments.popleft()
        if len(boxes) and len(told):
            free = overlaps(boxes, told.astype(np.float64)).max(axis=1) < self._config.max_overlap_of_free
            boxes, scores = boxes[free], scores[free]
        if len(boxes):
            self._moments.append(_Moment(captured_at, boxes, scores, [True] * len(boxes)))

    def of(self, track_id: int, box: Boxes, speed: F64, captured_at: float) -> list[EarlierBox]:
        """The earlier boxes of a track that is at `box` (4,) at `captured_at` and moves at `speed` (2,) px per second,
        the latest first. No other track gets them after that."""
        found: list[EarlierBox] = []
        oldest_at = captured_at - self._config.memory_s
        for moment in reversed(self._moments):
            gap_s = captured_at - moment.captured_at
            if gap_s > self._config.longest_gap_s or moment.captured_at < oldest_at:
                break
            was_at = box - gap_s * np.tile(speed, 2)
            shared = overlaps(was_at[None], moment.boxes)[0] * moment.is_free * (gap_s > 0)
            place = int(shared.argmax())
            if shared[place] >= self._config.min_overlap:
                moment.is_free[place] = False
                box, captured_at = moment.boxes[place], moment.captured_at
                found.append(EarlierBox(captured_at, track_id, box.astype(np.float32), float(moment.scores[place])))
        return found
