"""How corrections are kept, on every database."""

from __future__ import annotations

from typing import Any

import pytest

from pipeline.adapters.store import SqlStore
from pipeline.contracts import GlobalId, IdentityEventKind, TrackletId
from pipeline.decisions import Applied, Correction, CorrectionKind, CorrectionRequest, Decision, Revision
from pipeline.errors import InvalidQuery
from tests.fakes import crop, embedding, tracklet

NOW = 1_700_000_000.0
SEEN = [embedding("gate", 1), embedding("hall", 2), embedding("yard", 3)]
NAMES = [each.tracklet_id for each in SEEN]


def request(kind: CorrectionKind, *numbers: int, tracklets: list[TrackletId] | None = None, **more: Any) -> Any:
    people = tuple(GlobalId(number) for number in numbers)
    return CorrectionRequest(
        kind, more.pop("by", "anna"), global_ids=people, tracklet_ids=tuple(tracklets or ()), **more
    )


MERGE = request(CorrectionKind.MERGE, 1, 2, note="same coat")


@pytest.fixture
def three(store: SqlStore) -> SqlStore:
    """Person 1 at gate and hall, person 2 in the yard."""
    numbers = (1, 1, 2)
    made = [Decision(seen, GlobalId(n), False, 0.75, "alike") for seen, n in zip(SEEN, numbers, strict=True)]
    store.commit_decisions(made, NOW)
    return store


def test_a_correction_waits_for_the_matcher_with_who_when_and_why(three: SqlStore) -> None:
    assert three.add_correction(MERGE, NOW) == 1
    (kept,) = three.pending_corrections(10)
    assert kept == Correction(1, MERGE, NOW, after_event=3)
    assert three.corrections(9) == [kept] and three.correction(1) == kept
    assert three.open_corrections() == []
    assert three.correction(2) is None


def test_what_came_of_it_is_written_with_the_revisions(three: SqlStore) -> None:
    number = three.add_correction(MERGE, NOW)
    merge = Revision(IdentityEventKind.MERGED, GlobalId(2), GlobalId(1), 1.0, "correction 1 by anna")
    applied = Applied(number, "1 tracklet moved", one_side=tuple(NAMES[:2]), other_side=(NAMES[2],))
    (event,) = three.commit_decisions((), NOW + 1, [merge], applied)
    (law,) = three.open_corrections()
    assert (law.applied_at, law.outcome, law.event_ids) == (NOW + 1, "1 tracklet moved", (event.event_id,))
    assert (law.one_side, law.other_side) == (tuple(NAMES[:2]), (NAMES[2],))
    assert three.pending_corrections(10) == []
    assert three.events(law.event_ids) == [event]
    found = three.explanation(NAMES[2])
    assert found is not None and found.laws == (law,)


def test_a_correction_is_applied_once(three: SqlStore) -> None:
    number = three.add_correction(MERGE, NOW)
    merge = Revision(IdentityEventKind.MERGED, GlobalId(2), GlobalId(1), 1.0, "correction 1 by anna")
    three.commit_decisions((), NOW + 1, [merge], Applied(number, "moved"))
    before = three.corrections(9), three.events_after(0, 10)
    back = Revision(IdentityEventKind.MERGED, GlobalId(1), GlobalId(2), 1.0, "again")
    assert three.commit_decisions((), NOW + 2, [back], Applied(number, "moved again")) == []
    assert (three.corrections(9), three.events_after(0, 10)) == before


def test_an_undone_correction_is_law_no_more_but_stays_in_the_books(three: SqlStore) -> None:
    three.add_correction(MERGE, NOW)
    three.commit_decisions((), NOW, (), Applied(1, "nothing to do"))
    assert three.add_correction(request(CorrectionKind.UNDO, undoes=1, by="ben"), NOW + 5) == 2
    three.commit_decisions((), NOW + 6, (), Applied(2, "lifted", undoes=1))
    assert three.open_corrections() == []
    assert [(each.number, each.undone_by) for each in three.corrections(9)] == [(2, None), (1, 2)]


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        (request(CorrectionKind.MERGE, 1, 9), "there is no person 9"),
        (request(CorrectionKind.SPLIT, 1, tracklets=[TrackletId("gate/b1/99/0")]), "'gate/b1/99/0' is unknown"),
        (request(CorrectionKind.SAME, tracklets=[NAMES[0], TrackletId("gate/b1/77/0")]), "has no identity yet"),
        (request(CorrectionKind.UNDO, undoes=5), "correction 5 is unknown"),
    ],
)
def test_what_is_not_known_is_refused(three: SqlStore, asked: CorrectionRequest, found: str) -> None:
    three.archive_tracklet(tracklet(77, crop(b"best")))
    with pytest.raises(InvalidQuery, match=found):
        three.add_correction(asked, NOW)
    assert three.corrections(9) == []


def test_nothing_is_undone_twice_and_no_undo_is_undone(three: SqlStore) -> None:
    three.add_correction(MERGE, NOW)
    three.add_correction(request(CorrectionKind.UNDO, undoes=1), NOW)
    with pytest.raises(InvalidQuery, match="undone by 2 already"):
        three.add_correction(request(CorrectionKind.UNDO, undoes=1), NOW)
    with pytest.raises(InvalidQuery, match="itself an undo"):
        three.add_correction(request(CorrectionKind.UNDO, undoes=2), NOW)


def test_who_is_who_tells_of_whole_persons_at_one_moment(three: SqlStore) -> None:
    merge = Revision(IdentityEventKind.MERGED, GlobalId(2), GlobalId(1), 1.0, "late")
    three.commit_decisions((), NOW, [merge])
    found = three.who_is_who([GlobalId(2), GlobalId(9)], [])
    assert found.current == {2: 1}
    assert list(found.identity.items()) == [(name, 1) for name in NAMES]
    assert found.assigned_event == dict(zip(NAMES, (1, 2, 3), strict=True))
    assert found.next_id == 3
    assert three.who_is_who([], [NAMES[0]]).identity == found.identity
    assert three.who_is_who([], [TrackletId("x/y/0/0")]).identity == {}


@pytest.mark.parametrize(
    "wrong",
    [
        {"kind": CorrectionKind.MERGE, "global_ids": (1, 1)},
        {"kind": CorrectionKind.MERGE, "global_ids": (1,)},
        {"kind": CorrectionKind.SPLIT, "global_ids": (1,)},
        {"kind": CorrectionKind.SAME, "tracklet_ids": ("a/b/0/0", "a/b/0/0")},
        {"kind": CorrectionKind.NOT_SAME, "tracklet_ids": ("a/b/0/0", "a/b/1/0"), "global_ids": (1,)},
        {"kind": CorrectionKind.UNDO},
        {"kind": CorrectionKind.MERGE, "global_ids": (1, 2), "undoes": 3},
        {"kind": CorrectionKind.MERGE, "global_ids": (1, 2), "made_by": " "},
        {"kind": CorrectionKind.MERGE, "global_ids": (1, 2), "note": "x" * 201},
    ],
)
def test_a_correction_that_says_too_little_or_too_much_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(InvalidQuery, match="expected"):
        CorrectionRequest(**({"made_by": "anna"} | wrong))
