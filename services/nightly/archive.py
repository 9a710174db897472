"""What the archive offers a night: who teaches, who judges, and whether that is enough."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np

from pipeline.adapters.stays import StoredTracklet
from pipeline.contracts import BlobKey, TrackletId
from pipeline.decisions import Correction
from pipeline.errors import ConfigurationError
from pipeline.interfaces import Blobs
from reid_models.benchmarks import ScoredEncoder
from reid_models.datasets.sample import cameras_of, identities_of, read_image
from reid_models.datasets.tracklet_export import TrackletExport, write_export
from reid_models.datasets.tracklets import (
    Selection,
    TrackedSamples,
    TrackletDataset,
    TrackletRecord,
    is_held_out,
    read_tracklets,
)
from reid_models.track_scores import TrackedCrops, score_tracks
from services.nightly.corrected_tracks import corrected_tracks
from services.nightly.report import Survey

_CROPS_AT_ONCE = 256
_LEAST_CROPS = 2  # of a track: one alone has nothing to be compared with


class ArchiveStore(Protocol):
    """The database: `SqlStore`, in memory for tests."""

    def archived_tracklets(self, since_at: float, until_at: float) -> list[StoredTracklet]: ...

    def open_corrections(self) -> list[Correction]: ...

    def erased(self, tracklet_ids: Sequence[TrackletId]) -> set[TrackletId]: ...


@dataclass(frozen=True, slots=True)
class NightRules:
    """What of the archive is used, and how much there must be."""

    held_out: float = 0.2  # share of the tracks that judge instead of teaching
    most_held_out_tracks: int = 1000
    least_cameras: int = 2
    least_tracks: int = 20


def offered(store: ArchiveStore, since_at: float, until_at: float, rules: NightRules) -> tuple[TrackletRecord, ...]:
    """The tracklets of the span whose tracks, as people have corrected them, can be used.

    Held-out tracks beyond the limit, the last ones by name, neither judge nor teach.
    """
    archived = store.archived_tracklets(since_at, until_at)
    tracks = corrected_tracks(archived, store.open_corrections())
    records = [_record(tracklet, tracks[tracklet.tracklet_id]) for tracklet in archived]
    crops: dict[str, int] = {}
    for record in records:
        crops[record.track_id] = crops.get(record.track_id, 0) + len(record.crops)
    usable = {track for track, count in crops.items() if count >= _LEAST_CROPS}
    judges = sorted(track for track in usable if is_held_out(track, rules.held_out))
    usable -= set(judges[rules.most_held_out_tracks :])
    return tuple(record for record in records if record.track_id in usable)


def survey(records: Sequence[TrackletRecord], rules: NightRules) -> Survey:
    teaching = [record for record in records if not is_held_out(record.track_id, rules.held_out)]
    tracks = {record.track_id for record in teaching}
    return Survey(
        tracklets=len(records),
        crops=sum(len(record.crops) for record in records),
        cameras=len({record.camera_id for record in teaching}),
        training_tracks=len(tracks),
        held_out_tracks=len({record.track_id for record in records} - tracks),
    )


def too_little(found: Survey, rules: NightRules) -> str | None:
    """Why nothing can be learnt from this, or None."""
    if found.tracklets == 0:
        return "the archive has no track of this span of time: did the cameras and the archiver run?"
    if found.cameras < rules.least_cameras:
        return f"learning across cameras takes {rules.least_cameras} of them; people were seen by {found.cameras}"
    if found.training_tracks < rules.least_tracks:
        return (
            f"{found.training_tracks} tracks are too few to learn from, {rules.least_tracks} are the least; "
            "take more days, or lower nightly.least_tracks"
        )
    return None


def copied(records: Sequence[TrackletRecord], blobs: Blobs, folder: Path, rules: NightRules) -> TrackletDataset:
    """The data set of the night, from a copy in `folder`, which is made the first time.

    The copy makes a night that is gone on with after a kill the same night, whatever the archive has lost since.
    Crops that are gone or damaged are left out.
    """
    if not folder.exists():
        there = [
            replace(record, crops=tuple(key for key in record.crops if _is_whole(blobs, key))) for record in records
        ]
        write_export(folder, [record for record in there if record.crops], lambda key: _content(blobs, key))
    export = TrackletExport(folder)
    now = max((record.ended_at for record in export.records), default=0.0)
    return read_tracklets(export.records, export.read_crop, Selection(held_out=rules.held_out), now)


def judge_tracks(encoder: ScoredEncoder, held_out: TrackedSamples) -> float | None:
    """Mean average precision on held-out tracks, within cameras; None where nobody had somebody else beside him."""
    samples = held_out.samples
    if not samples:
        return None
    parts = [samples[start : start + _CROPS_AT_ONCE] for start in range(0, len(samples), _CROPS_AT_ONCE)]
    vectors = [encoder.embed_images([read_image(sample) for sample in part]).appearance for part in parts]
    crops = TrackedCrops(
        cameras_of(samples), identities_of(samples), held_out.track_started_at, held_out.track_ended_at
    )
    score = score_tracks(np.concatenate(vectors), crops)
    return None if score is None else score.mean_average_precision


def _record(tracklet: StoredTracklet, track_id: str) -> TrackletRecord:
    return TrackletRecord(
        camera_id=tracklet.camera_id,
        track_id=track_id,
        tracklet_id=tracklet.tracklet_id,
        started_at=tracklet.started_at,
        ended_at=tracklet.ended_at,
        crops=tuple(crop.blob_key for crop in tracklet.crops),
    )


def _is_whole(blobs: Blobs, key: str) -> bool:
    content = blobs.get(BlobKey(key))
    return bool(content) and cv2.imdecode(np.frombuffer(content or b"", np.uint8), cv2.IMREAD_COLOR) is not None


def _content(blobs: Blobs, key: str) -> bytes:
    content = blobs.get(BlobKey(key))
    if content is None:
        raise ConfigurationError(f"crop {key} was deleted while the night began; start it again")
    return content
