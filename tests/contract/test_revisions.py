"""How published identities are revised, on every database."""

from __future__ import annotations

import dataclasses
from collections import Counter
from typing import Any

import numpy as np
import pytest
from sqlalchemy import text
from sqlalchemy.event import listen

from pipeline.adapters import revisions as revisions_module
from pipeline.adapters.explanations import Reasoned
from pipeline.adapters.store import SqlStore
from pipeline.contracts import GlobalId, IdentityEvent, IdentityEventKind, TrackletEmbedding, TrackletId
from pipeline.decisions import CandidateEvidence, Decision, Evidence, Revision
from pipeline.errors import Unavailable
from tests.fakes import DIGEST, crop, embedding, tracklet

NOW = 1_700_000_000.0
EVIDENCE = Evidence(
    calibration=3,
    candidates=(
        CandidateEvidence(
            global_id=7,
            camera_id="hall",
            similarity=0.81,
            appearance_log_odds=3.25,
            gap_s=34.0,
            transit_log_odds=-0.5,
            probability=0.93,
        ),
        CandidateEvidence(
            global_id=8,
            camera_id="gate",
            similarity=0.9,
            appearance_log_odds=5.0,
            probability=0.0,
            constraint="is elsewhere in this camera",
        ),
    ),
    new_probability=0.07,
    threshold=0.9,
)


def seen(camera_id: str, track_id: int, started_at: float = 0.0, sequence: int = 0) -> TrackletEmbedding:
    return embedding(camera_id, track_id, sequence, started_at=started_at, ended_at=started_at + 4.0)


def decided(store: SqlStore, *people: tuple[TrackletEmbedding, int]) -> None:
    store.commit_decisions([Decision(each, GlobalId(number), False, 0.75, "alike") for each, number in people], NOW)


def merged(from_id: int, to_id: int) -> Revision:
    return Revision(IdentityEventKind.MERGED, GlobalId(from_id), GlobalId(to_id), 0.9, "late evidence")


def split(from_id: int, to_id: int, *names: TrackletId, is_new: bool = False) -> Revision:
    return Revision(
        IdentityEventKind.SPLIT, GlobalId(from_id), GlobalId(to_id), 0.9, "two looks", tracklet_ids=names, is_new=is_new
    )


def revise(store: SqlStore, *revisions: Revision) -> list[IdentityEvent]:
    return store.commit_decisions((), NOW + 1.0, revisions)


GATE, HALL, YARD = seen("gate", 1, 10.0), seen("hall", 2, 30.0), seen("yard", 3, 50.0)
NAMES = [each.tracklet_id for each in (GATE, HALL, YARD)]


@pytest.fixture
def three(store: SqlStore) -> SqlStore:
    """Person 1 at gate and hall, person 2 in the yard."""
    decided(store, (GATE, 1), (HALL, 1), (YARD, 2))
    return store


def who(store: SqlStore) -> list[int]:
    found = store.assignments(NAMES)
    return [found[name] for name in NAMES]


def test_a_merge_moves_everything_and_says_what(three: SqlStore) -> None:
    (event,) = revise(three, merged(1, 2))
    assert (event.event_id, event.kind, event.global_id, event.from_global_id) == (4, "merged", 2, 1)
    assert (event.tracklet_ids, event.reason, event.confidence) == (tuple(NAMES[:2]), "late evidence", 0.9)
    assert who(three) == [2, 2, 2]
    assert three.identity_changes(0, 10) == [event] == three.unpublished_events(10)[3:]
    assert [stay.camera_id for stay in three.route(GlobalId(2))] == ["gate", "hall", "yard"]


def test_a_merged_person_lives_on_as_another_and_is_in_no_list(three: SqlStore) -> None:
    revise(three, merged(2, 1))
    assert three.current_identity(GlobalId(2)) == 1 == three.current_identity(GlobalId(1))
    assert three.current_identity(GlobalId(3)) is None
    (summary,) = three.recent_identities(10)
    assert (summary.global_id, summary.tracklets) == (1, 3)
    assert (summary.first_seen_at, summary.last_seen_at) == (10.0, 54.0)
    assert three.counts().identities == 1


def test_merges_of_merges_lead_to_the_last(three: SqlStore) -> None:
    decided(three, (seen("lift", 4), 3))
    revise(three, merged(1, 2), merged(2, 3))
    assert [three.current_identity(GlobalId(number)) for number in (1, 2, 3)] == [3, 3, 3]


def test_a_split_opens_a_number_that_was_never_given_out(three: SqlStore) -> None:
    (event,) = revise(three, split(1, 3, NAMES[1], is_new=True))
    assert (event.kind, event.global_id, event.from_global_id, event.is_new) == ("split", 3, 1, True)
    assert who(three) == [1, 3, 2]
    assert three.next_global_id() == 4
    summaries = three.identities([GlobalId(1), GlobalId(3)])
    assert [(each.tracklets, each.first_seen_at, each.last_seen_at) for each in summaries.values()] == [
        (1, 10.0, 14.0),
        (1, 30.0, 34.0),
    ]


def test_a_split_can_give_tracklets_back_to_a_merged_person(three: SqlStore) -> None:
    revise(three, merged(2, 1))
    revise(three, split(1, 2, NAMES[2]))
    assert who(three) == [1, 1, 2]
    assert three.current_identity(GlobalId(2)) == 2
    assert sorted(each.global_id for each in three.recent_identities(9)) == [1, 2]


def test_a_person_who_loses_every_tracklet_to_a_split_lives_on_too(three: SqlStore) -> None:
    revise(three, split(2, 1, NAMES[2]))
    assert three.current_identity(GlobalId(2)) == 1


@pytest.mark.parametrize(
    ("revision", "found"),
    [
        (merged(9, 1), "person 9 has no tracklets"),
        (merged(1, 9), "there is no person 9"),
        (split(2, 4, NAMES[2], is_new=True), f"{NAMES[2]} does not belong to person 2"),
        (split(1, 3, NAMES[0], is_new=True), "numbers up to 3 are given out"),
    ],
)
def test_a_revision_of_what_is_no_longer_so_leaves_no_trace(three: SqlStore, revision: Revision, found: str) -> None:
    late = Decision(seen("lift", 9), GlobalId(3), True, 0.5, "new")
    with pytest.raises(Unavailable, match=found):
        three.commit_decisions([late], NOW, [merged(2, 1), revision])
    assert who(three) == [1, 1, 2]
    assert three.assignments([late.embedding.tracklet_id]) == {}
    assert len(three.events_after(0, 10)) == 3 and three.next_global_id() == 3


def test_decisions_come_before_revisions_and_are_revised_with_the_rest(three: SqlStore) -> None:
    fresh = seen("lift", 9)
    events = three.commit_decisions(
        [Decision(fresh, GlobalId(2), False, 0.8, "alike")], NOW, [merged(2, 1), split(1, 3, NAMES[0], is_new=True)]
    )
    assert [event.kind for event in events] == ["assigned", "merged", "split"]
    assert [event.event_id for event in events] == [4, 5, 6]
    assert set(events[1].tracklet_ids) == {NAMES[2], fresh.tracklet_id}
    assert three.assignments([fresh.tracklet_id]) == {fresh.tracklet_id: 1}


def test_a_repeated_decision_does_not_bring_the_old_identity_back(three: SqlStore) -> None:
    revise(three, merged(2, 1))
    before = three.events_after(0, 10)
    assert three.commit_decisions([Decision(YARD, GlobalId(2), False, 0.75, "alike")], NOW) == []
    assert who(three) == [1, 1, 1] and three.events_after(0, 10) == before
    assert three.current_identity(GlobalId(2)) == 1


def test_a_rebuild_gets_the_old_order_with_the_present_identities(three: SqlStore) -> None:
    before, _ = three.decided(DIGEST, 0, 10)
    revise(three, merged(1, 2), split(2, 3, NAMES[0], is_new=True))
    after, _ = three.decided(DIGEST, 0, 10)
    assert after.tracklet_ids == before.tracklet_ids == NAMES
    assert after.global_ids.tolist() == [3, 2, 2]


def test_the_rows_of_some_identities_come_in_the_order_of_decisions(three: SqlStore) -> None:
    decided(three, (seen("lift", 4), 1))
    rows = three.rows_of_identity(DIGEST, [GlobalId(1)])
    assert rows.tracklet_ids == [*NAMES[:2], TrackletId("lift/b1/4/0")]
    assert (rows.global_ids.tolist(), rows.vectors.shape) == ([1, 1, 1], (3, 16))
    assert three.rows_of_identity("another-model", [GlobalId(1)]).tracklet_ids == []
    assert three.rows_of_identity(DIGEST, []).tracklet_ids == []


def test_a_large_merge_comes_as_several_events(three: SqlStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(revisions_module, "TRACKLETS_PER_EVENT", 2)
    decided(three, (seen("lift", 4), 1))
    events = revise(three, merged(1, 2))
    assert [event.tracklet_ids for event in events] == [tuple(NAMES[:2]), ("lift/b1/4/0",)]
    assert [event.event_id for event in events] == [5, 6]


def test_replayed_events_tell_who_is_who_whatever_was_merged_and_split(store: SqlStore) -> None:
    rng = np.random.default_rng(8)
    decided(store, *((seen("gate", number), number % 5 + 1) for number in range(20)))
    names = [f"gate/b1/{number}/0" for number in range(20)]
    for step in range(40):
        here = store.assignments([TrackletId(name) for name in names])
        person, other = (int(number) for number in rng.choice(sorted(set(here.values())), 2))
        own = [name for name, whose in here.items() if whose == person]
        if step % 2 and person != other:
            revise(store, merged(person, other))
        elif len(own) > 1:
            revise(store, split(person, int(store.next_global_id()), *own[: len(own) // 2], is_new=True))
    told = {name: event.global_id for event in store.events_after(0, 1000) for name in event.tracklet_ids}
    assert told == store.assignments([TrackletId(name) for name in names])
    opened = [event.global_id for event in store.events_after(0, 1000) if event.is_new]
    assert len(opened) == len(set(opened)) > 5
    counts = store.identities([GlobalId(number) for number in range(1, int(store.next_global_id()))])
    assert {number: each.tracklets for number, each in counts.items() if each.tracklets} == Counter(told.values())
    assert {store.current_identity(number) for number in counts} == set(told.values())


# --- explanations -----------------------------------------------------------------------------------------------------


def test_evidence_and_doubt_are_kept_with_the_decision(store: SqlStore) -> None:
    made = Decision(GATE, GlobalId(1), True, 0.6, "new", is_tentative=True, evidence=EVIDENCE)
    (event,) = store.commit_decisions([made], NOW)
    assert event.is_tentative and store.events_after(0, 1) == [event]
    found = store.explanation(NAMES[0])
    assert found is not None
    assert (found.decision, found.changes, found.laws) == (Reasoned(event, EVIDENCE), (), ())
    assert found.tracklet.global_id == 1


def test_evidence_is_kept_with_four_decimals(store: SqlStore) -> None:
    exact = EVIDENCE.model_copy(update={"new_probability": 0.1234567, "candidates": ()})
    store.commit_decisions([Decision(GATE, GlobalId(1), True, 0.6, "new", evidence=exact)], NOW)
    found = store.explanation(NAMES[0])
    assert found is not None and found.decision is not None and found.decision.evidence is not None
    assert found.decision.evidence.new_probability == 0.1235


def test_without_evidence_the_column_is_null(store: SqlStore) -> None:
    decided(store, (GATE, 1))
    with store._database.reading() as connection:
        query = text("SELECT count(*) FROM identity_events WHERE evidence IS NULL AND NOT is_tentative")
        assert connection.execute(query).scalar_one() == 1


def test_an_explanation_follows_a_tracklet_from_person_to_person(three: SqlStore) -> None:
    events = revise(three, merged(1, 2), split(2, 3, NAMES[1], is_new=True), merged(3, 2), split(2, 1, NAMES[0]))
    first, second, third = (three.explanation(name) for name in NAMES)
    assert first is not None and [change.event for change in first.changes] == [events[0], events[3]]
    assert second is not None and [change.event for change in second.changes] == events[:3]
    assert third is not None and third.changes == ()


def test_evidence_for_a_change_is_kept_with_it(three: SqlStore) -> None:
    (event,) = revise(three, dataclasses.replace(merged(1, 2), evidence=EVIDENCE))
    found = three.explanation(NAMES[1])
    assert found is not None and found.changes == (Reasoned(event, EVIDENCE),)


def test_unknown_and_undecided_tracklets_have_little_to_explain(store: SqlStore) -> None:
    assert store.explanation(TrackletId("gate/b1/1/0")) is None
    waiting = tracklet(1, crop(b"best"))
    store.archive_tracklet(waiting)
    found = store.explanation(waiting.tracklet_id)
    assert found is not None and found.decision is None and found.tracklet.global_id is None


def test_readers_of_changes_use_their_index(store: SqlStore) -> None:
    if store._database.dialect != "sqlite":
        pytest.skip("only SQLite tells its plan before there is much to plan for")
    with store._database.reading() as connection:
        query = "EXPLAIN QUERY PLAN SELECT * FROM identity_events WHERE kind != 'assigned' AND event_id > 5"
        plan = " ".join(row.detail for row in connection.execute(text(query)))
    assert "ix_identity_events_changes" in plan


def test_rows_of_two_identities_cost_no_walk_over_all_vectors(store: SqlStore) -> None:
    if store._database.dialect != "sqlite":
        pytest.skip("only SQLite tells its plan before there is much to plan for")
    asked: list[tuple[str, Any]] = []
    engine = store._database._engine
    listen(engine, "before_cursor_execute", lambda _, __, sql, values, *___: asked.append((sql, values)))
    store.rows_of_identity(DIGEST, [GlobalId(1), GlobalId(2)])
    ((sql, values),) = [each for each in asked if each[0].startswith("SELECT")]
    with store._database.reading() as connection:
        plan = [row.detail for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {sql}", values)]
    assert "tracklets" in plan[0] and "global_id=?" in plan[0]
