"""The simulated site against its own truth."""

from __future__ import annotations

import itertools
import json
import math
import re
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.adapters.simulation.crops import write_reid_dataset
from pipeline.adapters.simulation.figure import gait_phase, pose
from pipeline.adapters.simulation.people import LOWER_COLOURS, UPPER_COLOURS, Lower, population
from pipeline.adapters.simulation.site import SimulatedSite
from pipeline.adapters.simulation.truth import (
    frame_times,
    identify,
    identify_tracklet,
    iou,
    transits,
    true_boxes,
    true_tracks,
)
from pipeline.adapters.simulation.videos import write_videos
from pipeline.adapters.simulation.words import describe, true_queries
from pipeline.errors import ConfigurationError

SITE = SimulatedSite(seed=5, cameras=3, people=20)
MOMENTS = [(camera, time_s) for camera in range(3) for time_s in (3.0, 17.5, 41.3, 60.0, 1000.7)]
seeds = st.integers(0, 10**6)


# --- people and words ------------------------------


@given(seeds)
@settings(max_examples=25, deadline=None)
def test_the_attributes_speak_the_vocabulary_of_market1501(seed: int) -> None:
    for person in population(seed, 12):
        coded = person.attributes
        assert len(coded) == 27
        assert coded["age"] in (1, 2, 3, 4)
        assert {value for name, value in coded.items() if name != "age"} <= {1, 2}
        assert sum(coded[f"up{colour}"] == 2 for colour in UPPER_COLOURS) == 1
        assert sum(coded[f"down{colour}"] == 2 for colour in LOWER_COLOURS) == 1
        assert (coded["clothes"] == 1) <= (coded["down"] == 2)


def test_people_of_a_small_site_differ_in_the_colours_of_their_clothes() -> None:
    people = population(11, 30)
    assert len({(person.upper_colour, person.lower_colour) for person in people}) == 30


@given(seeds, seeds)
@settings(max_examples=25, deadline=None)
def test_a_description_tells_what_the_attributes_say(seed: int, wording: int) -> None:
    for person in population(seed, 8):
        words = re.findall(r"[a-z]+", describe(person, np.random.default_rng(wording)).lower())
        assert person.upper_colour in words
        assert person.lower_colour in words
        assert bool({"woman", "lady", "female", "girl"} & set(words)) == (person.attributes["gender"] == 2)
        for thing in ("backpack", "handbag", "hat"):
            assert (thing in words) == (person.attributes[thing] == 2)
        assert ("bag" in words) == (person.attributes["bag"] == 2)
        assert bool({"dress", "skirt"} & set(words)) == (person.attributes["clothes"] == 1)


def test_what_cannot_be_seen_is_not_told() -> None:
    carriers = [person for person in population(1, 40) if person.attributes["backpack"] == 2]
    told = [describe(person, np.random.default_rng(0), carried_is_visible=False) for person in carriers]
    assert carriers
    assert not [sentence for sentence in told if "backpack" in sentence]


@given(seeds)
@settings(max_examples=10, deadline=None)
def test_a_query_holds_for_everybody_with_these_attributes_and_nobody_else(seed: int) -> None:
    people = population(seed, 60)
    for query in true_queries(people):
        said = set(re.findall(r"[a-z-]+", query.sentence))
        garment = {"t-shirt": "t-shirt", "long sleeved shirt": "shirt", "jacket": "jacket", "coat": "coat"}
        for person in people:
            holds = {"man", "woman"} & said == {person.gender.value}
            upper, _, rest = query.sentence.removeprefix(f"a {person.gender.value} in a ").partition(" and ")
            upper, lower = upper.partition(" with ")[0], rest.partition(" with ")[0].removeprefix("a ")
            if person.lower is Lower.DRESS:
                holds &= upper in (
                    f"{person.upper_colour} dress",
                    *_worn(person.upper_colour, person.upper.value, garment),
                )
            else:
                holds &= upper in _worn(person.upper_colour, person.upper.value, garment)
            holds &= lower in ("", f"{person.lower_colour} {person.lower.value}")
            carried = {"backpack", "bag", "handbag"} & said
            holds &= not carried or carried == {person.carried.value}
            assert holds == (person.person_id in query.person_ids), query.sentence


def _worn(colour: str, kind: str, garment: dict[str, str]) -> list[str]:
    return [f"{colour} {words}" for words, meant in garment.items() if meant == kind]


# --- figure ------------------------------


@given(seeds, st.floats(0, 50))
@settings(max_examples=25, deadline=None)
def test_a_figure_stands_on_the_ground_and_is_as_tall_as_its_person(seed: int, walked_m: float) -> None:
    person = population(seed, 1)[0]
    balls = pose(person, gait_phase(person, walked_m)).balls
    assert (balls[:, 2] - balls[:, 3]).min() == pytest.approx(0, abs=0.02)
    assert (balls[:, 2] + balls[:, 3]).max() == pytest.approx(person.height_m, rel=0.09)


# --- truth and picture ------------------------------


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


def test_every_box_lies_in_the_picture_with_a_visibility_that_nearer_people_lower() -> None:
    shares = []
    for camera, time_s in MOMENTS:
        boxes = true_boxes(SITE, camera, time_s)
        for number, box in enumerate(boxes):
            x1, y1, x2, y2 = box.box_px
            assert 0 <= x1 < x2 <= 640
            assert 0 <= y1 < y2 <= 360
            assert 0 <= box.visibility <= 1
            is_free = all(
                iou(np.array([box.box_px]), np.array([near.full_box_px])) == 0 for near in boxes[number + 1 :]
            )
            assert (box.visibility == 1) == (is_free and box.box_px == box.full_box_px) or box.visibility > 0.9
            shares.append(box.visibility)
    assert min(shares) < 0.9 < max(shares)


def test_two_instances_agree_on_any_moment_in_any_order() -> None:
    other = SimulatedSite(seed=5, cameras=3, people=20)
    for camera, time_s in reversed(MOMENTS):
        assert true_boxes(other, camera, time_s) == true_boxes(SITE, camera, time_s)
    camera, time_s = MOMENTS[-1]
    assert np.array_equal(other.render(camera, time_s), SITE.render(camera, time_s))


def test_another_seed_is_another_site() -> None:
    other = SimulatedSite(seed=6, cameras=3, people=20)
    assert other.people != SITE.people
    assert other.views != SITE.views


def test_a_site_runs_for_ever() -> None:
    year_s = 365 * 86_400.0
    assert any(true_boxes(SITE, camera, year_s + t) for camera in range(3) for t in (0.0, 10.0, 20.0))


@pytest.mark.parametrize("wrong", [{"cameras": 0}, {"cameras": 9}, {"people": 0}, {"seed": -1}])
def test_an_impossible_site_is_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(ConfigurationError, match="expected"):
        SimulatedSite(**({"seed": 1} | wrong))


# --- walking ------------------------------


@given(seeds)
@settings(max_examples=10, deadline=None)
def test_nobody_is_in_two_places_and_every_transit_is_a_walk(seed: int) -> None:
    site = SimulatedSite(seed, 4, 6)
    visits = sorted(site.visits(0.0, 400.0), key=lambda visit: (visit.person_id, visit.started_s))
    for before, after in itertools.pairwise(visits):
        if before.person_id == after.person_id:
            assert after.started_s > before.ended_s
    for transit in transits(site, 0.0, 400.0):
        walked_m = site.walk_m(transit.origin, transit.destination)
        assert transit.transit_s >= 0.9 * walked_m / site.person(transit.person_id).speed_m_s


def test_a_walk_has_the_speed_of_its_person() -> None:
    for visit in SITE.visits(0.0, 60.0):
        middle_s = (visit.started_s + visit.ended_s) / 2
        (ax, ay), _, _ = visit.at(middle_s)
        (bx, by), _, _ = visit.at(middle_s + 0.2)
        speed = math.hypot(bx - ax, by - ay) / 0.2
        assert speed == pytest.approx(SITE.person(visit.person_id).speed_m_s, rel=0.1)


def test_a_track_follows_one_visit() -> None:
    visits = {(visit.person_id, visit.camera): visit for visit in SITE.visits(0.0, 30.0)}
    tracks = true_tracks(SITE, 0.0, 30.0, fps=2.0)
    assert tracks
    for track in tracks:
        assert (track.person_id, track.camera) in visits
        assert np.allclose(np.diff(track.times_s), 0.5)


# --- who is it? ------------------------------


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


# --- files ------------------------------


def test_crops_have_the_layout_of_market1501(tmp_path: Path) -> None:
    shares: list[float] = []
    count = write_reid_dataset(tmp_path, (21, 22), 5, cameras=2, first_identity=301, progress=shares.append)
    folders = {
        name: sorted((tmp_path / name).iterdir()) for name in ("bounding_box_train", "query", "bounding_box_test")
    }
    assert count == sum(map(len, folders.values()))
    captions = json.loads((tmp_path / "captions.json").read_text())
    attributes = json.loads((tmp_path / "attributes.json").read_text())
    assert sorted(attributes) == [f"{identity:04d}" for identity in range(301, 311)]
    assert {entry["image"] for entry in captions} == {path.name for paths in folders.values() for path in paths}
    assert {tuple(entry) for entry in captions} == {("image", "identity", "split", "same_frame_images", "captions")}
    for folder, paths in folders.items():
        for path in paths:
            identity, sequence = re.fullmatch(r"(\d{4})_c[12]s([12])_\d{6}_\d{2}\.jpg", path.name).groups()
            assert (int(identity) - 301) // 5 + 1 == int(sequence)
            assert attributes[identity]["split"] == ("train" if folder == "bounding_box_train" else "val")
            assert cv2.imread(str(path)).shape == (128, 64, 3)
    queries = [path.name[:7] for path in folders["query"]]
    assert len(queries) == len(set(queries)) > 0
    assert shares == sorted(shares)
    assert shares[-1] == 1.0


def test_more_seeds_than_file_names_can_hold_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="one digit"):
        write_reid_dataset(tmp_path, range(10), 5)


def test_videos_come_with_their_truth(tmp_path: Path) -> None:
    import av

    site = SimulatedSite(5, cameras=2, people=8, size_px=(320, 180))
    videos = write_videos(site, tmp_path, 2.0, fps=10, since_s=7.0)
    assert [video.name for video in videos] == ["camera0.mp4", "camera1.mp4"]
    for camera, video in enumerate(videos):
        with av.open(str(video)) as container:
            pictures = [picture.to_ndarray(format="rgb24") for picture in container.decode(video=0)]
        assert len(pictures) == 20
        assert np.abs(pictures[5].astype(int) - site.render(camera, 7.5)).mean() < 12
        lines = (tmp_path / f"gt_camera{camera}.txt").read_text().splitlines()
        rows = np.array([[float(field) for field in line.split(",")] for line in lines]).reshape(-1, 9)
        assert rows[:, 0].min(initial=1) >= 1
        assert rows[:, 0].max(initial=1) <= 20
        assert len({(row[0], row[1]) for row in rows}) == len(rows)
        at_five = {int(row[1]): row[2:6] for row in rows if row[0] == 6}
        assert at_five.keys() == {box.person_id for box in true_boxes(site, camera, 7.5)}
    account = json.loads((tmp_path / "people.json").read_text())
    assert [person["person_id"] for person in account["people"]] == list(range(1, 9))
    assert all(query["person_ids"] for query in account["queries"])
