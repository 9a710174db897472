"""Our own archive as a data set, and its export."""

from __future__ import annotations

import json
import random
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.contracts import blob_key
from pipeline.errors import ConfigurationError
from reid_models.datasets.labels import intra_camera_labels
from reid_models.datasets.sample import cameras_of, identities_of, read_image
from reid_models.datasets.tracklet_export import TrackletExport, write_export
from reid_models.datasets.tracklets import Selection, TrackedSamples, TrackletRecord, is_held_out, read_tracklets

NOW = 1_000_000.0
DAY_S = 86_400.0


def record(track: str, sequence: int = 0, at: float = NOW - 60, crops: int = 2) -> TrackletRecord:
    name = f"{track}/{sequence}"
    keys = tuple(f"{name}#{rank}" for rank in range(crops))
    return TrackletRecord(track.split("/")[0], track, name, at, at + 5, keys)


def jpeg_of(key: str) -> bytes:
    shade = sum(key.encode()) % 256
    return cv2.imencode(".jpg", np.full((16, 8, 3), shade, np.uint8))[1].tobytes()


def tracks(samples: TrackedSamples) -> set[str]:
    return {sample.name.rpartition("/")[0] for sample in samples.samples}


RECORDS = [
    record("gate/a/1", 0, NOW - 100),
    record("gate/a/1", 1, NOW - 90),
    record("gate/b/1", 0, NOW - 80),  # the same number after a restart is another track
    record("hall/a/1", 0, NOW - 70, crops=3),
]


def test_pieces_of_a_track_are_one_identity_and_a_restart_begins_another() -> None:
    dataset = read_tracklets(RECORDS, jpeg_of, Selection(), NOW)
    assert identities_of(dataset.train.samples).tolist() == [1, 1, 1, 1, 2, 2, 3, 3, 3]
    assert cameras_of(dataset.train.samples).tolist() == [0] * 6 + [1] * 3
    assert dataset.train.pieces.tolist() == [0, 0, 1, 1, 2, 2, 3, 3, 3]
    assert dataset.camera_ids == ("gate", "hall")
    assert dataset.held_out.samples == ()
    assert read_image(dataset.train.samples[0]).shape == (16, 8, 3)


def test_a_track_lasts_from_its_first_piece_to_its_last() -> None:
    train = read_tracklets(RECORDS, jpeg_of, Selection(), NOW).train
    assert set(train.track_started_at[:4]) == {NOW - 100}
    assert set(train.track_ended_at[:4]) == {NOW - 85}


def test_every_track_is_an_intra_camera_identity() -> None:
    train = read_tracklets(RECORDS, jpeg_of, Selection(), NOW).train
    labels, cameras = intra_camera_labels(identities_of(train.samples), cameras_of(train.samples))
    assert labels.tolist() == [identity - 1 for identity in identities_of(train.samples)]
    assert cameras.tolist() == [0, 0, 1]


@given(st.integers(0, 100))
def test_the_order_of_the_rows_changes_nothing(seed: int) -> None:
    shuffled = random.Random(seed).sample(RECORDS, len(RECORDS))
    plain, other = (read_tracklets(rows, jpeg_of, Selection(), NOW).train for rows in (RECORDS, shuffled))
    assert [(s.name, s.identity) for s in other.samples] == [(s.name, s.identity) for s in plain.samples]


def test_days_cameras_and_crops_choose() -> None:
    rows = [*RECORDS, record("gate/a/2", at=NOW - 3 * DAY_S), record("yard/a/1", crops=1)]
    assert tracks(read_tracklets(rows, jpeg_of, Selection(), NOW).train) == {
        "gate/a/1", "gate/b/1", "hall/a/1", "gate/a/2",
    }  # fmt: skip
    assert tracks(read_tracklets(rows, jpeg_of, Selection(last_days=2, camera_ids=("gate",)), NOW).train) == {
        "gate/a/1", "gate/b/1",
    }  # fmt: skip
    assert tracks(read_tracklets(rows, jpeg_of, Selection(least_crops=4), NOW).train) == {"gate/a/1"}


@given(st.floats(0, 0.9), st.floats(0, 0.9))
def test_tracks_are_held_out_whole_and_a_greater_share_only_adds(one: float, other: float) -> None:
    rows = [record(f"gate/a/{number}", sequence) for number in range(40) for sequence in range(2)]
    less, more = sorted((one, other))
    held = {}
    for share in (less, more):
        dataset = read_tracklets(rows, jpeg_of, Selection(held_out=share), NOW)
        assert not tracks(dataset.train) & tracks(dataset.held_out)
        assert len(tracks(dataset.train) | tracks(dataset.held_out)) == 40
        held[share] = tracks(dataset.held_out)
    assert held[less] <= held[more]


def test_about_the_asked_share_is_held_out() -> None:
    held = sum(is_held_out(f"gate/a/{number}", 0.2) for number in range(5000))
    assert 900 < held < 1100


@pytest.mark.parametrize(
    ("rows", "selection", "text"),
    [
        ([], Selection(), "none of 0 tracklets is left"),
        (RECORDS, Selection(last_days=0.0001), "none of 4 tracklets is left: 0 ended within 0.0001 days"),
        (RECORDS, Selection(least_crops=9), "in 3 tracks, none with 9 crops or more"),
        (RECORDS, Selection(camera_ids=("gate", "roof")), "nothing of camera 'roof'; the cameras in it: gate, hall"),
        (RECORDS, Selection(camera_ids=("gate", "hall"), least_crops=4), "camera 'hall' has no track with 4 crops"),
        (RECORDS, Selection(held_out=1.0), "a share of 1.0 is held out; expected at least 0 and less than 1"),
        ([*RECORDS, RECORDS[0]], Selection(), "tracklets gate/a/1/0 and gate/a/1/0 of track gate/a/1 contradict"),
    ],
)
def test_a_night_that_cannot_be_used_says_why(rows: list[TrackletRecord], selection: Selection, text: str) -> None:
    with pytest.raises(ConfigurationError, match=text):
        read_tracklets(rows, jpeg_of, selection, NOW)


def test_an_exported_night_reads_back_the_same(tmp_path: Path) -> None:
    write_export(tmp_path / "night", RECORDS, jpeg_of)
    export = TrackletExport(tmp_path / "night")
    assert [row.tracklet_id for row in export.records] == [row.tracklet_id for row in RECORDS]
    assert [row.ended_at for row in export.records] == [row.ended_at for row in RECORDS]
    for exported, original in zip(export.records, RECORDS, strict=True):
        assert exported.crops == tuple(blob_key(jpeg_of(key)) for key in original.crops)
        assert [export.read_crop(key) for key in exported.crops] == [jpeg_of(key) for key in original.crops]
    plain, replayed = (
        read_tracklets(rows, read, Selection(held_out=0.5), NOW)
        for rows, read in ((RECORDS, jpeg_of), (export.records, export.read_crop))
    )
    for part in ("train", "held_out"):
        one, other = getattr(plain, part), getattr(replayed, part)
        assert identities_of(one.samples).tolist() == identities_of(other.samples).tolist()
        assert all((read_image(a) == read_image(b)).all() for a, b in zip(one.samples, other.samples, strict=True))


def test_an_export_that_breaks_off_leaves_nothing(tmp_path: Path) -> None:
    def breaks_off(key: str) -> bytes:
        if key.startswith("hall"):
            raise OSError("the disk is gone")
        return jpeg_of(key)

    with pytest.raises(OSError, match="the disk is gone"):
        write_export(tmp_path / "night", RECORDS, breaks_off)
    assert list(tmp_path.iterdir()) == []


def test_an_export_overwrites_nothing(tmp_path: Path) -> None:
    (tmp_path / "night").mkdir()
    with pytest.raises(ConfigurationError, match="already exists; give a new name"):
        write_export(tmp_path / "night", RECORDS, jpeg_of)


def test_a_damaged_export_is_noticed(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"tracklets\.json does not exist; expected a folder of exported"):
        TrackletExport(tmp_path)
    folder = tmp_path / "night"
    write_export(folder, RECORDS, jpeg_of)
    export = TrackletExport(folder)
    key = export.records[0].crops[0]
    (folder / "crops" / f"{key}.jpg").write_bytes(jpeg_of(RECORDS[0].crops[0])[:-3])
    with pytest.raises(ConfigurationError, match=rf"{key}\.jpg is damaged"):
        export.read_crop(key)
    (folder / "crops" / f"{key}.jpg").unlink()
    with pytest.raises(ConfigurationError, match=rf"names 1 crops that are not in .*, {key}\.jpg for one"):
        TrackletExport(folder)
    rows = json.loads((folder / "tracklets.json").read_text())
    rows["tracklets"][1]["crops"] = ["../../etc/passwd"]
    (folder / "tracklets.json").write_text(json.dumps(rows))
    with pytest.raises(ConfigurationError, match=r"entry tracklets\.1\.crops\.0: String should match pattern"):
        TrackletExport(folder)
    (folder / "tracklets.json").write_text('{"version": 2, "tracklets": []}')
    with pytest.raises(ConfigurationError, match="entry version: Input should be 1"):
        TrackletExport(folder)
