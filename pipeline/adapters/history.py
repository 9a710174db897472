"""What the database answers to questions: identities, routes, tracklets, events, cameras. Nothing here writes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Row, Select, and_, exists, func, select

from pipeline.adapters.database import Database, in_parts
from pipeline.adapters.schema import cameras, crops, identities, identity_events, tracklets
from pipeline.contracts import BlobKey, CameraId, GlobalId, IdentityEvent, TrackletId
from pipeline.interfaces import Sighting

STAY_GAP_S = 10.0


@dataclass(frozen=True, slots=True)
class IdentitySummary:
    """One person as a list shows them."""

    global_id: GlobalId
    opened_at: float
    first_seen_at: float
    last_seen_at: float
    tracklets: int
    camera_ids: tuple[CameraId, ...]  # in the order of the first visit


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


@dataclass(frozen=True, slots=True)
class StoredCamera:
    """A camera that was seen at some time."""

    camera_id: CameraId
    address: str  # without credentials
    added_at: float


@dataclass(frozen=True, slots=True)
class Seen:
    """Which sightings count: at these cameras (none named: all), and overlapping this span of time (UTC seconds)."""

    camera_ids: tuple[str, ...] = ()
    since_at: float | None = None
    until_at: float | None = None


EVERYTHING = Seen()


class History:
    """Questions to the database. Each one sees a single consistent moment."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def route(self, global_id: GlobalId) -> list[Sighting]:
        """Where a person was, in time order; empty for an unknown one."""
        return self.routes([global_id])[global_id]

    def routes(self, global_ids: Sequence[GlobalId]) -> dict[GlobalId, list[Sighting]]:
        """The routes of many, in two queries."""
        found: dict[GlobalId, list[StoredTracklet]] = {global_id: [] for global_id in global_ids}
        chosen = [tracklets.c.global_id.in_(part) for part in in_parts(global_ids)]
        with self._database.reading() as connection:
            for condition in chosen:
                rows = connection.execute(select(tracklets).where(condition)).all()
                of_tracklet = crops.c.tracklet_id == tracklets.c.tracklet_id
                kept = connection.execute(select(crops).join(tracklets, of_tracklet).where(condition)).all()
                for tracklet in _stored_tracklets(rows, kept):
                    assert tracklet.global_id is not None
                    found[tracklet.global_id].append(tracklet)
        return {global_id: stays(pieces) for global_id, pieces in found.items()}

    def tracklets(self, tracklet_ids: Sequence[TrackletId]) -> dict[TrackletId, StoredTracklet]:
        """Details of those that are known."""
        found: dict[TrackletId, StoredTracklet] = {}
        with self._database.reading() as connection:
            for part in in_parts(tracklet_ids):
                rows = connection.execute(select(tracklets).where(tracklets.c.tracklet_id.in_(part))).all()
                kept = connection.execute(select(crops).where(crops.c.tracklet_id.in_(part))).all()
                found |= {tracklet.tracklet_id: tracklet for tracklet in _stored_tracklets(rows, kept)}
        return found

    def identities(self, global_ids: Sequence[GlobalId]) -> dict[GlobalId, IdentitySummary]:
        """Summaries of those that are known."""
        found: list[IdentitySummary] = []
        for part in in_parts(global_ids):
            found += self._summaries(select(identities).where(identities.c.global_id.in_(part)))
        return {summary.global_id: summary for summary in found}

    def recent_identities(self, limit: int, seen: Seen = EVERYTHING) -> list[IdentitySummary]:
        """Those with a sighting as asked for, the last seen first."""
        query = select(identities).order_by(identities.c.last_seen_at.desc(), identities.c.global_id.desc())
        conditions = _conditions(seen)
        if conditions:
            query = query.where(exists().where(tracklets.c.global_id == identities.c.global_id, *conditions))
        return self._summaries(query.limit(limit))

    def events_after(self, event_id: int, limit: int) -> list[IdentityEvent]:
        """What was decided after event number `event_id`, in order. Following the numbers misses nothing."""
        query = select(identity_events).where(identity_events.c.event_id > event_id)
        with self._database.reading() as connection:
            rows = connection.execute(query.order_by(identity_events.c.event_id).limit(limit)).all()
        return [IdentityEvent.model_validate(row._asdict()) for row in rows]

    def cameras(self) -> list[StoredCamera]:
        with self._database.reading() as connection:
            rows = connection.execute(select(cameras).order_by(cameras.c.camera_id)).all()
        return [StoredCamera(CameraId(row.camera_id), row.address, row.added_at) for row in rows]

    def _summaries(self, query: Select[Any]) -> list[IdentitySummary]:
        with self._database.reading() as connection:
            rows = connection.execute(query).all()
            visits: dict[int, list[CameraId]] = {row.global_id: [] for row in rows}
            for part in in_parts(list(visits)):
                first = func.min(tracklets.c.started_at)
                by_camera = (
                    select(tracklets.c.global_id, tracklets.c.camera_id)
                    .where(tracklets.c.global_id.in_(part))
                    .group_by(tracklets.c.global_id, tracklets.c.camera_id)
                    .order_by(first, tracklets.c.camera_id)
                )
                for global_id, camera_id in connection.execute(by_camera):
                    visits[global_id].append(camera_id)
        return [
            IdentitySummary(
                GlobalId(row.global_id),
                row.opened_at,
                row.first_seen_at,
                row.last_seen_at,
                row.tracklets,
                tuple(visits[row.global_id]),
            )
            for row in rows
        ]


def stays(pieces: Iterable[StoredTracklet], gap_s: float = STAY_GAP_S) -> list[Sighting]:
    """Tracklets of one person as stays: those of one camera less than `gap_s` apart are one, even where another
    camera saw the person in between. Stays come in the order of their beginning, their crops best first.
    """
    open_stays: dict[CameraId, list[StoredTracklet]] = {}
    closed: list[list[StoredTracklet]] = []
    for piece in sorted(pieces, key=lambda piece: (piece.started_at, piece.tracklet_id)):
        stay = open_stays.get(piece.camera_id)
        if stay is not None and piece.started_at - max(other.ended_at for other in stay[-8:]) < gap_s:
            stay.append(piece)
        else:
            open_stays[piece.camera_id] = stay = [piece]
            closed.append(stay)
    return [_sighting(stay) for stay in closed]


def _sighting(stay: list[StoredTracklet]) -> Sighting:
    ranked = [(rank, crop) for piece in stay for rank, crop in enumerate(piece.crops)]
    ranked.sort(key=lambda pair: (pair[0], -_visible_px(pair[1])))
    return Sighting(
        camera_id=stay[0].camera_id,
        started_at=stay[0].started_at,
        ended_at=max(piece.ended_at for piece in stay),
        tracklet_ids=tuple(piece.tracklet_id for piece in stay),
        crop_keys=tuple(dict.fromkeys(crop.blob_key for _, crop in ranked)),
    )


def _visible_px(crop: StoredCrop) -> float:
    x1, y1, x2, y2 = crop.box_px
    return (x2 - x1) * (y2 - y1) * crop.visibility


def _conditions(seen: Seen) -> list[Any]:
    conditions: list[Any] = []
    if seen.camera_ids:
        conditions.append(tracklets.c.camera_id.in_(seen.camera_ids))
    if seen.since_at is not None:
        conditions.append(tracklets.c.ended_at >= seen.since_at)
    if seen.until_at is not None:
        conditions.append(tracklets.c.started_at <= seen.until_at)
    return [and_(*conditions)] if conditions else []


def _stored_tracklets(rows: Iterable[Row[Any]], crop_rows: Iterable[Row[Any]]) -> list[StoredTracklet]:
    of: dict[str, list[tuple[int, StoredCrop]]] = {}
    for row in crop_rows:
        crop = StoredCrop(
            blob_key=BlobKey(row.blob_key),
            captured_at=row.captured_at,
            box_px=(row.x1_px, row.y1_px, row.x2_px, row.y2_px),
            frame_size_px=(row.frame_width_px, row.frame_height_px),
            score=row.score,
            sharpness=row.sharpness,
            visibility=row.visibility,
        )
        of.setdefault(row.tracklet_id, []).append((row.rank, crop))
    return [
        StoredTracklet(
            tracklet_id=TrackletId(row.tracklet_id),
            camera_id=CameraId(row.camera_id),
            started_at=row.started_at,
            ended_at=row.ended_at,
            detections=row.detections,
            global_id=row.global_id,
            confidence=row.confidence,
            crops=tuple(crop for _, crop in sorted(of.get(row.tracklet_id, []), key=lambda pair: pair[0])),
        )
        for row in rows
    ]
