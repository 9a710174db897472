"""People cut out of scenes and crops, and put into pictures."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from reid_models.detection.cutouts import Cutout, cut_out, cut_out_of_crop, people_of
from reid_models.detection.pasting import no_person, paste, posed
from reid_models.detection.scenes import NOBODY, Scene
from tests.detection_figures import FIGURE_PX, draw_figure, figure, ground, walk


def test_a_walker_is_cut_out_whole() -> None:
    found = list(people_of(walk(), every=5))
    assert len(found) >= 6
    for person in found:
        height, width = person.cover.shape
        assert abs(height - FIGURE_PX[1]) <= 6
        assert abs(width - FIGURE_PX[0]) <= 10
        assert person.image.shape == (height, width, 3)


def test_nobody_is_cut_out_where_the_picture_equals_the_background() -> None:
    empty = ground(np.random.default_rng(1))
    assert cut_out(empty, ground(np.random.default_rng(2)), np.array([10, 10, 40, 100], np.float32)) is None


def test_half_a_person_is_not_cut_out() -> None:
    empty, image = ground(np.random.default_rng(1)), ground(np.random.default_rng(2))
    left, top, right, bottom = draw_figure(image, 60, 40)
    image[int(top) + 36 :] = empty[int(top) + 36 :]
    assert cut_out(image, empty, np.array([left, top, right, bottom], np.float32)) is None


def test_people_who_touch_one_another_are_left_in_the_picture() -> None:
    scene = walk(10)
    twice = tuple(np.concatenate([boxes, boxes + np.float32(6)]) for boxes in scene.people)
    assert not list(people_of(Scene("yard", scene.frames, twice, (NOBODY,) * 10)))


def test_a_crop_gives_a_person_with_head_and_feet() -> None:
    crop = ground(np.random.default_rng(3), 128, 64)
    crop[10:120, 20:44] = figure().image.repeat(2, axis=0)[:110, :24]
    cover = cut_out_of_crop(crop).cover
    assert cover.shape == (128, 64)
    assert cover[6:20, 28:36].all()
    assert cover[115:122, 28:36].all()
    assert not cover[:, 0].any()


@given(st.floats(8, 150), st.floats(-20, 260), st.floats(0, 200), st.integers(0, 1000))
def test_only_within_its_box_a_pasted_person_changes_the_picture(
    height_px: float, x: float, y: float, seed: int
) -> None:
    before = ground(np.random.default_rng(0))
    image = before.copy()
    left, top, right, bottom = paste(image, figure(), height_px, (x, y), np.random.default_rng(seed))
    changed = np.abs(image.astype(int) - before).max(axis=2) > 4
    changed[max(int(top), 0) : max(int(bottom), 0), max(int(left), 0) : max(int(right), 0)] = False
    assert not changed.any()
    assert abs((bottom - top) - height_px) <= 1


@given(st.integers(0, 200))
def test_a_posed_person_keeps_height_and_cover(seed: int) -> None:
    found = posed(figure(), np.random.default_rng(seed))
    assert found.cover.shape == found.image.shape[:2]
    assert found.cover.shape[0] == FIGURE_PX[1]
    assert found.cover.max() == 255


@given(st.integers(0, 200))
def test_what_is_no_person_shows_nothing_of_one(seed: int) -> None:
    texture = ground(np.random.default_rng(0), 40, 30)
    person = figure()
    stranger = Cutout(np.zeros_like(person.image), person.cover)
    thing, other = (no_person(who, texture, np.random.default_rng(seed)) for who in (person, stranger))
    assert thing.cover.shape == thing.image.shape[:2]
    assert thing.cover.max() == 255
    np.testing.assert_array_equal(thing.image, other.image)
