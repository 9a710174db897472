"""A simulated site watched without processes: pictures to tracklets on a virtual clock, each with who it shows."""

from __future__ import annotations

import itertools
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.adapters.simulation.site import SimulatedSite, Visit
from pipeline.adapters.simulation.truth import frame_times, identify, true_boxes
from pipeline.camera.tracklets import TrackletCutter
from pipeline.contracts import CameraId, Detections, Frame, TrackletCrops, Tracks
from pipeline.interfaces import Detector, Tracker
from services.evaluation.market_replay import ReplayedTracklet
from services.evaluation.simulated_run import MIN_VISIBILITY, SimulatedRun
from services.track_log import LoggedFrame, settled

Follower = Callable[[int, Frame], Tracks]  # camera from 0 and its next frame → who is followed there

_BOOT = "b1"
_STAY_ENDS_AFTER_S = 3.0  # as long as a tracker looks for somebody


@dataclass(frozen=True, slots=True)
class Watched:
    """What was seen: `run` knows the truth of each frame."""

    run: SimulatedRun
    frames: list[LoggedFrame]
    tracklets: list[ReplayedTracklet]  # in the order in which they were sent


def watch(
    site: SimulatedSite,
    follow: Follower,
    since_s: float,
    until_s: float,
    fps: float = 5.0,
    progress: Callable[[float], None] | None = None,
) -> Watched:
    """Every camera from `since_s` to `until_s` of the site's clock. `progress` hears shares from 0 to 1."""
    names = [CameraId(f"c{camera + 1}") for camera in range(len(site.views))]
    cutters = [TrackletCutter(name, _BOOT) for name in names]
    votes: defaultdict[tuple[str, int], dict[float, int | None]] = defaultdict(dict)
    frames: list[LoggedFrame] = []
    cut: list[TrackletCrops] = []
    times_s = frame_times(since_s, until_s, fps)
    for index, time_s in enumerate(times_s):
        for camera, name in enumerate(names):
            frame = Frame(name, site.render(camera, time_s), time_s, index)
            tracks = follow(camera, frame)
            frames.append(LoggedFrame(name, _BOOT, time_s, tracks))
            shown = identify(site, camera, time_s, tracks.boxes.astype(np.float64))
            for track_id, person in zip(tracks.track_ids.tolist(), shown, strict=True):
                votes[name, track_id][time_s] = person
            cut += cutters[camera].observe(frame, tracks, time_s)
        if progress:
            progress((index + 1) / len(times_s))
    cut += [piece for cutter in cutters for piece in cutter.finish(until_s)]
    cut.sort(key=lambda piece: (piece.sent_at, piece.tracklet_id))
    run = SimulatedRun(site, {name: (camera, 0.0) for camera, name in enumerate(names)})
    return Watched(run, settled(frames), [ReplayedTracklet(piece, _shown(piece, votes)) for piece in cut])


class CalmSite(SimulatedSite):
    """A `SimulatedSite` whose people come in one of `every` cycles only, so that the pictures are not crowded."""

    def __init__(self, seed: int, cameras: int, people: int, every: int) -> None:
        super().__init__(seed, cameras, people)
        self._every = every

    def _draw_itinerary(self, person_id: int, cycle: int) -> tuple[Visit, ...]:
        return () if (person_id + cycle) % self._every else super()._draw_itinerary(person_id, cycle)


class TrueFollower:
    """`Follower` that makes no mistake: everybody who can be seen, and a stay is a track."""

    def __init__(self, site: SimulatedSite) -> None:
        self._site = site
        self._stays: dict[tuple[int, int], tuple[int, float]] = {}  # (camera, person) → track, when seen last
        self._numbers = itertools.count()

    def __call__(self, camera: int, frame: Frame) -> Tracks:
        boxes = [b for b in true_boxes(self._site, camera, frame.captured_at) if b.visibility >= MIN_VISIBILITY]
        return Tracks(
            np.array([self._track(camera, box.person_id, frame.captured_at) for box in boxes], np.int64),
            np.array([box.box_px for box in boxes], np.float32).reshape(-1, 4),
            np.ones(len(boxes), np.float32),
        )

    def _track(self, camera: int, person: int, now: float) -> int:
        track, seen_at = self._stays.get((camera, person), (-1, -np.inf))
        if now - seen_at > _STAY_ENDS_AFTER_S:
            track = next(self._numbers)
        self._stays[camera, person] = track, now
        return track


class DetectingFollower:
    """`Follower` as a camera worker follows: one detector for all cameras, one tracker for each."""

    def __init__(self, detector: Detector, trackers: Sequence[Tracker]) -> None:
        self._detector = detector
        self._trackers = trackers

    def __call__(self, camera: int, frame: Frame) -> Tracks:
        found: Detections = self._detector.detect([frame])[0]
        return self._trackers[camera].update(found, frame.captured_at, frame.image)


def _shown(piece: TrackletCrops, votes: dict[tuple[str, int], dict[float, int | None]]) -> int | None:
    """Whom most boxes of a tracklet show; None if that is nobody."""
    seen = Counter(
        person
        for time_s, person in votes[piece.camera_id, piece.track_id].items()
        if piece.started_at <= time_s <= piece.ended_at
    )
    return seen.most_common(1)[0][0]
