"""What a site has taught the matcher, and what was thought at each decision: kept on every database."""

from __future__ import annotations

import numpy as np

from pipeline.adapters.store import SqlStore
from pipeline.contracts import GlobalId, IdentityEventKind
from pipeline.decisions import CandidateEvidence, Decision, Evidence, Revision
from pipeline.kept import GalleryRows, KeptCalibration
from tests.fakes import DIGEST, embedding

NOW = 1_700_000_000.0
OTHER = "another-model"


def kept(number: int, content: bytes = b"taught") -> KeptCalibration:
    return KeptCalibration(number, NOW + number, content + b"\x00" + bytes([number]))


def test_before_the_first_calibration_there_is_none(store: SqlStore) -> None:
    assert store.newest_calibration(DIGEST) is None


def test_the_newest_calibration_of_a_model_comes_back_to_the_last_bit(store: SqlStore) -> None:
    every_byte = KeptCalibration(2, NOW + 0.1234567, bytes(range(256)) * 999)
    for calibration in (kept(1), every_byte):
        store.keep_calibration(DIGEST, calibration)
    store.keep_calibration(OTHER, kept(9))
    assert store.newest_calibration(DIGEST) == every_byte
    assert store.newest_calibration(OTHER) == kept(9)


def test_a_number_that_exists_stays_as_it_is(store: SqlStore) -> None:
    store.keep_calibration(DIGEST, kept(1))
    store.keep_calibration(DIGEST, kept(1, b"something else"))
    assert store.newest_calibration(DIGEST) == kept(1)


def test_old_calibrations_go_and_those_of_other_models_stay(store: SqlStore) -> None:
    store.keep_calibration(OTHER, kept(1))
    for number in range(1, 8):
        store.keep_calibration(DIGEST, kept(number))
    with store._database.reading() as connection:
        found = connection.exec_driver_sql("SELECT model_digest, number FROM calibrations ORDER BY 1, 2").all()
    assert [tuple(row) for row in found] == [(DIGEST, 5), (DIGEST, 6), (DIGEST, 7), (OTHER, 1)]


def thoughts(rows: GalleryRows) -> list[tuple[int, float, float]]:
    return list(zip(rows.track_ids.tolist(), rows.newness.tolist(), rows.likeliest.tolist(), strict=True))


def test_what_was_thought_at_a_decision_survives_and_follows_the_tracklet_to_another_person(store: SqlStore) -> None:
    candidate = CandidateEvidence(
        global_id=1, camera_id="gate", similarity=0.5, appearance_log_odds=0.1, probability=0.123456789012345
    )
    evidence = Evidence(calibration=1, candidates=(candidate,), new_probability=0.876543210987655, threshold=0.6)
    store.commit_decisions(
        [
            Decision(embedding(track_id=1), GlobalId(1), True, 0.9, "new"),
            Decision(embedding(track_id=2), GlobalId(2), True, 0.7, "new", evidence=evidence),
            Decision(embedding(track_id=3), GlobalId(2), False, 0.97, "the track goes on"),
        ],
        NOW,
    )
    expected = [(1, 1.0, 0.0), (2, 0.876543210987655, 0.123456789012345), (3, 0.0, 0.97)]
    assert thoughts(store.decided(DIGEST, 0, 9)[0]) == expected
    assert thoughts(store.gallery(DIGEST, "appearance", 0, 9)[0]) == expected
    store.commit_decisions((), NOW, [Revision(IdentityEventKind.MERGED, GlobalId(2), GlobalId(1), 0.9, "one person")])
    assert thoughts(store.rows_of_identity(DIGEST, [GlobalId(1)])) == expected
    assert thoughts(store.decided(DIGEST, 0, 9)[0]) == expected


def test_when_it_was_decided_is_kept_and_unknown_where_nobody_noted_it(store: SqlStore) -> None:
    for number in (1, 2):
        decision = Decision(embedding(track_id=number), GlobalId(number), True, 0.9, "new")
        store.commit_decisions([decision], NOW + number / 3)
    with store._database.writing() as connection:
        connection.exec_driver_sql("UPDATE tracklets SET decided_at = NULL WHERE track_id = 2")
    noted = store.decided(DIGEST, 0, 10)[0].decided_at
    assert noted[0] == NOW + 1 / 3 and np.isnan(noted[1])


def test_what_was_thought_is_told_of_any_decisions_and_of_none_that_is_gone(store: SqlStore) -> None:
    odds = [(float(number % 3 == 0), number / 8 if number % 3 else 0.0) for number in range(8)]
    made = [
        Decision(embedding(track_id=number), GlobalId(number + 1), new == 1.0, likeliest or 0.9, "test")
        for number, (new, likeliest) in enumerate(odds)
    ]
    events = np.array([store.commit_decisions([each], 7.0 * number)[0].event_id for number, each in enumerate(made)])
    for places in ([], [0, 1, 2, 3], [5], [0, 7], list(range(8))):
        told = store.thoughts(events[places])
        assert list(zip(told.newness.tolist(), told.likeliest.tolist(), strict=True)) == [odds[each] for each in places]
        assert told.decided_at.tolist() == [7.0 * each for each in places]
    told = store.thoughts(np.array([events[6], events[-1] + 1, events[-1] + 1000]))
    assert told.newness.tolist() == [1.0, 0.0, 0.0] and told.likeliest.tolist() == [0.0, 0.0, 0.0]
    assert np.isnan(told.decided_at).tolist() == [False, True, True]
    rows, of_rows = store.decisions(int(events[4]), 9)
    assert rows.track_ids.tolist() == [5, 6, 7] and of_rows.tolist() == events[5:].tolist()
    assert np.isnan([rows.newness, rows.likeliest, rows.decided_at]).all()
