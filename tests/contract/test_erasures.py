"""How a person is forgotten, on every database."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import select

from pipeline.adapters.delivery_book import DeliveryBook
from pipeline.adapters.schema import metadata
from pipeline.adapters.standing_book import AlertFilter, StandingBook
from pipeline.adapters.store import SqlStore
from pipeline.adapters.watch_book import WatchBook
from pipeline.contracts import CameraId, GlobalId, IdentityEventKind, TrackletEmbedding, pack_vector
from pipeline.decisions import (
    Applied,
    CandidateEvidence,
    CorrectionKind,
    CorrectionRequest,
    Decision,
    Evidence,
    Revision,
)
from pipeline.errors import InvalidQuery, Unavailable
from pipeline.forgetting import ErasureRequest, Followed, Found, Kind, Left, erased_spans
from pipeline.search.alerts import Hit
from pipeline.search.feedback import Verdict
from pipeline.search.standing import StandingRequest
from tests.fakes import DIGEST, crop, embedding, tracklet, unit_vectors
from tests.small_site import file_store

NOW = 1_700_000_000.0
LATER = NOW + 90 * 86_400.0
LOOKS = unit_vectors(np.random.default_rng(8), 4)
REQUEST = ErasureRequest(GlobalId(1), "anna", "case 7")


def seen(camera_id: str, track_id: int, sequence: int = 0, look: int = 0) -> TrackletEmbedding:
    return embedding(camera_id, track_id, sequence, ended_at=99.0, vector=LOOKS[look])


GATE, HALL, YARD = seen("gate", 1), seen("hall", 2, look=1), seen("yard", 3, look=2)


def candidate(number: int) -> CandidateEvidence:
    return CandidateEvidence(
        global_id=number, camera_id="gate", similarity=0.4, appearance_log_odds=-1.0, probability=0.2
    )


def fill(store: SqlStore) -> SqlStore:
    """Person 1 at gate and hall, the latter by a merge of 2; person 3 in the yard, who was compared with person 1."""
    for at_gate in (tracklet(1, crop(b"first"), crop(b"second")), tracklet(3, crop(b"three"), camera_id="yard")):
        store.archive_tracklet(at_gate)
    compared = Evidence(calibration=1, candidates=(candidate(1), candidate(2)), new_probability=0.7, threshold=0.9)
    made = [
        Decision(GATE, GlobalId(1), True, 0.75, "first"),
        Decision(HALL, GlobalId(2), True, 0.75, "new: closest is person 1 seen in gate, 0.40 alike", evidence=compared),
        Decision(YARD, GlobalId(3), True, 0.75, "new: closest is person 1 seen in gate, 0.40 alike", evidence=compared),
    ]
    store.commit_decisions(made, NOW)
    store.add_correction(
        CorrectionRequest(CorrectionKind.MERGE, "anna", "Miss Marple", (GlobalId(1), GlobalId(2))), NOW
    )
    merge = Revision(IdentityEventKind.MERGED, GlobalId(2), GlobalId(1), 1.0, "correction 1 by anna: Miss Marple")
    store.commit_decisions((), NOW, [merge], Applied(1, "moved", (GATE.tracklet_id,), (HALL.tracklet_id,)))
    apart = CorrectionRequest(
        CorrectionKind.NOT_SAME, "anna", "her sister", tracklet_ids=(GATE.tracklet_id, YARD.tracklet_id)
    )
    store.add_correction(apart, NOW)
    store.commit_decisions((), NOW, (), Applied(2, "stay two", (YARD.tracklet_id,), (GATE.tracklet_id,)))
    for number in (1, 2, 3):
        store.keep_verdict(DIGEST, Verdict(f"coat {number}", GlobalId(number), 0.5, True, "anna", NOW))
    return store


@pytest.fixture
def three(store: SqlStore) -> SqlStore:
    return fill(store)


def erase(store: SqlStore, request: ErasureRequest = REQUEST) -> int:
    number = store.add_erasure(request, store.rehearse_erasure(request.global_id), NOW)
    store.erase(number, NOW + 2, LATER)
    return number


def test_verdicts_on_a_person_go_with_the_person_and_those_on_others_stay(three: SqlStore) -> None:
    erase(three)
    three.keep_verdict(DIGEST, Verdict("late", GlobalId(1), 0.5, True, "anna", NOW))
    assert [said.question for said in three.verdicts(DIGEST, 9)] == ["coat 3"]


def test_alerts_about_a_person_go_with_the_person_and_standing_queries_are_told_of_the_verdicts(
    three: SqlStore,
) -> None:
    book, watching = StandingBook(three.database), WatchBook(three.database)
    number = book.add(StandingRequest("red coat", "red", "anna"), NOW)
    query = book.query(number)
    raised = [
        (Hit(query, 1, each.tracklet_id, GlobalId(1), CameraId(each.camera_id), 90.0, 99.0, 0.5, 0.95), True)
        for each in (GATE, HALL, YARD)
    ]
    assert watching.keep(raised, ["pager"], 0, 3, NOW)
    change = watching.last_change()
    receipt = three.receipt(erase(three))
    assert receipt is not None and receipt.expected == receipt.removed and receipt.expected.alerts == 2
    assert [alert.tracklet_id for alert in book.alerts(AlertFilter(), 9)] == [YARD.tracklet_id]
    assert [due.alert_number for due in DeliveryBook(three.database).due("pager", NOW, 9)] == [3]
    assert watching.last_change() == change + 1
    assert watching.keep(raised[:1], ["pager"], 3, 4, NOW) and len(book.alerts(AlertFilter(), 9)) == 1


def contents(store: SqlStore) -> dict[str, list[tuple[object, ...]]]:
    with store._database.reading() as connection:
        return {
            name: [tuple(row) for row in connection.execute(select(table))] for name, table in metadata.tables.items()
        }


def test_a_rehearsal_tells_what_the_erasure_removes_and_changes_nothing(three: SqlStore) -> None:
    before = contents(three)
    expected = three.rehearse_erasure(GlobalId(1))
    assert expected == Found(tracklets=2, crops=2, vectors=2, events=3, corrections=2, verdicts=2)
    assert contents(three) == before
    receipt = three.receipt(erase(three))
    assert receipt is not None and receipt.removed == receipt.expected == expected
    assert receipt.global_ids == (1, 2) and receipt.erased_at == NOW + 2 and receipt.finished_at is None


def test_the_person_is_gone_and_others_are_as_they_were(three: SqlStore) -> None:
    erase(three)
    assert three.current_identity(GlobalId(1)) is three.current_identity(GlobalId(2)) is None
    assert (
        three.tracklets([GATE.tracklet_id, HALL.tracklet_id]) == {} and three.routes([GlobalId(1)])[GlobalId(1)] == []
    )
    assert three.gallery(GATE.model_digest, "appearance", 0, 9)[0].tracklet_ids == [YARD.tracklet_id]
    assert three.corrections(9) == []
    assert [len(each.crop_keys) for each in three.route(GlobalId(3))] == [1]
    assert three.next_global_id() == 4


def test_everybody_is_told_once_and_the_event_is_all_that_is_left_of_the_story(three: SqlStore) -> None:
    number = erase(three)
    assert three.erase(number, NOW + 3, LATER) == []
    told = [(event.kind, event.global_id) for event in three.events_after(0, 99)]
    assert told == [("assigned", 3), ("erased", 1)]
    (event,) = three.identity_changes(0, 9)
    assert set(event.tracklet_ids) == {GATE.tracklet_id, HALL.tracklet_id} == three.erased_names(number)
    three.finish_erasure(number, Left(), NOW + 60)
    assert three.identity_changes(0, 9)[0].tracklet_ids == () and three.erased_names(number) == set()
    assert three.unfinished_erasures() == []


def test_nobody_elses_evidence_tells_of_the_person_any_more(three: SqlStore) -> None:
    number = erase(three)
    assert three.left_of(number).mentions == 1
    scrubbed = 0
    while (more := three.scrub_mentions(number, 2)) is not None:
        scrubbed += more
    assert scrubbed == 1 and three.left_of(number).mentions == 0
    found = three.explanation(YARD.tracklet_id)
    assert found is not None and found.decision is not None and found.decision.evidence is not None
    assert found.decision.evidence.candidates == () and "gate" not in found.decision.event.reason


@pytest.mark.parametrize("gap", ["", " "])
def test_who_is_told_of_in_evidence_alone_is_found_however_it_was_written(three: SqlStore, gap: str) -> None:
    found = three.explanation(YARD.tracklet_id)
    assert found is not None and found.decision is not None and found.decision.evidence is not None
    kept = json.dumps(found.decision.evidence.model_dump(mode="json"), separators=(f",{gap}", f":{gap}"))
    with three.database.writing() as connection:
        event_id = found.decision.event.event_id
        changed = f"UPDATE identity_events SET reason = 'new', evidence = '{kept}' WHERE event_id = {event_id}"
        connection.exec_driver_sql(changed)
    assert three.scrub_mentions(erase(three), 1_000) == 1


def test_pieces_that_come_late_begin_nobody_anew(three: SqlStore) -> None:
    erase(three)
    late = seen("gate", 1, sequence=7)
    assert three.gone([late, GATE, YARD], Kind.VECTORS) == {late.tracklet_id, GATE.tracklet_id}
    assert not three.archive_tracklet(tracklet(1, crop(b"first")))
    assert three.add_vectors([late]) == []
    with pytest.raises(Unavailable, match="erased"):
        three.commit_decisions([Decision(late, GlobalId(4), True, 0.5, "new")], NOW)
    assert three.tracklets([late.tracklet_id, GATE.tracklet_id]) == {}
    three.drop_old_marks(LATER + 1)
    assert three.archive_tracklet(tracklet(1, crop(b"first")))


def test_a_piece_without_an_identity_goes_with_its_track(three: SqlStore) -> None:
    waiting = seen("gate", 1, sequence=1)
    three.add_vectors([waiting])
    erase(three)
    assert three.tracklets([waiting.tracklet_id]) == {}


def test_whoever_was_split_off_lives_on_with_the_laws_about_them(three: SqlStore) -> None:
    """Person 4 leaves person 1 with a piece of the same track; the split is told without those who are gone."""
    further = seen("gate", 1, sequence=1)
    three.commit_decisions([Decision(further, GlobalId(1), False, 0.8, "the same track")], NOW)
    split = Revision(
        IdentityEventKind.SPLIT,
        GlobalId(1),
        GlobalId(4),
        1.0,
        "correction 3 by anna: Miss Marple",
        (further.tracklet_id,),
        is_new=True,
    )
    ask = CorrectionRequest(CorrectionKind.SPLIT, "anna", "Miss Marple", (GlobalId(1),), (further.tracklet_id,))
    three.add_correction(ask, NOW)
    three.commit_decisions((), NOW, [split], Applied(3, "moved", (further.tracklet_id,), (GATE.tracklet_id,)))
    erase(three)
    assert three.assignments([further.tracklet_id, GATE.tracklet_id]) == {further.tracklet_id: 4}
    assert three.gone([seen("gate", 1, sequence=2), further], Kind.VECTORS) == set()
    found = three.explanation(further.tracklet_id)
    assert found is not None and [each.event.reason for each in found.changes] == ["correction 3 by anna"]
    assert "Marple" not in repr(contents(three))


def test_who_is_unknown_is_refused_and_who_waits_is_not_asked_for_twice(three: SqlStore) -> None:
    with pytest.raises(InvalidQuery, match="no person 9"):
        three.rehearse_erasure(GlobalId(9))
    number = three.add_erasure(REQUEST, Found(), NOW)
    assert three.add_erasure(ErasureRequest(GlobalId(2), "ben", "case 8"), Found(), NOW) == number
    assert [each.number for each in three.pending_erasures()] == [number]
    with pytest.raises(InvalidQuery):
        ErasureRequest(GlobalId(1), "anna", " ")


def test_what_is_removed_elsewhere_adds_up(three: SqlStore) -> None:
    number = erase(three)
    assert three.left_of(number) == Left(blobs=2, mentions=1)
    keys = three.doomed_blobs(9, number)
    assert sorted(keys) == sorted(each.key for each in (crop(b"first"), crop(b"second")))
    three.blobs_are_gone(keys)
    three.note_followed(number, Followed(blobs=2))
    three.note_followed(number, Followed(messages=1))
    receipt = three.receipt(number)
    assert receipt is not None and receipt.followed == Followed(blobs=2, messages=1)
    assert three.left_of(number).blobs == 0


def test_a_picture_that_another_tracklet_shares_stays(three: SqlStore) -> None:
    three.archive_tracklet(tracklet(9, crop(b"first"), camera_id="yard"))
    assert three.doomed_blobs(9, erase(three)) == [crop(b"second").key]


def test_the_file_of_the_database_holds_no_trace_but_the_receipt(tmp_path: Path) -> None:
    store = fill(file_store(tmp_path))
    secrets = [GATE.tracklet_id.encode(), HALL.tracklet_id.encode(), b"Marple", b"sister", crop(b"first").key.encode()]
    secrets += [pack_vector(LOOKS[0]), pack_vector(LOOKS[1])]
    files = lambda: b"".join(path.read_bytes() for path in tmp_path.glob("sightline.db*"))  # noqa: E731
    assert all(secret in files() for secret in secrets)
    number = erase(store)
    while store.scrub_mentions(number, 100) is not None:
        pass
    store.blobs_are_gone(store.doomed_blobs(9, number))
    store.finish_erasure(number, Left(), NOW + 60)
    assert [secret for secret in secrets if secret in files()] == []
    assert pack_vector(LOOKS[2]) in files()
    store.close()


@given(st.dictionaries(st.integers(0, 12), st.booleans(), min_size=1))
def test_every_known_piece_of_a_track_goes_or_stays_as_its_person_does(pieces: dict[int, bool]) -> None:
    spans = erased_spans("gate/b1/1", pieces.items())
    for sequence, is_erased in pieces.items():
        assert any(span.holds(sequence) for span in spans) is is_erased
    if pieces[max(pieces)]:
        assert any(span.holds(99) for span in spans)
