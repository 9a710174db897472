"""What the archive offers a night: who teaches, who judges, and whether that is enough."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import cv2
import numpy as np

from pipeline.adapters.stays import StoredTracklet
from pipeline.contracts import BlobKey, CameraId, Image, TrackletId
from pipeline.interfaces import Blobs
from reid_models.benchmarks import ScoredEncoder
from reid_models.track_scores import TrackedCrops, TrackScore, score_tracks
from services.nightly.report import Survey

_CROPS_AT_ONCE = 256


class ArchiveStore(Protocol):
    """The database: `SqlStore`, in memory for tests."""

    def archived_tracklets(self, since_at: float, until_at: float) -> list[StoredTracklet]: ...


@dataclass(frozen=True, slots=True)
class TrackletRecord:
    """One tracklet of the archive. `track_id` is unique over the site."""

    camera_id: CameraId
    track_id: str
    tracklet_id: TrackletId
    started_at: float
    ended_at: float
    crops: tuple[BlobKey, ...]  # best first


@dataclass(frozen=True, slots=True)
class Division:
    """Tracks are whole on one side."""

    training: tuple[TrackletRecord, ...]
    held_out: tuple[TrackletRecord, ...]


def records(stored: Sequence[StoredTracklet]) -> tuple[TrackletRecord, ...]:
    return tuple(
        TrackletRecord(
            camera_id=tracklet.camera_id,
            track_id=tracklet.tracklet_id.rpartition("/")[0],
            tracklet_id=tracklet.tracklet_id,
            started_at=tracklet.started_at,
            ended_at=tracklet.ended_at,
            crops=tuple(crop.blob_key for crop in tracklet.crops),
        )
        for tracklet in stored
    )


def divide(tracklets: Sequence[TrackletRecord], held_out: float, most_held_out: int) -> Division:
    """Hold out a share of the tracks, chosen by their names alone, so that the same track is on the same side always.

    At most `most_held_out` of them judge; those beyond neither judge nor teach.
    """
    places = {track: _place(track) for track in {tracklet.track_id for tracklet in tracklets}}
    judges = set(
        sorted((track for track in places if places[track] < held_out), key=places.__getitem__)[:most_held_out]
    )
    return Division(
        tuple(tracklet for tracklet in tracklets if places[tracklet.track_id] >= held_out),
        tuple(tracklet for tracklet in tracklets if tracklet.track_id in judges),
    )


def survey(tracklets: Sequence[TrackletRecord], division: Division) -> Survey:
    return Survey(
        tracklets=len(tracklets),
        crops=sum(len(tracklet.crops) for tracklet in tracklets),
        cameras=len({tracklet.camera_id for tracklet in division.training}),
        training_tracks=len({tracklet.track_id for tracklet in division.training}),
        held_out_tracks=len({tracklet.track_id for tracklet in division.held_out}),
    )


def too_little(found: Survey, least_cameras: int, least_tracks: int) -> str | None:
    """Why nothing can be learnt from this, or None."""
    if found.tracklets == 0:
        return "the archive has no tracklet of this span of time: did the cameras and the archiver run?"
    if found.cameras < least_cameras:
        return f"{found.cameras} camera has seen people, and learning across cameras takes {least_cameras}"
    if found.training_tracks < least_tracks:
        return (
            f"{found.training_tracks} tracks are too few to learn from, {least_tracks} are the least; "
            "take more days, or lower nightly.least_tracks"
        )
    return None


def judge_tracks(encoder: ScoredEncoder, tracklets: Sequence[TrackletRecord], blobs: Blobs) -> TrackScore | None:
    """Score an encoder on held-out tracks; crops that are gone or damaged are left out."""
    vectors, owners = [], []
    for part in _in_parts(tracklets, blobs):
        vectors.append(encoder.embed_images([image for _, image in part]).appearance)
        owners += [tracklet for tracklet, _ in part]
    return score_tracks(np.concatenate(vectors), _tracked(owners, tracklets)) if vectors else None


def read_crop(blobs: Blobs, key: BlobKey) -> Image | None:
    """RGB, or None where the blob is gone or is no picture."""
    content = blobs.get(key)
    pixels = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR) if content else None
    return None if pixels is None else np.asarray(cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB), np.uint8)


def _in_parts(tracklets: Sequence[TrackletRecord], blobs: Blobs) -> Iterator[list[tuple[TrackletRecord, Image]]]:
    part: list[tuple[TrackletRecord, Image]] = []
    for tracklet in tracklets:
        for key in tracklet.crops:
            image = read_crop(blobs, key)
            if image is not None:
                part.append((tracklet, image))
            if len(part) == _CROPS_AT_ONCE:
                yield part
                part = []
    if part:
        yield part


def _tracked(owners: Sequence[TrackletRecord], tracklets: Sequence[TrackletRecord]) -> TrackedCrops:
    spans: dict[str, tuple[float, float]] = {}
    for tracklet in tracklets:
        first, last = spans.get(tracklet.track_id, (tracklet.started_at, tracklet.ended_at))
        spans[tracklet.track_id] = (min(first, tracklet.started_at), max(last, tracklet.ended_at))
    cameras = _numbered([owner.camera_id for owner in owners])
    tracks = _numbered([owner.track_id for owner in owners])
    return TrackedCrops(
        np.array([cameras[owner.camera_id] for owner in owners], np.int64),
        np.array([tracks[owner.track_id] for owner in owners], np.int64),
        np.array([spans[owner.track_id][0] for owner in owners], np.float64),
        np.array([spans[owner.track_id][1] for owner in owners], np.float64),
    )


def _numbered(names: Sequence[str]) -> Mapping[str, int]:
    return {name: number for number, name in enumerate(dict.fromkeys(names))}


def _place(track: str) -> float:
    """From 0 to 1, evenly spread over tracks."""
    return int.from_bytes(hashlib.sha256(track.encode()).digest()[:8], "big") / 2**64
