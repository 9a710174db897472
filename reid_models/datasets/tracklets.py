"""Our own archive as a data set: a track is an identity within its camera, and nothing is known across cameras.

The archive holds tracklets, the pieces of tracks; `camera/boot/track/sequence` names a piece, and what stands before
the last slash names its track. Pieces of one track belong together, even if only some of them are chosen.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipeline.errors import ConfigurationError
from reid_models.datasets.sample import I64, ImageSample

F64 = npt.NDArray[np.float64]
ReadCrop = Callable[[str], bytes]  # the JPEG of a key

_DAY_S = 24 * 3600.0


@dataclass(frozen=True, slots=True)
class TrackletRecord:
    """One row of the archive."""

    camera_id: str
    track_id: str  # unique over the site: `camera/boot/track`, or another name where people have corrected it
    tracklet_id: str
    started_at: float  # UTC seconds
    ended_at: float
    crops: tuple[str, ...]  # keys, best first


@dataclass(frozen=True, slots=True)
class Selection:
    """Which tracklets become training data."""

    last_days: float = math.inf  # pieces that ended earlier than this many days before `now` are left out
    camera_ids: tuple[str, ...] = ()  # none named: all
    least_crops: int = 2  # of a track; a single crop has nothing to be compared with
    held_out: float = 0.0  # share of the tracks that are kept for validation, chosen by their names alone


@dataclass(frozen=True, slots=True, eq=False)
class TrackedSamples:
    """Crops with the label of their track, counted from 1 over all cameras. Columns are (N,), one row per crop."""

    samples: tuple[ImageSample, ...]  # ordered by camera, track, piece and rank
    pieces: I64  # which tracklet a crop comes from, counted from 0
    # Of the whole track as it was followed, as far as it was chosen; overlapping tracks are different people.
    track_started_at: F64
    track_ended_at: F64


@dataclass(frozen=True, slots=True)
class TrackletDataset:
    """Tracks are whole on one side, and labels are unique over both sides."""

    train: TrackedSamples
    held_out: TrackedSamples
    camera_ids: tuple[str, ...]  # the name of each camera number


class CropArchive:
    """An `ImageArchive` over crops that are read by key."""

    def __init__(self, keys: Sequence[str], read_crop: ReadCrop, address: str = "the tracklet archive") -> None:
        self._keys = keys
        self._read_crop = read_crop
        self._address = address

    @property
    def address(self) -> str:
        return self._address

    def names(self) -> list[str]:
        return sorted(self._keys)

    def read(self, name: str) -> bytes:
        return self._read_crop(name)


def read_tracklets(
    records: Sequence[TrackletRecord], read_crop: ReadCrop, selection: Selection, now: float
) -> TrackletDataset:
    """The chosen tracks, divided; the same records give the same numbers in whatever order they come.

    Raises `ConfigurationError`, with the reason, for an unknown camera, contradicting records, and if nobody is left.
    """
    if not 0.0 <= selection.held_out < 1.0:
        raise ConfigurationError(f"a share of {selection.held_out} is held out; expected at least 0 and less than 1")
    by_track = _tracks(records, selection, now)
    camera_ids = tuple(sorted({pieces[0].camera_id for pieces in by_track.values()}))
    archive = CropArchive([key for pieces in by_track.values() for piece in pieces for key in piece.crops], read_crop)
    train, held_out = _Columns(), _Columns()
    for identity, (track_id, pieces) in enumerate(by_track.items(), start=1):
        side = held_out if is_held_out(track_id, selection.held_out) else train
        side.add(archive, pieces, identity, camera_ids.index(pieces[0].camera_id))
    return TrackletDataset(train.samples(), held_out.samples(), camera_ids)


def is_held_out(track_id: str, share: float) -> bool:
    """Decided by the name alone, so that a track is on the same side in every run."""
    return int.from_bytes(hashlib.sha256(track_id.encode()).digest()[:8], "big") / 2**64 < share


class _Columns:
    """The growing columns of one side."""

    def __init__(self) -> None:
        self._samples: list[ImageSample] = []
        self._pieces: list[int] = []
        self._spans: list[tuple[float, float]] = []
        self._count = 0

    def add(self, archive: CropArchive, pieces: Sequence[TrackletRecord], identity: int, camera: int) -> None:
        # Somebody who came back was away in between, so each followed track has its own span.
        spans: dict[str, tuple[float, float]] = {}
        for piece in pieces:
            first, last = spans.get(_followed(piece), (math.inf, -math.inf))
            spans[_followed(piece)] = min(first, piece.started_at), max(last, piece.ended_at)
        for piece in pieces:
            self._samples.extend(ImageSample(archive, key, identity, camera) for key in piece.crops)
            self._pieces.extend([self._count] * len(piece.crops))
            self._spans.extend([spans[_followed(piece)]] * len(piece.crops))
            self._count += 1

    def samples(self) -> TrackedSamples:
        spans = np.array(self._spans, np.float64).reshape(-1, 2)
        return TrackedSamples(tuple(self._samples), np.array(self._pieces, np.int64), spans[:, 0], spans[:, 1])


def _followed(piece: TrackletRecord) -> str:
    return piece.tracklet_id.rpartition("/")[0]


def _tracks(records: Sequence[TrackletRecord], selection: Selection, now: float) -> dict[str, list[TrackletRecord]]:
    """The pieces of each chosen track in time order; tracks by camera and name."""
    unknown = sorted(set(selection.camera_ids) - {record.camera_id for record in records})
    if unknown and records:
        known = ", ".join(sorted({record.camera_id for record in records}))
        raise ConfigurationError(f"the archive has nothing of camera {unknown[0]!r}; the cameras in it: {known}")
    lately = [record for record in records if record.ended_at >= now - selection.last_days * _DAY_S]
    chosen = [record for record in lately if not selection.camera_ids or record.camera_id in selection.camera_ids]
    by_track: dict[str, list[TrackletRecord]] = {}
    for record in sorted(chosen, key=lambda one: (one.camera_id, one.track_id, one.started_at, one.tracklet_id)):
        pieces = by_track.setdefault(record.track_id, [])
        if pieces and (pieces[0].camera_id != record.camera_id or pieces[-1].tracklet_id == record.tracklet_id):
            raise ConfigurationError(
                f"tracklets {pieces[-1].tracklet_id} and {record.tracklet_id} of track {record.track_id} contradict "
                "one another; expected each tracklet once, and a track in one camera"
            )
        pieces.append(record)
    long_enough = {
        track_id: pieces
        for track_id, pieces in by_track.items()
        if sum(len(piece.crops) for piece in pieces) >= selection.least_crops
    }
    if not long_enough:
        raise ConfigurationError(
            f"none of {len(records)} tracklets is left: {len(lately)} ended within {selection.last_days:g} days, "
            f"{len(chosen)} of them at the chosen cameras, in {len(by_track)} tracks, none with "
            f"{selection.least_crops} crops or more; take more days or cameras, or wait until people have passed"
        )
    silent = sorted(set(selection.camera_ids) - {pieces[0].camera_id for pieces in long_enough.values()})
    if silent:
        raise ConfigurationError(
            f"camera {silent[0]!r} has no track with {selection.least_crops} crops or more within "
            f"{selection.last_days:g} days; leave it out, or take more days"
        )
    return long_enough
