"""What is done to training pictures keeps boxes on their people."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from reid_models.detection.pictures import Picture, hidden_share, mirrored, mosaic, window
from reid_models.detection.scenes import NOBODY

HEIGHT, WIDTH = 120, 160
RED = np.array((255, 0, 0), np.uint8)


@st.composite
def one_person(draw: st.DrawFn) -> Picture:
    """A red rectangle, 16 to 60 px, on black, and its box."""
    width, height = draw(st.integers(16, 60)), draw(st.integers(16, 60))
    left, top = draw(st.integers(0, WIDTH - width)), draw(st.integers(0, HEIGHT - height))
    return picture_of((left, top, left + width, top + height))


def picture_of(box: tuple[int, int, int, int]) -> Picture:
    image = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    image[box[1] : box[3], box[0] : box[2]] = RED
    return Picture(image, np.array([box], np.float32), NOBODY)


def red_box(picture: Picture) -> np.ndarray:
    rows, columns = np.nonzero(picture.image[..., 0].astype(int) - picture.image[..., 1] > 120)
    return np.array([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1])


@given(one_person())
def test_a_mirrored_box_lies_on_the_mirrored_person(picture: Picture) -> None:
    np.testing.assert_allclose(mirrored(picture).people[0], red_box(mirrored(picture)))
    np.testing.assert_array_equal(mirrored(mirrored(picture)).image, picture.image)


@given(one_person(), st.floats(0.4, 2.5), st.floats(-30, 60), st.floats(-30, 60))
def test_a_window_moves_the_box_with_the_person(picture: Picture, scale: float, left: float, top: float) -> None:
    seen = window(picture, scale, (left, top), (HEIGHT, WIDTH))
    for box in seen.people:
        np.testing.assert_allclose(box, red_box(seen), atol=2.5)
        assert (box >= 0).all()
        assert (box <= [WIDTH, HEIGHT, WIDTH, HEIGHT]).all()


def test_a_person_mostly_outside_the_window_is_doubtful() -> None:
    picture = picture_of((40, 20, 60, 100))
    seen = window(picture, 1.0, (55.0, 0.0), (HEIGHT, WIDTH))
    assert len(seen.people) == 0
    np.testing.assert_allclose(seen.doubtful, [[0, 20, 5, 100]])


def test_a_person_of_few_pixels_is_doubtful() -> None:
    seen = window(picture_of((40, 20, 60, 100)), 0.09, (0.0, 0.0), (HEIGHT, WIDTH))
    assert len(seen.people) == 0
    assert len(seen.doubtful) == 1


def test_beyond_the_picture_a_window_is_grey() -> None:
    seen = window(picture_of((40, 20, 60, 100)), 1.0, (-20.0, 0.0), (HEIGHT, WIDTH))
    assert (seen.image[:, :19] == 114).all()


def test_a_mosaic_keeps_all_boxes_in_their_quarters() -> None:
    parts = [picture_of((40, 20, 60, 100)) for _ in range(4)]
    whole = mosaic(parts)
    assert whole.image.shape == (2 * HEIGHT, 2 * WIDTH, 3)
    for box in whole.people.astype(int):
        assert (whole.image[box[1] : box[3], box[0] : box[2]] == RED).all()
    assert len(np.unique(whole.people, axis=0)) == 4


def test_the_hidden_share_counts_the_nearer_box_that_hides_most() -> None:
    box = np.array([[0, 0, 10, 10]], np.float32)
    nearer = np.array([[0, 0, 10, 3], [0, 4, 10, 20]], np.float32)
    np.testing.assert_allclose(hidden_share(box, nearer), [0.6])
    np.testing.assert_allclose(hidden_share(box, NOBODY), [0])
