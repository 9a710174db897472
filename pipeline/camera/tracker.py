"""Follows the persons of one camera: boxes in, tracks out.

Two-stage association by overlap after Zhang et al., "ByteTrack: Multi-Object Tracking by Associating Every Detection
Box" (ECCV 2022): sure boxes first, then unsure ones for tracks that were just seen, because they are mostly people
behind something. Deviations, for fixed cameras that deliver any number of frames per second:

- durations are seconds and prediction takes the time between frames;
- what is left after that is associated by distance, within a reach that grows with the time out of sight;
- a track found again starts at what was seen then, with the speed between the two sightings (observation-centric
  re-update: Cao et al., "Observation-Centric SORT", CVPR 2023, section 4.1);
- a lost person slows down, for nobody walks straight on for long behind an obstacle;
- a track that is told for the first time also tells where it was before (`beginnings`);
- a doubtful box that has never moved is furniture and not told. One who has moved may be as doubtful as a shadow;
- with pictures, to look like somebody else costs as much as to stand elsewhere (`looks`). A track is lost rather than
  given to another person who crosses, or who comes in where it went out: pieces are joined later, a mixture never.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from pipeline.boxes import Boxes, Numbers, overlaps
from pipeline.camera.association import assign, distance_cost, overlap_cost
from pipeline.camera.beginnings import BeginningConfig, Beginnings
from pipeline.camera.kalman import BoxFilters, KalmanConfig
from pipeline.camera.looks import LookConfig, Looks, TrackLooks, describe
from pipeline.contracts import F64, I64, Detections, EarlierBox, Image, Tracks

Cost = Callable[[I64, I64], Numbers]  # of pairing these tracks with these detections

_RECORD = np.dtype(
    [
        ("track_id", np.int64),
        ("hits", np.int64),  # detections so far
        ("seen_at", np.float64),
        ("score", np.float64),  # of the last detection
        ("trust", np.float64),  # running mean of the scores
        ("origin", np.float64, 2),  # centre of the first detection
        ("last", np.float64, 4),  # last detection: centre and size
        ("place", np.int64),  # of its detection in the newest frame, -1: none
        ("is_confirmed", np.bool_),
        ("has_moved", np.bool_),
        ("is_told", np.bool_),
    ]
)


@dataclass(frozen=True, slots=True)
class TrackerConfig:
    """Thresholds of the tracker; where they come from stands in `tests/baselines/pets_tracking.json`."""

    sure_score: float = 0.55  # detections from here on are associated first and with every track
    unsure_score: float = 0.1  # from here on with tracks that were just seen
    new_score: float = 0.6  # from here on a detection may open a track
    max_cost: float = 0.9  # one minus overlap of widened boxes, sure detections
    unsure_max_cost: float = 0.6  # one minus overlap, unsure detections
    margin: float = 0.1  # by which boxes are widened
    reach: float = 0.5  # heights between prediction and detection that need not overlap
    reach_growth: float = 0.6  # heights per second out of sight
    max_reach: float = 1.0
    max_height_change: float = 0.28  # share by which the height may differ then
    max_distance_cost: float = 1.2  # of distance and change of height, each from 0 to 1
    look_cost: float = 0.5  # of looking like somebody else, beside an overlap
    look_cost_apart: float = 1.2  # the same, beside a distance
    just_seen_s: float = 0.35
    lost_s: float = 2.0  # a track not seen for longer has ended
    unconfirmed_s: float = 0.15  # the same, before it is confirmed
    confirming_hits: int = 2
    max_overlap_of_new: float = 0.4  # with a track seen in the same frame: more is a second box on the same person
    restart_after_s: float = 0.4  # out of sight
    slowing_s: float = 2.0  # in which the speed of a lost track falls to 1/e
    trusted_score: float = 0.65  # mean from which a person who stands still is told
    trust_s: float = 1.0  # memory of that mean
    moved_heights: float = 0.5  # from the first detection, so that a track counts as moved
    smoothing: float = 0.5  # share of the filter in the boxes told, the rest is the detection
    kalman: KalmanConfig = field(default_factory=KalmanConfig)
    looks: LookConfig = field(default_factory=LookConfig)
    beginnings: BeginningConfig = field(default_factory=BeginningConfig)


class ByteTracker:
    """Our own tracker, all tracks in arrays; production part of the `Tracker` seam."""

    def __init__(self, config: TrackerConfig | None = None) -> None:
        self._config = config or TrackerConfig()
        self._filters = BoxFilters(self._config.kalman)
        self._looks = TrackLooks(self._config.looks)
        self._beginnings = Beginnings(self._config.beginnings)
        self._tracks = np.zeros(0, _RECORD)  # row by row beside the filters and the looks
        self._next_id = 1
        self._now = -math.inf

    def update(self, detections: Detections, captured_at: float, image: Image | None = None) -> Tracks:
        """Advance to `captured_at` (UTC seconds) and return the tracks seen there, in the order of their birth.

        Without an `image`, looks do not count. The order of the detections does not matter. A frame older than the last
        one counts as taken at the same time.
        """
        config, is_first = self._config, math.isinf(self._now)
        self._predict(captured_at)
        scores = detections.scores.astype(np.float64)
        # One order for one set of boxes, so that equal costs are settled alike however the detector lists them.
        order = np.lexsort((*detections.boxes.T, -scores))
        order = order[scores[order] >= config.unsure_score]
        boxes, scores = detections.boxes[order].astype(np.float64), scores[order]
        sure = np.flatnonzero(scores >= config.sure_score)
        unsure = np.flatnonzero(scores < config.sure_score)
        looks = None if image is None else describe(image, boxes, scores)
        rows, found, free = self._associate(boxes, looks, sure, unsure)
        if looks is not None:
            self._looks.learn(rows, looks[found], self._now - self._tracks["seen_at"][rows])
        self._correct(rows, boxes[found], scores[found])
        self._tracks["place"] = -1
        self._tracks["place"][rows] = found
        new = self._unexplained(boxes, scores, free, found)
        self._open(new, boxes[new], scores[new], None if looks is None else looks[new], is_first)
        self._forget()
        return self._told(boxes, scores)

    def _predict(self, captured_at: float) -> None:
        elapsed_s = max(captured_at - self._now, 0.0) if math.isfinite(self._now) else 0.0
        is_lost = self._tracks["seen_at"] < self._now
        self._filters.speed[is_lost] *= math.exp(-elapsed_s / self._config.slowing_s)
        self._filters.predict(elapsed_s)
        self._now = max(captured_at, self._now)

    def _associate(self, boxes: Boxes, looks: Looks | None, sure: I64, unsure: I64) -> tuple[I64, I64, I64]:
        """Rows of tracks, the detections that they got, and the sure detections that nobody got."""
        config = self._config
        predicted = _corners(self._filters.value)
        is_confirmed = self._tracks["is_confirmed"]
        unseen_s = self._now - self._tracks["seen_at"]
        # After a break of the stream a track may have ended without a frame in which it could be forgotten.
        confirmed = np.flatnonzero(is_confirmed & (unseen_s <= config.lost_s))
        recent = np.flatnonzero(is_confirmed & (unseen_s <= config.just_seen_s))
        unconfirmed = np.flatnonzero(~is_confirmed)
        unlikeness = self._looks.unlikeness(looks, len(boxes))

        def by_overlap(rows: I64, choices: I64) -> Numbers:
            near = overlap_cost(predicted[rows], boxes[choices], config.margin)
            return near + config.look_cost * unlikeness[np.ix_(rows, choices)]

        def by_strict_overlap(rows: I64, choices: I64) -> Numbers:
            near = overlap_cost(predicted[rows], boxes[choices], 0.0)
            return near + config.look_cost * unlikeness[np.ix_(rows, choices)]

        def by_distance(rows: I64, choices: I64) -> Numbers:
            reach = np.minimum(config.reach + config.reach_growth * unseen_s[rows], config.max_reach)
            seen = _centre_and_size(boxes[choices])
            away = distance_cost(self._filters.value[rows], seen, reach, config.max_height_change)
            return away + config.look_cost_apart * unlikeness[np.ix_(rows, choices)]

        stages: list[tuple[I64, I64, Cost, float]] = [
            (confirmed, sure, by_overlap, config.max_cost),
            (recent, unsure, by_strict_overlap, config.unsure_max_cost),
            (unconfirmed, sure, by_overlap, config.max_cost),
            (confirmed, sure, by_distance, config.max_distance_cost),
        ]
        found = np.full(len(self._tracks), -1)
        is_taken = np.zeros(len(boxes), bool)
        for candidates, choices, cost, max_cost in stages:
            rows = candidates[found[candidates] < 0]
            columns = choices[~is_taken[choices]]
            if len(rows) and len(columns):
                left, right = assign(cost(rows, columns), max_cost)
                found[rows[left]] = columns[right]
                is_taken[columns[right]] = True
        matched = np.flatnonzero(found >= 0)
        return matched, found[matched], sure[~is_taken[sure]]

    def _correct(self, rows: I64, boxes: Boxes, scores: F64) -> None:
        config, tracks, filters = self._config, self._tracks, self._filters
        seen = _centre_and_size(boxes)
        unseen_s = self._now - tracks["seen_at"][rows]
        is_back = unseen_s > config.restart_after_s
        back = rows[is_back]
        speed = (seen[is_back] - tracks["last"][back]) / unseen_s[is_back, None]
        filters.restart(back, seen[is_back], speed)
        filters.correct(rows[~is_back], seen[~is_back])
        memory = np.exp(-unseen_s / config.trust_s)
        tracks["trust"][rows] = memory * tracks["trust"][rows] + (1 - memory) * scores
        tracks["hits"][rows] += 1
        tracks["is_confirmed"][rows] |= tracks["hits"][rows] >= config.confirming_hits
        walked = np.abs(filters.value[rows, :2] - tracks["origin"][rows]).max(axis=1, initial=0.0)
        tracks["has_moved"][rows] |= walked > config.moved_heights * filters.value[rows, 3]
        tracks["seen_at"][rows], tracks["score"][rows], tracks["last"][rows] = self._now, scores, seen

    def _unexplained(self, boxes: Boxes, scores: F64, free: I64, found: I64) -> I64:
        """The detections that open a track: sure enough, and no second box on a person who has one."""
        free = free[scores[free] >= self._config.new_score]
        if not len(free) or not len(found):
            return free
        is_apart = overlaps(boxes[free], boxes[found]).max(axis=1) < self._config.max_overlap_of_new
        apart: I64 = free[is_apart]
        return apart

    def _open(self, places: I64, boxes: Boxes, scores: F64, looks: Looks | None, is_first: bool) -> None:
        if not len(boxes):
            return
        seen = _centre_and_size(boxes)
        born = np.zeros(len(boxes), _RECORD)
        born["track_id"] = np.arange(self._next_id, self._next_id + len(boxes))
        born["hits"], born["seen_at"] = 1, self._now
        born["score"] = born["trust"] = scores
        born["origin"], born["last"], born["place"] = seen[:, :2], seen, places
        # Whoever is there when the camera opens has not come out of nothing.
        born["is_confirmed"] = is_first or self._config.confirming_hits <= 1
        self._next_id += len(boxes)
        self._tracks = np.concatenate([self._tracks, born])
        self._filters.append(seen)
        self._looks.append(looks, len(boxes))

    def _forget(self) -> None:
        config, tracks = self._config, self._tracks
        patience_s = np.where(tracks["is_confirmed"], config.lost_s, config.unconfirmed_s)
        alive = np.flatnonzero(self._now - tracks["seen_at"] <= patience_s)
        if len(alive) < len(tracks):
            self._tracks = tracks[alive]
            self._filters.keep(alive)
            self._looks.keep(alive)

    def _told(self, boxes: Boxes, scores: F64) -> Tracks:
        """The tracks to tell of the detections of this frame."""
        tracks = self._tracks
        is_credible = tracks["has_moved"] | (tracks["trust"] >= self._config.trusted_score)
        rows = np.flatnonzero(tracks["is_confirmed"] & is_credible & (tracks["seen_at"] == self._now))
        share = self._config.smoothing
        smooth = _corners((1 - share) * tracks["last"][rows] + share * self._filters.value[rows]).astype(np.float32)
        earlier = [box for row in rows[~tracks["is_told"][rows]].tolist() for box in self._beginning(row)]
        tracks["is_told"][rows] = True
        places = tracks["place"][rows]
        is_left = np.ones(len(boxes), np.bool_)
        is_left[places[places >= 0]] = False
        self._beginnings.note(self._now, boxes[is_left], scores[is_left], smooth)
        return Tracks(tracks["track_id"][rows], smooth, tracks["score"][rows].astype(np.float32), tuple(earlier))

    def _beginning(self, row: int) -> list[EarlierBox]:
        """Where a track was before it is told for the first time."""
        track, speed = self._tracks[row], self._filters.speed[row, :2]
        return self._beginnings.of(int(track["track_id"]), _corners(track["last"][None])[0], speed, self._now)


def _corners(value: F64) -> F64:
    """(N, 4) centre and size → x1, y1, x2, y2."""
    half = value[:, 2:] / 2
    return np.hstack([value[:, :2] - half, value[:, :2] + half])


def _centre_and_size(boxes: Boxes) -> F64:
    """(N, 4) x1, y1, x2, y2 → centre and size."""
    return np.hstack([(boxes[:, :2] + boxes[:, 2:]) / 2, boxes[:, 2:] - boxes[:, :2]]).astype(np.float64)
