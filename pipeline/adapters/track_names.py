"""Who the tracks are that cameras follow just now: the identity of the newest decided tracklet of each."""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple

from sqlalchemy import select, tuple_

from pipeline.adapters.database import Database, in_parts
from pipeline.adapters.schema import tracklets
from pipeline.contracts import CameraId, GlobalId


class Track(NamedTuple):
    """One track of one start of a camera."""

    camera_id: CameraId
    boot_id: str
    track_id: int


class TrackNames:
    """`Names` on SQLite or PostgreSQL."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def names(self, tracks: Collection[Track], since_at: float) -> dict[Track, GlobalId]:
        """The identity of each track that has one by a tracklet that began after `since_at`."""
        t = tracklets.c
        query = (
            select(t.camera_id, t.boot_id, t.track_id, t.global_id)
            .where(t.started_at >= since_at, t.global_id.is_not(None))
            .order_by(t.sequence)  # the newest word on a track is read last, and stays
        )
        found: dict[Track, GlobalId] = {}
        with self._database.reading() as connection:
            for part in in_parts(list(tracks)):
                # The cameras by themselves too: they are what the index knows.
                cameras = {track.camera_id for track in part}
                chosen = query.where(t.camera_id.in_(cameras), tuple_(t.camera_id, t.boot_id, t.track_id).in_(part))
                for camera_id, boot_id, track_id, global_id in connection.execute(chosen):
                    found[Track(CameraId(camera_id), boot_id, track_id)] = GlobalId(global_id)
        return found
