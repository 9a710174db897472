"""What the `Store` keeps and gives back, as values."""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.contracts import F16, F32, F64, I64, BlobKey, CameraId, TrackletId


@dataclass(frozen=True, slots=True)
class GalleryRows:
    """A slab of assigned tracklets as columns, oldest first."""

    tracklet_ids: list[TrackletId]
    global_ids: I64  # (N,)
    camera_ids: list[CameraId]
    boot_ids: list[str]
    track_ids: I64  # (N,)
    started_at: F64  # (N,)
    ended_at: F64  # (N,)
    newness: F64  # (N,) how probably the person had never been seen before, when it was decided
    likeliest: F64  # (N,) how probably she was the likeliest of those seen before
    decided_at: F64  # (N,) by the matcher's clock; NaN where nobody noted it
    vectors: F16 | F32  # (N, D): appearance or language, as asked for

    def some(self, places: I64) -> GalleryRows:
        """Those at these places."""
        chosen = places.tolist()
        return GalleryRows(
            tracklet_ids=[self.tracklet_ids[place] for place in chosen],
            global_ids=self.global_ids[places],
            camera_ids=[self.camera_ids[place] for place in chosen],
            boot_ids=[self.boot_ids[place] for place in chosen],
            track_ids=self.track_ids[places],
            started_at=self.started_at[places],
            ended_at=self.ended_at[places],
            newness=self.newness[places],
            likeliest=self.likeliest[places],
            decided_at=self.decided_at[places],
            vectors=self.vectors[places],
        )


@dataclass(frozen=True, slots=True)
class Thoughts:
    """What `GalleryRows` tell of decisions, and when they were made."""

    newness: F64  # (N,)
    likeliest: F64  # (N,)
    decided_at: F64  # (N,)


@dataclass(frozen=True, slots=True)
class Sighting:
    """One stay of a person before one camera; a route is a list of them in time order."""

    camera_id: CameraId
    started_at: float
    ended_at: float
    tracklet_ids: tuple[TrackletId, ...]
    crop_keys: tuple[BlobKey, ...]  # best first


@dataclass(frozen=True, slots=True)
class ModelSwitch:
    """One change of the serving model; `number` counts them from 1, and the last one serves."""

    number: int
    model_digest: str
    switched_at: float
    reason: str


@dataclass(frozen=True, slots=True)
class KeptCalibration:
    """What a site has taught the matcher about one model's vectors and about its people's ways; see `Calibration`."""

    number: int  # from 1
    learnt_at: float  # UTC seconds
    content: bytes  # `Calibration.packed`


@dataclass(frozen=True, slots=True)
class Coverage:
    """How much of the archive has a vector of one model: of `expected` tracklets, `covered` ones."""

    covered: int
    expected: int  # archived tracklets with an identity, but for those that `failed`
    failed: int  # of which the model gives no vector, whatever is tried

    @property
    def share(self) -> float:
        return self.covered / self.expected if self.expected else 1.0


@dataclass(frozen=True, slots=True)
class Position:
    """A place in the archive, which is walked by the ends of tracklets."""

    ended_at: float
    tracklet_id: TrackletId


@dataclass(frozen=True, slots=True)
class FailedEmbedding:
    """A tracklet of which a model gives no vector, and why."""

    tracklet_id: TrackletId
    model_digest: str
    reason: str
