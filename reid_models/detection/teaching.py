"""What several teachers say together about the people in one frame; pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.boxes import overlaps
from pipeline.contracts import F32, Detections

_SAME_PERSON_OVERLAP = 0.5


@dataclass(frozen=True, slots=True)
class TeachingConfig:
    """When a box counts. Scores of different teachers are compared, so they should mean about the same."""

    votes: int = 2  # that make a person; a teacher has one, the truth as many as are needed
    sure_score: float = 0.35  # a vote
    doubtful_score: float = 0.15  # less is not even a doubt


def agree(opinions: Sequence[Detections], config: TeachingConfig, truth: F32 | None = None) -> tuple[F32, F32]:
    """The people (K, 4) on whom enough teachers agree, each the mean of their boxes, and the doubtful boxes (M, 4).

    Boxes of different teachers that overlap by half or more are one person; best scores begin. A box of `truth` (T, 4)
    makes a person by itself, but for its shape it is one voice among others: people draw boxes more loosely.
    """
    if truth is not None:
        opinions = [*opinions, Detections(truth, np.full(len(truth), config.sure_score, np.float32))]
    boxes = np.concatenate([opinion.boxes for opinion in opinions])
    scores = np.concatenate([opinion.scores for opinion in opinions])
    teachers = np.repeat(np.arange(len(opinions)), [len(opinion) for opinion in opinions])
    votes = np.ones(len(opinions), np.int64)
    if truth is not None:
        votes[-1] = config.votes
    left = scores >= config.doubtful_score
    overlap = overlaps(boxes, boxes)
    people, doubtful = [], []
    for best in np.argsort(-scores, kind="stable"):
        if not left[best]:
            continue
        together = left & (overlap[best] >= _SAME_PERSON_OVERLAP)
        left &= ~together
        voters = together & (scores >= config.sure_score)
        if votes[np.unique(teachers[voters])].sum() >= config.votes:
            people.append(np.average(boxes[voters], axis=0, weights=scores[voters]))
        else:
            doubtful.append(boxes[best])
    return _stacked(people), _stacked(doubtful)


def _stacked(boxes: Sequence[F32]) -> F32:
    return np.asarray(boxes, np.float32).reshape(-1, 4)
