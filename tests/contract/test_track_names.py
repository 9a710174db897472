"""Every database tells alike who the tracks are that cameras follow."""

from __future__ import annotations

from pipeline.adapters.store import SqlStore
from pipeline.adapters.track_names import Track, TrackNames
from pipeline.contracts import CameraId, GlobalId
from pipeline.decisions import Decision
from tests.fakes import embedding

FIRST_AT = 1_700_000_000.0


def decide(store: SqlStore, camera_id: str, track_id: int, sequence: int, global_id: int) -> None:
    started_at = FIRST_AT + 5.0 * sequence
    seen = embedding(camera_id, track_id, sequence, started_at=started_at, ended_at=started_at + 5.0)
    store.commit_decisions([Decision(seen, GlobalId(global_id), True, 0.9, "test")], started_at + 5.0)


def test_the_newest_decided_tracklet_names_its_track(store: SqlStore) -> None:
    decide(store, "lobby", 7, 0, 1)
    decide(store, "lobby", 7, 1, 2)
    decide(store, "lobby", 8, 0, 3)
    decide(store, "yard", 7, 0, 4)
    lobby, yard = Track(CameraId("lobby"), "b1", 7), Track(CameraId("yard"), "b1", 7)
    unknown = [Track(CameraId("yard"), "b1", 8), Track(CameraId("lobby"), "b2", 7)]
    found = TrackNames(store.database).names([lobby, yard, *unknown], FIRST_AT - 1.0)
    assert found == {lobby: 2, yard: 4}


def test_a_track_of_long_ago_has_no_name(store: SqlStore) -> None:
    decide(store, "lobby", 7, 0, 1)
    track = Track(CameraId("lobby"), "b1", 7)
    assert TrackNames(store.database).names([track], FIRST_AT + 1.0) == {}
    assert TrackNames(store.database).names([], FIRST_AT) == {}
