"""The truth about a picture, and whose box a box is."""

from __future__ import annotations

import itertools

import cv2
import numpy as np
import pytest

from pipeline.adapters.simulation.site import SimulatedSite
from pipeline.adapters.simulation.truth import (
    frame_times,
    identify,
    identify_tracklet,
    iou,
    true_boxes,
    true_tracks,
)

SITE = SimulatedSite(seed=5, cameras=3, people=20)
MOMENTS = [(camera, time_s) for camera in range(3) for time_s in (3.0, 17.5, 41.3, 60.0, 1000.7)]
CROWD = SimulatedSite(seed=5, cameras=2, people=60)


@pytest.mark.parametrize(("camera", "time_s"), MOMENTS)
def test_a_picture_differs_from_the_empty_scene_only_where_the_truth_has_people(camera: int, time_s: float) -> None:
    view = SITE.views[camera]
    difference = np.abs(SITE.render(camera, time_s).astype(int) - SITE.background(camera)).max(axis=2)
    changed = cv2.medianBlur((difference > 8 * view.noise + 6).astype(np.uint8), 5)
    for box in true_boxes(SITE, camera, time_s):
        x1, y1, x2, y2 = box.box_px
        # A shadow lies around the feet.
        margin, tail = 2 + 0.25 * (box.full_box_px[3] - box.full_box_px[1]), 0.12 * (y2 - y1)
        changed[max(0, int(y2 - 2 * tail)) : int(y2 + tail) + 2, max(0, int(x1 - margin)) : int(x2 + margin) + 2] = 0
        changed[max(0, int(y1) - 2) : int(y2) + 2, max(0, int(x1) - 2) : int(x2) + 2] = 0
    assert changed.sum() == 0


def test_a_true_box_fits_its_person_tightly() -> None:
    alone = [
        (camera, time_s, boxes[0])
        for camera in range(3)
        for time_s in frame_times(0.0, 84.0, 1.0)
        if len(boxes := true_boxes(SITE, camera, time_s)) == 1 and boxes[0].visibility == 1
    ]
    assert len(alone) >= 5
    overlaps = []
    for camera, time_s, box in alone:
        difference = np.abs(SITE.render(camera, time_s).astype(int) - SITE.background(camera)).max(axis=2)
        rows, columns = np.nonzero(cv2.medianBlur((difference > 40).astype(np.uint8), 3))
        seen = np.array([[columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]], np.float64)
        overlaps.append(float(iou(seen, np.array([box.box_px]))[0, 0]))
    assert np.median(overlaps) > 0.85


def test_every_box_lies_in_the_picture_and_is_visible_by_a_share_of_itself() -> None:
    for camera, time_s in MOMENTS:
        for box in true_boxes(SITE, camera, time_s):
            x1, y1, x2, y2 = box.box_px
            assert 0 <= x1 < x2 <= 640
            assert 0 <= y1 < y2 <= 360
            assert 0 <= box.visibility <= 1


def test_the_visible_share_falls_at_the_border_and_behind_nearer_people() -> None:
    boxes = [true_boxes(CROWD, camera, time_s) for camera in range(2) for time_s in np.arange(0.0, 30.0, 1.5)]
    cut = [box for people in boxes for box in people if box.box_px != box.full_box_px]
    covered = [
        far
        for people in boxes
        for far, near in itertools.combinations(people, 2)
        if iou(np.array([far.full_box_px]), np.array([near.full_box_px])) > 0.4
    ]
    nearest = [people[-1] for people in boxes if people and people[-1].box_px == people[-1].full_box_px]
    assert cut
    assert covered
    assert all(box.visibility < 0.75 for box in covered)
    assert all(box.visibility == 1 for box in nearest)
    for box in cut:
        inside, whole = (np.prod(np.subtract(px[2:], px[:2])) for px in (box.box_px, box.full_box_px))
        assert box.visibility <= inside / whole + 0.1


def test_slightly_wrong_boxes_get_the_right_identity_and_others_none() -> None:
    for camera, time_s in MOMENTS:
        truth = [box for box in true_boxes(SITE, camera, time_s) if box.visibility > 0.9]
        boxes = np.array([box.box_px for box in truth] + [(0.0, 0.0, 8.0, 8.0)]).reshape(-1, 4) + 1.0
        assert identify(SITE, camera, time_s, boxes) == [*(box.person_id for box in truth), None]


def test_two_boxes_on_one_person_give_one_identity() -> None:
    camera, time_s = next((c, t) for c, t in MOMENTS if len(true_boxes(SITE, c, t)) == 1)
    box = true_boxes(SITE, camera, time_s)[0]
    found = identify(SITE, camera, time_s, np.array([np.array(box.box_px) + 3, box.box_px]))
    assert found == [None, box.person_id]


def test_a_tracklet_is_the_person_of_most_of_its_boxes() -> None:
    track = max(true_tracks(SITE, 0.0, 20.0, fps=2.0), key=lambda track: len(track.times_s))
    right = [(time_s, box.box_px) for time_s, box in zip(track.times_s, track.boxes, strict=True)]
    wrong = [(time_s, (0.0, 0.0, 5.0, 5.0)) for time_s in track.times_s[:2]]
    assert identify_tracklet(SITE, track.camera, right + wrong) == track.person_id
    assert identify_tracklet(SITE, track.camera, wrong) is None
    assert identify_tracklet(SITE, track.camera, []) is None
