"""When tracks are cut, and which crops are sent."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest

from pipeline.camera.tracklets import TrackletConfig, TrackletCutter, sharpness, visibilities
from pipeline.contracts import CameraId, EarlierBox, Frame, Image, TrackletCrops, Tracks

FPS = 10
LATE_S = 0.7  # from the camera to the cutter
CONFIG = TrackletConfig()


def picture(seed: int = 0) -> Image:
    return np.random.default_rng(seed).integers(0, 255, (240, 320, 3), np.uint8)


def frame(index: int, image: Image | None = None) -> Frame:
    return Frame(CameraId("yard"), picture() if image is None else image, index / FPS, index)


def tracks(*rows: tuple[int, float, float, float, float]) -> Tracks:
    table = np.array(rows, np.float64).reshape(-1, 5)
    return Tracks(table[:, 0].astype(np.int64), table[:, 1:].astype(np.float32), np.full(len(table), 0.9, np.float32))


def observed(cutter: TrackletCutter, seen: Frame, people: Tracks) -> list[TrackletCrops]:
    """The frame reaches the cutter a while after it was taken."""
    return cutter.observe(seen, people, seen.captured_at + LATE_S)


def run(seconds: float, config: TrackletConfig = CONFIG) -> list[TrackletCrops]:
    """One person who stands in the picture for so long, then an empty picture, then the end."""
    cutter = TrackletCutter(CameraId("yard"), "b1", config)
    frames = int(seconds * FPS)
    pieces = [piece for i in range(frames) for piece in observed(cutter, frame(i), tracks((7, 100, 50, 150, 200)))]
    pieces += [piece for i in range(frames, frames + 30) for piece in observed(cutter, frame(i), Tracks.none())]
    return pieces + cutter.finish((frames + 30) / FPS + LATE_S)


def test_the_first_piece_comes_after_about_a_second_and_others_every_few() -> None:
    pieces = run(12)
    assert [piece.sequence for piece in pieces] == list(range(len(pieces)))
    assert pieces[0].ended_at == pytest.approx(CONFIG.first_cut_after_s, abs=0.2)
    assert pieces[1].ended_at - pieces[1].started_at == pytest.approx(CONFIG.cut_every_s, abs=0.2)
    assert [piece.is_last for piece in pieces] == [False] * (len(pieces) - 1) + [True]
    assert sum(piece.detections for piece in pieces) == 120


def test_every_piece_says_when_it_was_sent_and_not_when_it_was_seen() -> None:
    *earlier, last = run(12)
    assert [piece.sent_at - piece.ended_at for piece in earlier] == pytest.approx([LATE_S] * len(earlier))
    assert last.sent_at == pytest.approx(last.ended_at + CONFIG.ends_after_s + LATE_S, abs=0.2)


def test_what_is_cut_does_not_depend_on_when_it_is_sent() -> None:
    pieces = []
    for now in (0.0, 1e9):
        cutter = TrackletCutter(CameraId("yard"), "b1")
        found = [p for i in range(60) for p in cutter.observe(frame(i), tracks((7, 100, 50, 150, 200)), now)]
        assert [piece.sent_at for piece in found] == [now] * len(found)
        pieces.append([piece.model_copy(update={"sent_at": 0.0}) for piece in found + cutter.finish(now)])
    assert pieces[0] == pieces[1]


def test_the_same_frames_give_the_same_bytes() -> None:
    assert run(6) == run(6)


def test_a_tracklet_begins_where_its_track_began_and_waits_for_crops_as_long_as_ever() -> None:
    cutter, person = TrackletCutter(CameraId("yard"), "b1"), tracks((7, 100, 50, 150, 200))
    before = tuple(EarlierBox(second, 7, person.boxes[0], 0.3) for second in (0.9, 0.5))
    pieces = observed(cutter, frame(FPS), replace(person, earlier=before))
    pieces += [piece for i in range(FPS + 1, 3 * FPS) for piece in observed(cutter, frame(i), person)]
    assert (pieces[0].started_at, pieces[0].detections) == (0.5, 13)
    assert pieces[0].ended_at == pytest.approx(1.0 + CONFIG.first_cut_after_s)


def test_earlier_boxes_alone_make_no_tracklet_of_noise() -> None:
    cutter, person = TrackletCutter(CameraId("yard"), "b1"), tracks((7, 100, 50, 150, 200))
    before = tuple(EarlierBox(second, 7, person.boxes[0], 0.3) for second in (0.9, 0.7, 0.5))
    assert not observed(cutter, frame(FPS), replace(person, earlier=before))
    assert not cutter.finish(2.0)


def test_two_detections_are_noise() -> None:
    assert run(0.2) == []


def test_a_short_visit_is_sent_when_it_ends() -> None:
    (piece,) = run(0.6)
    assert piece.is_last
    assert piece.detections == 6


def test_people_too_small_to_recognise_are_not_sent() -> None:
    cutter = TrackletCutter(CameraId("yard"), "b1")
    low = CONFIG.min_height_px - 1
    assert not [p for i in range(30) for p in observed(cutter, frame(i), tracks((7, 100, 50, 110, 50 + low)))]
    assert cutter.finish(3.0) == []


def test_crops_are_bounded_in_number_and_height_and_are_pictures_of_the_box() -> None:
    config = TrackletConfig(max_height_px=64)
    for piece in run(9, config):
        assert 1 <= len(piece.crops) <= config.crops_per_tracklet
        for crop in piece.crops:
            image = cv2.imdecode(np.frombuffer(crop.jpeg, np.uint8), cv2.IMREAD_COLOR)
            assert image is not None
            assert image.shape[0] <= 64
            assert crop.box_px == (100, 50, 150, 200)


def test_no_more_candidates_are_held_than_configured() -> None:
    config = TrackletConfig(first_cut_after_s=1000.0, candidates=5)
    cutter = TrackletCutter(CameraId("yard"), "b1", config)
    for index in range(80):
        observed(cutter, frame(index, picture(index)), tracks((7, 100, 50, 150, 200), (8, 10, 10, 60, 160)))
        assert all(len(piece.candidates) <= 5 for piece in cutter._pieces.values())


def test_ended_tracks_are_forgotten() -> None:
    config = TrackletConfig(forgotten_after_s=4.0)
    cutter = TrackletCutter(CameraId("yard"), "b1", config)
    for index in range(200):
        observed(cutter, frame(index), tracks((index, 100, 50, 150, 200)))
    assert len(cutter._pieces) <= config.forgotten_after_s * FPS + 2
    assert sum(bool(piece.candidates) for piece in cutter._pieces.values()) <= config.ends_after_s * FPS + 2


def test_a_track_that_is_found_again_goes_on_counting_its_pieces() -> None:
    cutter = TrackletCutter(CameraId("yard"), "b1")
    person = tracks((7, 100, 50, 150, 200))
    hidden = range(20, 40)  # longer than a track may be silent, shorter than a tracker looks for it
    names = [
        piece.tracklet_id
        for i in range(60)
        for piece in observed(cutter, frame(i), Tracks.none() if i in hidden else person)
    ] + [piece.tracklet_id for piece in cutter.finish(6.0)]
    assert names == [f"yard/b1/7/{sequence}" for sequence in range(3)]


def test_sharp_crops_come_before_blurred_ones() -> None:
    cutter = TrackletCutter(CameraId("yard"), "b1", TrackletConfig(crops_per_tracklet=2))
    blurred = cv2.GaussianBlur(picture(), (0, 0), 6).astype(np.uint8)
    sharp_at = {0.2, 0.8}
    pieces = []
    for index in range(20):
        image = picture() if index / FPS in sharp_at else blurred
        pieces += observed(cutter, frame(index, image), tracks((7, 100, 50, 150, 200)))
    assert {crop.captured_at for crop in pieces[0].crops} == sharp_at
    assert sharpness(picture()) > sharpness(blurred)


def test_crops_are_spread_in_time() -> None:
    (first, *_) = run(6, TrackletConfig(first_cut_after_s=4.0))
    times = sorted(crop.captured_at for crop in first.crops)
    assert min(np.diff(times)) >= CONFIG.spread_s - 1e-9


def test_visibility_is_lost_outside_the_picture_and_behind_nearer_people() -> None:
    boxes = np.array([[0, 0, 40, 100], [20, 20, 60, 120], [300, 100, 340, 200]], np.float32)
    share = visibilities(boxes, width_px=320, height_px=240)
    assert share == pytest.approx([1 - 20 * 80 / 4000, 1.0, 0.5])


def test_a_box_outside_the_picture_gives_no_crop() -> None:
    cutter = TrackletCutter(CameraId("yard"), "b1")
    for index in range(20):
        assert observed(cutter, frame(index), tracks((7, 400, 50, 450, 200))) == []
    assert cutter.finish(2.0) == []
