"""What the database answers to questions: identities, routes, tracklets, events, cameras. Nothing here writes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import (
    BindParameter,
    ColumnElement,
    Connection,
    Integer,
    Row,
    RowMapping,
    Select,
    and_,
    bindparam,
    exists,
    func,
    literal_column,
    select,
)

from pipeline.adapters.database import Database, in_parts
from pipeline.adapters.schema import cameras, crops, identities, identity_events, tracklets
from pipeline.adapters.stays import ShownCrop, ShownTracklet, StoredCrop, StoredTracklet, stays
from pipeline.contracts import BlobKey, CameraId, GlobalId, IdentityEvent, IdentityEventKind, TrackletId
from pipeline.kept import Sighting


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
class StoredCamera:
    """A camera that was seen at some time."""

    camera_id: CameraId
    address: str  # without credentials
    added_at: float


@dataclass(frozen=True, slots=True)
class Counts:
    """Tracklets with an identity, and identities."""

    tracklets: int
    identities: int


@dataclass(frozen=True, slots=True)
class Seen:
    """Which sightings count: at these cameras (none named: all), and overlapping this span of time (UTC seconds)."""

    camera_ids: tuple[str, ...] = ()
    since_at: float | None = None
    until_at: float | None = None


EVERYTHING = Seen()

_IS_SOMEBODY = identities.c.merged_into.is_(None)  # and not a number that lives on as another one
EVENT = tuple(identity_events.c[name] for name in IdentityEvent.model_fields)
# These are asked with every question, and built once: to put a statement together takes longer than to run it.
_NUMBERED: BindParameter[int] = bindparam("numbers", expanding=True)
_ROUTES = (
    select(
        tracklets.c.global_id,
        tracklets.c.tracklet_id,
        tracklets.c.camera_id,
        tracklets.c.started_at,
        tracklets.c.ended_at,
        crops.c.blob_key,
        (crops.c.x2_px - crops.c.x1_px) * (crops.c.y2_px - crops.c.y1_px) * crops.c.visibility,
    )
    .outerjoin(crops, crops.c.tracklet_id == tracklets.c.tracklet_id)
    .where(tracklets.c.global_id.in_(_NUMBERED))
    .order_by(tracklets.c.global_id, tracklets.c.started_at, tracklets.c.tracklet_id, crops.c.rank)
)
_CHANGES = (
    select(*EVENT)
    .where(
        identity_events.c.event_id > bindparam("after"),
        # Spelt out in the statement, so that the index of the changes serves it.
        identity_events.c.kind != literal_column(f"'{IdentityEventKind.ASSIGNED.value}'"),
    )
    .order_by(identity_events.c.event_id)
    .limit(bindparam("most", type_=Integer))
)


class History:
    """Questions to the database. Each one sees a single consistent moment."""

    def __init__(self, database: Database) -> None:
        self._database = database

    @property
    def database(self) -> Database:
        """For books that are kept in the same one."""
        return self._database

    def route(self, global_id: GlobalId) -> list[Sighting]:
        """Where a person was, in time order; empty for an unknown one."""
        return self.routes([global_id])[global_id]

    def routes(self, global_ids: Sequence[GlobalId]) -> dict[GlobalId, list[Sighting]]:
        """The routes of many, in one query."""
        found: dict[GlobalId, dict[TrackletId, ShownTracklet]] = {global_id: {} for global_id in global_ids}
        with self._database.reading() as connection:
            rows = [
                row for part in in_parts(global_ids) for row in connection.execute(_ROUTES, {"numbers": part}).all()
            ]
        for global_id, name, camera_id, started_at, ended_at, blob_key, visible_px in rows:
            own = found[global_id]
            if name not in own:
                own[name] = ShownTracklet(name, camera_id, started_at, ended_at, [])
            if blob_key is not None:
                own[name].crops.append(ShownCrop(blob_key, visible_px))
        return {global_id: stays(own.values()) for global_id, own in found.items()}

    def tracklets(self, tracklet_ids: Sequence[TrackletId]) -> dict[TrackletId, StoredTracklet]:
        """Details of those that are known."""
        found: list[StoredTracklet] = []
        with self._database.reading() as connection:
            for part in in_parts(tracklet_ids):
                found += _stored_tracklets(connection, tracklets.c.tracklet_id.in_(part))
        return {tracklet.tracklet_id: tracklet for tracklet in found}

    def archived_tracklets(self, since_at: float, until_at: float) -> list[StoredTracklet]:
        """Those with crops that ended in this span of time, the end excluded; by beginning, then name."""
        in_span = and_(tracklets.c.ended_at >= since_at, tracklets.c.ended_at < until_at)
        with self._database.reading() as connection:
            found = [tracklet for tracklet in _stored_tracklets(connection, in_span) if tracklet.crops]
        return sorted(found, key=lambda tracklet: (tracklet.started_at, tracklet.tracklet_id))

    def identities(self, global_ids: Sequence[GlobalId]) -> dict[GlobalId, IdentitySummary]:
        """Summaries of those that are known, in the order in which they are named."""
        found: dict[GlobalId, IdentitySummary] = {}
        for part in in_parts(global_ids):
            summaries = self._summaries(select(identities).where(identities.c.global_id.in_(part)))
            found |= {summary.global_id: summary for summary in summaries}
        return {global_id: found[global_id] for global_id in global_ids if global_id in found}

    def recent_identities(self, limit: int, seen: Seen = EVERYTHING) -> list[IdentitySummary]:
        """Those with a sighting as asked for, the last seen first."""
        query = select(identities).where(_IS_SOMEBODY)
        query = query.order_by(identities.c.last_seen_at.desc(), identities.c.global_id.desc())
        conditions = _conditions(seen)
        if conditions:
            query = query.where(exists().where(tracklets.c.global_id == identities.c.global_id, *conditions))
        return self._summaries(query.limit(limit))

    def events_after(self, event_id: int, limit: int) -> list[IdentityEvent]:
        """What was decided after event number `event_id`, in order. Following the numbers misses nothing."""
        return self._events(identity_events.c.event_id > event_id, limit)

    def identity_changes(self, after_event_id: int, limit: int) -> list[IdentityEvent]:
        """Merged, split and erased events after `after_event_id`, oldest first: how readers keep a cache right."""
        with self._database.reading() as connection:
            rows = connection.execute(_CHANGES, {"after": after_event_id, "most": limit}).mappings().all()
        return [event_of(row) for row in rows]

    def events(self, event_ids: Sequence[int]) -> list[IdentityEvent]:
        """Some events, in order."""
        found = [event for part in in_parts(event_ids) for event in self._events(identity_events.c.event_id.in_(part))]
        return sorted(found, key=lambda event: event.event_id)

    def cameras(self) -> list[StoredCamera]:
        with self._database.reading() as connection:
            rows = connection.execute(select(cameras).order_by(cameras.c.camera_id)).all()
        return [StoredCamera(CameraId(row.camera_id), row.address, row.added_at) for row in rows]

    def cameras_of_crop(self, key: BlobKey) -> frozenset[CameraId]:
        """The cameras at which a crop was taken; the same picture may have come from two."""
        query = select(tracklets.c.camera_id).join(crops, crops.c.tracklet_id == tracklets.c.tracklet_id)
        with self._database.reading() as connection:
            return frozenset(connection.execute(query.where(crops.c.blob_key == key)).scalars())

    def persons_of_crop(self, key: BlobKey) -> frozenset[GlobalId]:
        """Whose crop it is; nobody's while no identity is decided."""
        query = select(tracklets.c.global_id).join(crops, crops.c.tracklet_id == tracklets.c.tracklet_id)
        is_decided = tracklets.c.global_id.is_not(None)
        with self._database.reading() as connection:
            return frozenset(connection.execute(query.where(crops.c.blob_key == key, is_decided)).scalars())

    def counts(self) -> Counts:
        """How much has been decided."""
        decided = select(func.count()).where(tracklets.c.global_id.is_not(None))
        with self._database.reading() as connection:
            return Counts(
                tracklets=connection.execute(decided).scalar_one(),
                identities=connection.execute(select(func.count()).where(_IS_SOMEBODY)).scalar_one(),
            )

    def track_identities(self) -> dict[tuple[str, str, int], GlobalId]:
        """The identity of each track (camera, boot, track): that of most of its tracklets, else the smaller number."""
        track = (tracklets.c.camera_id, tracklets.c.boot_id, tracklets.c.track_id)
        votes = (
            select(*track, tracklets.c.global_id)
            .where(tracklets.c.global_id.is_not(None))
            .group_by(*track, tracklets.c.global_id)
            .order_by(func.count(), tracklets.c.global_id.desc())
        )
        with self._database.reading() as connection:
            rows = connection.execute(votes).all()
        return {(row.camera_id, row.boot_id, row.track_id): row.global_id for row in rows}

    def _events(self, condition: ColumnElement[bool], limit: int | None = None) -> list[IdentityEvent]:
        query = select(*EVENT).where(condition).order_by(identity_events.c.event_id).limit(limit)
        with self._database.reading() as connection:
            return [event_of(row) for row in connection.execute(query).mappings()]

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


def event_of(row: RowMapping) -> IdentityEvent:
    """A row that holds the columns `EVENT`, and perhaps others."""
    return IdentityEvent.model_validate({name: row[name] for name in IdentityEvent.model_fields})


def _conditions(seen: Seen) -> list[ColumnElement[bool]]:
    conditions: list[ColumnElement[bool]] = []
    if seen.camera_ids:
        conditions.append(tracklets.c.camera_id.in_(seen.camera_ids))
    if seen.since_at is not None:
        conditions.append(tracklets.c.ended_at >= seen.since_at)
    if seen.until_at is not None:
        conditions.append(tracklets.c.started_at <= seen.until_at)
    return conditions


def _stored_tracklets(connection: Connection, condition: ColumnElement[bool]) -> list[StoredTracklet]:
    """The tracklets that fulfil a condition on their table, with their crops, in two queries."""
    of_tracklet = crops.c.tracklet_id == tracklets.c.tracklet_id
    query = select(crops).join(tracklets, of_tracklet).where(condition).order_by(crops.c.tracklet_id, crops.c.rank)
    kept: dict[str, list[StoredCrop]] = {}
    for row in connection.execute(query):
        kept.setdefault(row.tracklet_id, []).append(_stored_crop(row))
    return [
        StoredTracklet(
            tracklet_id=row.tracklet_id,
            camera_id=row.camera_id,
            started_at=row.started_at,
            ended_at=row.ended_at,
            detections=row.detections,
            global_id=row.global_id,
            confidence=row.confidence,
            crops=tuple(kept.get(row.tracklet_id, ())),
        )
        for row in connection.execute(select(tracklets).where(condition))
    ]


def _stored_crop(row: Row[Any]) -> StoredCrop:
    return StoredCrop(
        blob_key=row.blob_key,
        captured_at=row.captured_at,
        box_px=(row.x1_px, row.y1_px, row.x2_px, row.y2_px),
        frame_size_px=(row.frame_width_px, row.frame_height_px),
        score=row.score,
        sharpness=row.sharpness,
        visibility=row.visibility,
    )
