from __future__ import annotations

from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.adapters.stays import ShownCrop, ShownTracklet, stays
from pipeline.contracts import BlobKey, CameraId, TrackletId

GAP_S = 10.0


def piece(number: int, camera_id: str, started_at: float, length_s: float, *crops: ShownCrop) -> ShownTracklet:
    name = TrackletId(f"{camera_id}/b/{number}/0")
    return ShownTracklet(name, CameraId(camera_id), started_at, started_at + length_s, list(crops))


def crop(key: str, height_px: float, visibility: float = 1.0) -> ShownCrop:
    return ShownCrop(BlobKey(key), 10.0 * height_px * visibility)


pieces = st.lists(
    st.builds(piece, st.integers(0, 10**6), st.sampled_from(["gate", "hall"]), st.floats(0, 200), st.floats(0, 40)),
    max_size=12,
    unique_by=lambda tracklet: tracklet.tracklet_id,
)


@settings(deadline=None)
@given(pieces)
def test_every_tracklet_is_in_exactly_one_stay_at_its_own_camera(tracklets: list[ShownTracklet]) -> None:
    found = [(name, stay.camera_id) for stay in stays(tracklets, GAP_S) for name in stay.tracklet_ids]
    assert sorted(found) == sorted((tracklet.tracklet_id, tracklet.camera_id) for tracklet in tracklets)


@settings(deadline=None)
@given(pieces)
def test_stays_of_one_camera_lie_at_least_the_gap_apart(tracklets: list[ShownTracklet]) -> None:
    route = stays(tracklets, GAP_S)
    assert [stay.started_at for stay in route] == sorted(stay.started_at for stay in route)
    for camera_id in ("gate", "hall"):
        here = [stay for stay in route if stay.camera_id == camera_id]
        assert all(later.started_at - earlier.ended_at >= GAP_S for earlier, later in pairwise(here))


@settings(deadline=None)
@given(st.data(), pieces)
def test_the_order_of_arrival_does_not_matter(data: st.DataObject, tracklets: list[ShownTracklet]) -> None:
    assert stays(data.draw(st.permutations(tracklets)), GAP_S) == stays(tracklets, GAP_S)


def test_a_long_tracklet_holds_its_stay_open_over_short_ones() -> None:
    (stay,) = stays([piece(1, "gate", 0, 100), piece(2, "gate", 5, 1), piece(3, "gate", 50, 1)], GAP_S)
    assert (stay.started_at, stay.ended_at) == (0.0, 100.0)


def test_two_overlapping_cameras_are_two_stays() -> None:
    route = stays([piece(1, "gate", 0, 5), piece(2, "hall", 3, 5), piece(3, "gate", 6, 5)], GAP_S)
    assert [(stay.camera_id, len(stay.tracklet_ids)) for stay in route] == [("gate", 2), ("hall", 1)]


def test_the_best_crop_of_each_tracklet_comes_before_second_ones_the_larger_first() -> None:
    (stay,) = stays(
        [
            piece(1, "gate", 0, 1, crop("small", 20), crop("second", 200)),
            piece(2, "gate", 2, 1, crop("large", 50)),
            piece(3, "gate", 4, 1, crop("hidden", 80, visibility=0.1), crop("large", 50)),
        ]
    )
    assert stay.crop_keys == ("large", "small", "hidden", "second")
