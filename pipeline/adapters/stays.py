"""Tracklets as the database keeps them, and how the tracklets of one person become the stays of a route. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

from pipeline.contracts import BlobKey, CameraId, GlobalId, TrackletId
from pipeline.kept import Sighting

STAY_GAP_S = 10.0


@dataclass(frozen=True, slots=True)
class StoredCrop:
    """A crop whose blob is known to exist."""

    blob_key: BlobKey
    captured_at: float
    box_px: tuple[float, float, float, float]  # x1, y1, x2, y2 in the frame
    frame_size_px: tuple[int, int]  # width, height
    score: float
    sharpness: float
    visibility: float


@dataclass(frozen=True, slots=True)
class StoredTracklet:
    """A tracklet as far as it has come: `global_id` is None until it is decided, `crops` is empty until archived."""

    tracklet_id: TrackletId
    camera_id: CameraId
    started_at: float
    ended_at: float
    detections: int
    global_id: GlobalId | None
    confidence: float | None
    crops: tuple[StoredCrop, ...]  # best first


class ShownCrop(NamedTuple):
    """Of a `StoredCrop` what a route shows."""

    blob_key: BlobKey
    visible_px: float  # how much of the person it shows, in pixels of the frame


class ShownTracklet(NamedTuple):
    """Of a `StoredTracklet` what a route shows; a search reads hundreds, and tuples are made fast."""

    tracklet_id: TrackletId
    camera_id: CameraId
    started_at: float
    ended_at: float
    crops: list[ShownCrop]  # best first


def stays(tracklets: Iterable[ShownTracklet], gap_s: float = STAY_GAP_S) -> list[Sighting]:
    """The route of one person. Tracklets of one camera less than `gap_s` apart are one stay, even where another
    camera saw the person in between. Stays come in the order of their beginning, their crops best first.
    """
    newest: dict[CameraId, tuple[list[ShownTracklet], float]] = {}  # the stay and its end, at each camera
    found: list[list[ShownTracklet]] = []
    for tracklet in sorted(tracklets, key=lambda tracklet: (tracklet.started_at, tracklet.tracklet_id)):
        stay, ended_at = newest.get(tracklet.camera_id, ([], -float("inf")))
        if tracklet.started_at - ended_at >= gap_s:
            stay = []
            found.append(stay)
        stay.append(tracklet)
        newest[tracklet.camera_id] = (stay, max(ended_at, tracklet.ended_at))
    return [_sighting(stay) for stay in found]


def _sighting(stay: list[ShownTracklet]) -> Sighting:
    # The best of each tracklet before the second of any, so that the first few show different moments.
    ranked = [(rank, crop) for tracklet in stay for rank, crop in enumerate(tracklet.crops)]
    if len(stay) > 1:
        ranked.sort(key=lambda pair: (pair[0], -pair[1].visible_px))
    return Sighting(
        camera_id=stay[0].camera_id,
        started_at=stay[0].started_at,
        ended_at=max([tracklet.ended_at for tracklet in stay]),
        tracklet_ids=tuple([tracklet.tracklet_id for tracklet in stay]),
        crop_keys=tuple(dict.fromkeys([crop.blob_key for _, crop in ranked])),
    )
