"""Certain truth inside a camera: what counts as right and wrong, and what counts as neither."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reid_models.track_scores import TrackedCrops, score_tracks


def crops(*rows: tuple[int, int, float, float]) -> TrackedCrops:
    """Camera, track, beginning and end of the track, for each crop."""
    columns = np.array(rows, np.float64)
    return TrackedCrops(columns[:, 0].astype(np.int64), columns[:, 1].astype(np.int64), columns[:, 2], columns[:, 3])


def axes(*numbers: int) -> np.ndarray:
    return np.eye(4, dtype=np.float32)[list(numbers)]


def test_a_model_that_tells_simultaneous_people_apart_scores_one_and_one_that_mixes_them_up_less() -> None:
    seen = crops((0, 1, 0, 5), (0, 1, 0, 5), (0, 2, 3, 8), (0, 2, 3, 8))
    right = score_tracks(axes(0, 0, 1, 1), seen)
    assert right is not None and (right.mean_average_precision, right.queries) == (1.0, 4)
    wrong = score_tracks(axes(0, 1, 0, 1), seen)
    # The other person's crop of the same look always comes first; the second of equal ones in two cases of four.
    assert wrong is not None and wrong.mean_average_precision == pytest.approx((1 / 2 + 1 / 3) / 2)


@pytest.mark.parametrize(
    "seen",
    [
        crops((0, 1, 0, 5), (0, 1, 0, 5), (0, 2, 6, 8), (0, 2, 6, 8)),  # one after the other: may be one person
        crops((0, 1, 0, 5), (0, 1, 0, 5), (1, 2, 0, 5), (1, 2, 0, 5)),  # in two cameras: may be one person
        crops((0, 1, 0, 5), (0, 2, 0, 5), (0, 3, 0, 5), (0, 4, 0, 5)),  # nobody is seen twice
    ],
)
def test_what_is_not_certain_is_not_asked(seen: TrackedCrops) -> None:
    assert score_tracks(axes(0, 0, 1, 1), seen) is None


@given(st.integers(0, 2**32 - 1))
def test_the_order_of_the_crops_does_not_matter(seed: int) -> None:
    rng = np.random.default_rng(seed)
    tracks = rng.integers(0, 6, 24)
    begins = np.array([0.0, 1.0, 2.0, 7.0, 8.0, 9.0])[tracks]
    seen = crops(*zip(tracks % 2, tracks, begins, begins + 3.0, strict=True))
    vectors = rng.standard_normal((24, 4)).astype(np.float32)
    order = rng.permutation(24)
    mixed = TrackedCrops(seen.cameras[order], seen.tracks[order], seen.started_at[order], seen.ended_at[order])
    one, other = score_tracks(vectors, seen), score_tracks(vectors[order], mixed)
    assert (one is None) == (other is None)
    if one is not None and other is not None:
        assert one.mean_average_precision == pytest.approx(other.mean_average_precision)
