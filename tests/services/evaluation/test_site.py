"""Cross-camera scores on small scenes whose answer is known."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.contracts import GlobalId, Tracks
from services.evaluation.site import TrackKey, score_site
from services.track_log import LoggedFrame

BOX = np.array([[10, 10, 50, 90]], np.float32)
FRAMES = 10


def seen(names: list[int], boxes: np.ndarray = BOX) -> Tracks:
    return Tracks(np.array(names, np.int64), boxes[: len(names)], np.ones(len(names), np.float32))


def walk_past_two_cameras() -> list[LoggedFrame]:
    """Person 1 is seen ten times at the gate as track 4, then ten times in the hall as track 9."""
    gate = [LoggedFrame("gate", "b", float(t), seen([4])) for t in range(FRAMES)]
    hall = [LoggedFrame("hall", "b", 100.0 + t, seen([9])) for t in range(FRAMES)]
    return gate + hall


def one_person(camera_id: str, captured_at: float) -> Tracks:
    return seen([1])


GATE: TrackKey = ("gate", "b", 4)
HALL: TrackKey = ("hall", "b", 9)


def test_one_identity_for_one_person_is_perfect() -> None:
    score = score_site(walk_past_two_cameras(), one_person, {GATE: GlobalId(7), HALL: GlobalId(7)})
    assert score.cross_camera.idf1 == 1.0
    assert score.tracking.idf1 == 1.0


def test_two_identities_for_one_person_cost_half() -> None:
    score = score_site(walk_past_two_cameras(), one_person, {GATE: GlobalId(7), HALL: GlobalId(8)})
    assert score.cross_camera.idf1 == pytest.approx(0.5)
    assert score.tracking.idf1 == 1.0


def test_a_track_without_identity_is_a_person_of_its_own() -> None:
    score = score_site(walk_past_two_cameras(), one_person, {GATE: GlobalId(7)})
    assert score.cross_camera.idf1 == pytest.approx(0.5)


def test_one_identity_for_two_people_costs() -> None:
    def two_people(camera_id: str, captured_at: float) -> Tracks:
        return seen([1] if camera_id == "gate" else [2])

    score = score_site(walk_past_two_cameras(), two_people, {GATE: GlobalId(7), HALL: GlobalId(7)})
    assert score.cross_camera.idf1 == pytest.approx(0.5)


def test_the_same_identity_twice_in_one_frame_is_a_false_box() -> None:
    boxes = np.array([[10, 10, 50, 90], [300, 10, 340, 90]], np.float32)
    frames = [LoggedFrame("gate", "b", float(t), seen([4, 5], boxes)) for t in range(FRAMES)]
    score = score_site(frames, one_person, {GATE: GlobalId(7), ("gate", "b", 5): GlobalId(7)})
    assert score.cross_camera.false_positives == FRAMES
    assert score.cross_camera.idf1 == pytest.approx(2 * FRAMES / (FRAMES + 2 * FRAMES))


def test_who_comes_back_is_a_new_track_by_rights_but_the_same_person() -> None:
    early = [LoggedFrame("gate", "b", float(t), seen([4])) for t in range(FRAMES)]
    late = [LoggedFrame("gate", "b", 60.0 + t, seen([5])) for t in range(FRAMES)]
    score = score_site([*early, *late], one_person, {GATE: GlobalId(7), ("gate", "b", 5): GlobalId(8)})
    assert score.tracking.idf1 == 1.0
    assert score.cross_camera.idf1 == pytest.approx(0.5)
