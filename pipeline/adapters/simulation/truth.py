"""What is true about a simulated site: boxes with identities, tracks, transits; and whose box a detected box is."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from scipy.optimize import linear_sum_assignment

from pipeline.adapters.simulation.site import SimulatedSite
from pipeline.contracts import F64

Box = tuple[float, float, float, float]  # x1, y1, x2, y2 px
MIN_SIDE_PX = 2.0
_GRID = (24, 12)  # points of a box, down and across, that are tested for visibility


@dataclass(frozen=True, slots=True)
class TrueBox:
    """A person in one picture. `box_px` is clipped to the picture; `full_box_px` is not."""

    person_id: int
    box_px: Box
    full_box_px: Box
    visibility: float  # share of the full box that is inside the picture and under no nearer person's box
    heading: float  # radians: pi/2 walks away from the camera, -pi/2 towards it


@dataclass(frozen=True, slots=True)
class TrueTrack:
    """One uninterrupted stay of a person in the picture of one camera; times on the site's clock."""

    person_id: int
    camera: int
    times_s: tuple[float, ...]
    boxes: tuple[TrueBox, ...]


@dataclass(frozen=True, slots=True)
class Transit:
    """A person left one camera and came to the next one."""

    person_id: int
    origin: int
    destination: int
    left_s: float
    arrived_s: float

    @property
    def transit_s(self) -> float:
        return self.arrived_s - self.left_s


def true_boxes(site: SimulatedSite, camera: int, time_s: float) -> list[TrueBox]:
    """Everybody with a part in the picture, from far to near."""
    view = site.views[camera]
    appearances = site.appearances(camera, time_s)
    boxes = [appearance.figure.box for appearance in appearances]
    found = []
    for number, appearance in enumerate(appearances):
        x1, y1, x2, y2 = boxes[number]
        clipped = (max(x1, 0.0), max(y1, 0.0), min(x2, float(view.width_px)), min(y2, float(view.height_px)))
        if clipped[2] - clipped[0] < MIN_SIDE_PX or clipped[3] - clipped[1] < MIN_SIDE_PX:
            continue
        visibility = _visible_share(boxes[number], boxes[number + 1 :], view.width_px, view.height_px)
        found.append(TrueBox(appearance.person.person_id, clipped, boxes[number], visibility, appearance.heading))
    return found


def true_tracks(site: SimulatedSite, since_s: float, until_s: float, fps: float) -> list[TrueTrack]:
    """The stays of all persons in all cameras, sampled on the grid of `fps`, in order of camera, then of time."""
    tracks: list[TrueTrack] = []
    for camera in range(len(site.views)):
        living: dict[int, list[tuple[float, TrueBox]]] = {}
        for time_s in frame_times(since_s, until_s, fps):
            boxes = {box.person_id: box for box in true_boxes(site, camera, time_s)}
            tracks += [_track(camera, living.pop(gone)) for gone in sorted(living.keys() - boxes.keys())]
            for person_id, box in boxes.items():
                living.setdefault(person_id, []).append((time_s, box))
        tracks += [_track(camera, living[person_id]) for person_id in sorted(living)]
    return tracks


def frame_times(since_s: float, until_s: float, fps: float) -> list[float]:
    """The moments k / fps in [since, until): where cameras of that rate take their frames."""
    first, last = (int(np.ceil(round(t * fps, 6))) for t in (since_s, until_s))
    return [number / fps for number in range(first, last)]


def transits(site: SimulatedSite, since_s: float, until_s: float) -> list[Transit]:
    """Every change of camera within the interval, by person and time."""
    walks = sorted(site.visits(since_s, until_s), key=lambda visit: (visit.person_id, visit.started_s))
    return [
        Transit(a.person_id, a.camera, b.camera, a.ended_s, b.started_s)
        for a, b in pairwise(walks)
        if a.person_id == b.person_id
    ]


def identify(site: SimulatedSite, camera: int, time_s: float, boxes: F64, min_iou: float = 0.5) -> list[int | None]:
    """Whose boxes (N, 4) are: one to one by the greatest sum of overlaps, None where it is below `min_iou`."""
    truth = true_boxes(site, camera, time_s)
    found: list[int | None] = [None] * len(boxes)
    if not truth or not len(boxes):
        return found
    overlap = iou(np.asarray(boxes, np.float64), np.array([box.box_px for box in truth]))
    allowed = np.where(overlap >= min_iou, overlap, 0.0)
    for row, column in zip(*linear_sum_assignment(-allowed), strict=True):
        if allowed[row, column] > 0:
            found[int(row)] = truth[int(column)].person_id
    return found


def identify_tracklet(
    site: SimulatedSite, camera: int, sightings: Sequence[tuple[float, Box]], min_iou: float = 0.5
) -> int | None:
    """Whose tracklet it is: the person most of its (time, box) sightings show; None if most show nobody."""
    votes = [identify(site, camera, time_s, np.array([box]), min_iou)[0] for time_s, box in sightings]
    return max(votes, key=lambda vote: (votes.count(vote), vote is not None), default=None)


def iou(a: F64, b: F64) -> F64:
    """(N, 4) and (M, 4) boxes → (N, M) intersection over union."""
    low = np.maximum(a[:, None, :2], b[None, :, :2])
    high = np.minimum(a[:, None, 2:], b[None, :, 2:])
    shared = np.prod(np.clip(high - low, 0, None), axis=2)
    area_a, area_b = (np.prod(boxes[:, 2:] - boxes[:, :2], axis=1) for boxes in (a, b))
    return np.asarray(shared / np.maximum(area_a[:, None] + area_b[None] - shared, 1e-9))


def _visible_share(box: Box, nearer: Iterable[Box], width_px: int, height_px: int) -> float:
    x1, y1, x2, y2 = box
    down, across = _GRID
    x = (x1 + (np.arange(across) + 0.5) * (x2 - x1) / across)[None]
    y = (y1 + (np.arange(down) + 0.5) * (y2 - y1) / down)[:, None]
    seen = (x >= 0) & (x < width_px) & (y >= 0) & (y < height_px)
    for left, top, right, bottom in nearer:
        seen &= ~((x >= left) & (x < right) & (y >= top) & (y < bottom))
    return float(seen.mean())


def _track(camera: int, seen: Sequence[tuple[float, TrueBox]]) -> TrueTrack:
    return TrueTrack(seen[0][1].person_id, camera, tuple(t for t, _ in seen), tuple(box for _, box in seen))
