"""How well a run of the whole system knew who was where, against the truth of a simulated site."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from pipeline.contracts import GlobalId, Tracks
from services.evaluation.tracking import TrackingScore, score_tracking
from services.track_log import LoggedFrame

TruthAt = Callable[[str, float], Tracks]  # (camera, capture time) → who is really there
TrackKey = tuple[str, str, int]  # camera, boot, track

_STAY_ENDS_AFTER_S = 3.0  # as long as a tracker looks for somebody; who returns later is a new track by rights


@dataclass(frozen=True, slots=True)
class SiteScore:
    """Tracking: each stay before each camera by itself. Cross-camera: all frames, one name per person everywhere."""

    tracking: TrackingScore
    cross_camera: TrackingScore


def score_site(frames: Iterable[LoggedFrame], truth_at: TruthAt, identities: Mapping[TrackKey, GlobalId]) -> SiteScore:
    """Score logged frames.

    Cross-camera IDF1 follows Ristani et al. (2016): boxes of all cameras together, true persons against global
    identities. A track without an identity, or with that of another box of the frame, counts as a person of its own.
    """
    truth: dict[int, Tracks] = {}
    stays: dict[int, Tracks] = {}
    as_tracks: dict[int, Tracks] = {}
    as_people: dict[int, Tracks] = {}
    stay_of: dict[tuple[str, int], tuple[int, float]] = {}  # (camera, person) → number of the stay, last seen at
    names: dict[tuple[str, ...] | TrackKey, int] = {}
    numbers = itertools.count()

    for number, frame in enumerate(sorted(frames, key=lambda f: (f.captured_at, f.camera_id)), 1):
        true = truth[number] = truth_at(frame.camera_id, frame.captured_at)
        for person in true.track_ids.tolist():
            stay, seen_at = stay_of.get((frame.camera_id, person), (0, -math.inf))
            is_new = frame.captured_at - seen_at > _STAY_ENDS_AFTER_S
            stay_of[frame.camera_id, person] = (next(numbers) if is_new else stay, frame.captured_at)
        stays[number] = _renamed(true, [stay_of[frame.camera_id, person][0] for person in true.track_ids.tolist()])
        keys: list[TrackKey] = [(frame.camera_id, frame.boot_id, int(track)) for track in frame.tracks.track_ids]
        as_tracks[number] = _renamed(frame.tracks, [names.setdefault(key, len(names)) for key in keys])
        people: list[tuple[str, ...] | TrackKey] = []
        for key in keys:
            person = (f"person {identities[key]}",) if key in identities else key
            people.append(key if person in people else person)
        as_people[number] = _renamed(frame.tracks, [names.setdefault(person, len(names)) for person in people])
    return SiteScore(score_tracking(stays, as_tracks), score_tracking(truth, as_people))


def _renamed(tracks: Tracks, track_ids: object) -> Tracks:
    return Tracks(np.asarray(track_ids, np.int64).reshape(-1), tracks.boxes, tracks.scores)
