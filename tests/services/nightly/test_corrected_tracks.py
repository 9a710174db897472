"""What corrections change about the labels that a night learns from."""

from __future__ import annotations

from pipeline.adapters.blobs import MemoryBlobs
from pipeline.adapters.stays import StoredTracklet
from pipeline.adapters.store import SqlStore
from pipeline.contracts import CameraId, GlobalId, tracklet_id
from pipeline.decisions import Correction, CorrectionKind, CorrectionRequest
from pipeline.matching.corrector import apply_corrections
from reid_models.datasets.tracklets import Selection, read_tracklets
from services.nightly.archive import NightRules, offered
from services.nightly.corrected_tracks import corrected_tracks
from tests.fakes import HandClock, painted
from tests.small_site import NOW, Stay, record

PICTURE = painted((200, 30, 40))
STAYS = (
    Stay(1, "lobby", 4000.0, PICTURE),
    Stay(2, "lobby", 2000.0, PICTURE),
    Stay(3, "lobby", 1000.0, PICTURE),
    Stay(2, "yard", 500.0, PICTURE),
)


def site(*corrections: CorrectionRequest) -> SqlStore:
    store = SqlStore.in_memory()
    record(store, MemoryBlobs(), STAYS)
    for request in corrections:
        store.add_correction(request, NOW)
    apply_corrections(store, HandClock(NOW))
    return store


def tracks(store: SqlStore) -> dict[str, str]:
    archived = store.archived_tracklets(0.0, NOW)
    return dict(corrected_tracks(archived, store.open_corrections()))


def merge(first: int, second: int) -> CorrectionRequest:
    return CorrectionRequest(CorrectionKind.MERGE, "anna", global_ids=(GlobalId(first), GlobalId(second)))


def test_without_corrections_a_track_is_what_was_followed() -> None:
    names = ("lobby/b1/40000", "lobby/b1/20000", "lobby/b1/10000", "yard/b1/5000")
    assert tracks(site()) == {f"{name}/0": name for name in names}


def test_merged_people_have_one_track_in_each_camera() -> None:
    found = tracks(site(merge(1, 2)))
    assert found["lobby/b1/40000/0"] == found["lobby/b1/20000/0"] == "lobby/b1/20000"
    assert found["yard/b1/5000/0"] == "yard/b1/5000"
    assert found["lobby/b1/10000/0"] == "lobby/b1/10000"


def test_an_undone_merge_teaches_nothing() -> None:
    undone = CorrectionRequest(CorrectionKind.UNDO, "anna", undoes=1)
    assert tracks(site(merge(1, 2), undone)) == tracks(site())


def stored(sequence: int, person: int) -> StoredTracklet:
    name = tracklet_id("lobby", "b1", 7, sequence)
    return StoredTracklet(name, CameraId("lobby"), 0.0, 1.0, 8, GlobalId(person), 0.9, ())


def test_a_track_that_was_cut_is_two_and_its_later_pieces_follow_their_person() -> None:
    pieces = [stored(number, 1 if number < 2 else 9) for number in range(4)]
    request = CorrectionRequest(
        CorrectionKind.NOT_SAME, "anna", tracklet_ids=(pieces[0].tracklet_id, pieces[2].tracklet_id)
    )
    cut = Correction(1, request, NOW, 0, NOW, one_side=(pieces[2].tracklet_id,), other_side=(pieces[0].tracklet_id,))
    assert list(corrected_tracks(pieces, [cut]).values()) == ["lobby/b1/7~1"] * 2 + ["lobby/b1/7~9"] * 2
    assert set(corrected_tracks(pieces, []).values()) == {"lobby/b1/7"}  # the matcher alone teaches nothing


def test_a_night_learns_that_who_came_back_is_one_and_was_away_in_between() -> None:
    records = offered(site(merge(1, 2)), 0.0, NOW, NightRules())
    assert [record.tracklet_id for record in records] == ["lobby/b1/40000/0", "lobby/b1/20000/0"]
    train = read_tracklets(records, lambda key: key.encode(), Selection(), NOW).train
    assert [sample.identity for sample in train.samples] == [1, 1]
    assert sorted(NOW - train.track_started_at) == [2000.0, 4000.0]
    assert sorted(NOW - train.track_ended_at) == [1992.0, 3992.0]
