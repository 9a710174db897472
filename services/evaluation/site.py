"""How well a run of the whole system knew who was where, against the truth of a simulated site."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from pipeline.contracts import GlobalId, Tracks
from services.evaluation.tracking import TrackingScore, score_tracking
from services.track_log import LoggedFrame

TruthAt = Callable[[str, float], Tracks]  # (camera, capture time) → who is really there
TrackKey = tuple[str, str, int]  # camera, boot, track

_CAMERAS_AT_MOST = 1000


@dataclass(frozen=True, slots=True)
class SiteScore:
    """Tracking: each camera by itself. Cross-camera: all frames of all cameras, one name per person everywhere."""

    tracking: TrackingScore
    cross_camera: TrackingScore


def score_site(frames: Iterable[LoggedFrame], truth_at: TruthAt, identities: Mapping[TrackKey, GlobalId]) -> SiteScore:
    """Score logged frames.

    Cross-camera IDF1 follows Ristani et al. (2016): boxes of all cameras together, true persons against global
    identities. A track without an identity, or with that of another box of the frame, counts as a person of its own.
    """
    truth: dict[int, Tracks] = {}
    truth_by_camera: dict[int, Tracks] = {}
    as_tracks: dict[int, Tracks] = {}
    as_people: dict[int, Tracks] = {}
    cameras: dict[str, int] = {}
    names: dict[tuple[str, ...] | TrackKey, int] = {}

    for number, frame in enumerate(sorted(frames, key=lambda f: (f.captured_at, f.camera_id)), 1):
        camera = cameras.setdefault(frame.camera_id, len(cameras))
        true = truth[number] = truth_at(frame.camera_id, frame.captured_at)
        # The same person before two cameras is two persons for the tracker, which knows one camera only.
        truth_by_camera[number] = _renamed(true, true.track_ids * _CAMERAS_AT_MOST + camera)
        keys: list[TrackKey] = [(frame.camera_id, frame.boot_id, int(track)) for track in frame.tracks.track_ids]
        as_tracks[number] = _renamed(frame.tracks, [names.setdefault(key, len(names)) for key in keys])
        people: list[tuple[str, ...] | TrackKey] = []
        for key in keys:
            person = (f"person {identities[key]}",) if key in identities else key
            people.append(key if person in people else person)
        as_people[number] = _renamed(frame.tracks, [names.setdefault(person, len(names)) for person in people])
    return SiteScore(score_tracking(truth_by_camera, as_tracks), score_tracking(truth, as_people))


def _renamed(tracks: Tracks, track_ids: object) -> Tracks:
    return Tracks(np.asarray(track_ids, np.int64).reshape(-1), tracks.boxes, tracks.scores)
