from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

from pipeline.errors import ConfigurationError
from services.evaluation.market_replay import ReplayConfig, embed_replay, market_replay
from tests.fakes import ColourEncoder, jpeg, painted


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    """Two people before two cameras; camera 1's first recording is 1000 frames long."""
    names = [
        "bounding_box_train/0005_c1s1_001000_01.jpg",
        "query/0001_c1s1_000100_01.jpg",
        "bounding_box_test/0001_c1s1_000125_01.jpg",
        "bounding_box_test/0001_c1s1_000300_01.jpg",  # seven seconds later: a new track
        "bounding_box_test/0001_c2s1_001300_02.jpg",
        "bounding_box_test/0002_c1s2_000050_01.jpg",  # after the first recording
        "bounding_box_test/0002_c1s2_000100_01.jpg",
        "bounding_box_test/0002_c1s2_000175_01.jpg",  # five seconds after the first: the next piece
        "bounding_box_test/0000_c1s1_000200_01.jpg",
        "bounding_box_test/-1_c1s1_000200_01.jpg",
        "bounding_box_test/Thumbs.db",
    ]
    path = tmp_path / "market.zip"
    with zipfile.ZipFile(path, "w") as file:
        for name in names:
            file.writestr(f"Market-1501-v15.09.15/{name}", jpeg(painted((9, 9, 9))))
    return path


def test_pictures_become_tracklets_on_one_line_of_time(archive: Path) -> None:
    found = [(each.true_id, each.tracklet) for each in market_replay(archive)]
    assert [(person, seen.camera_id, seen.started_at, seen.ended_at, seen.detections) for person, seen in found] == [
        (1, "c1", 4.0, 5.0, 2),
        (1, "c1", 12.0, 12.0, 1),
        (2, "c1", 42.0, 44.0, 2),
        (2, "c1", 47.0, 47.0, 1),
        (1, "c2", 52.0, 52.0, 1),
    ]
    assert [(seen.track_id, seen.sequence, seen.is_last) for _, seen in found[2:4]] == [(2, 0, False), (2, 1, True)]


def test_one_sequence_can_be_chosen(archive: Path) -> None:
    assert {each.true_id for each in market_replay(archive, sequences={2})} == {2}


def test_a_long_piece_keeps_crops_spread_over_its_time(archive: Path) -> None:
    found = market_replay(archive, {2}, ReplayConfig(cut_every_s=60.0, crops_per_tracklet=2))
    assert [[picture.captured_at for picture in each.tracklet.crops] for each in found] == [[42.0, 47.0]]
    assert found[0].tracklet.detections == 3


def test_an_archive_without_test_pictures_is_refused(archive: Path) -> None:
    with pytest.raises(ConfigurationError, match="no test pictures of sequences \\[7\\]"):
        market_replay(archive, sequences={7})


def test_training_people_are_replayed_on_request_only(archive: Path) -> None:
    assert {each.true_id for each in market_replay(archive)} == {1, 2}
    assert {each.true_id for each in market_replay(archive, with_distractors=True)} == {1, 2, 5}


def test_an_embedded_replay_knows_who_everybody_is(archive: Path) -> None:
    arrivals = list(embed_replay(market_replay(archive), ColourEncoder()))
    assert [(seen.true_id, seen.arrived_at) for seen in arrivals] == [
        (1, 5.0),
        (1, 12.0),
        (2, 44.0),
        (2, 47.0),
        (1, 52.0),
    ]
    assert all(seen.embedding.ended_at == seen.arrived_at for seen in arrivals)
