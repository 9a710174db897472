"""Routes as pages draw them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.contracts import BlobKey, CameraId, GlobalId, TrackletId
from pipeline.kept import Sighting
from pipeline.search.people import Person
from services.api.journeys import LANE_WIDTH, MOST_DRAWN, camera_map, gaps_s, lanes, portraits


def stay(camera: str, started_at: float, lasted_s: float = 10.0, *crops: str) -> Sighting:
    keys = tuple(BlobKey(crop) for crop in crops)
    return Sighting(CameraId(camera), started_at, started_at + lasted_s, (TrackletId(f"{camera}/b/1/0"),), keys)


def person(route: list[Sighting], *crops: str) -> Person:
    keys = tuple(BlobKey(crop) for crop in crops)
    return Person(GlobalId(1), route[0].started_at, max(each.ended_at for each in route), tuple(route), keys)


routes = st.lists(
    st.builds(stay, st.sampled_from("abcdefghijkl"), st.floats(0, 1e6), st.floats(0, 1e5)), min_size=1, max_size=20
).map(lambda route: sorted(route, key=lambda each: each.started_at))


@given(routes)
def test_every_stay_is_a_bar_inside_its_lane(route: list[Sighting]) -> None:
    drawn = lanes(route)
    assert [lane.camera_id for lane in drawn] == list(dict.fromkeys(each.camera_id for each in route))
    bars = [bar for lane in drawn for bar in lane.bars]
    assert sorted(bar.stay.started_at for bar in bars) == sorted(each.started_at for each in route)
    assert all(bar.x >= 0 and bar.width > 0 and bar.x + bar.width <= LANE_WIDTH + 0.1 for bar in bars)


def test_a_lane_is_to_the_scale_of_the_time() -> None:
    gate, hall = lanes([stay("gate", 0.0), stay("hall", 50.0, 20.0), stay("gate", 90.0)])
    assert [(bar.x, bar.width) for bar in gate.bars] == [(0.0, 100.0), (900.0, 100.0)]
    assert [(bar.x, bar.width) for bar in hall.bars] == [(500.0, 200.0)]


def test_gaps_tell_what_lies_between_stays_and_where_they_overlap() -> None:
    assert gaps_s([stay("gate", 0.0), stay("hall", 12.5), stay("gate", 20.0)]) == [2.5, -2.5]


@given(routes)
def test_everything_on_the_map_lies_inside_it(route: list[Sighting]) -> None:
    drawn = camera_map(route)
    cameras = list(dict.fromkeys(each.camera_id for each in route))
    assert [node.camera_id for node in drawn.nodes] == cameras[:MOST_DRAWN]
    assert drawn.others == max(len(cameras) - MOST_DRAWN, 0)
    for arrow in drawn.arrows:
        assert drawn.left <= arrow.label_x <= drawn.left + drawn.width
        assert 0 <= arrow.label_y <= drawn.height
    for node in drawn.nodes:
        assert drawn.left <= node.x - drawn.node_width / 2 and node.y - drawn.node_height / 2 >= 0
        assert node.y + drawn.node_height / 2 <= drawn.height


def test_ways_down_are_on_the_right_and_gather_all_their_times() -> None:
    route = [stay("gate", 0.0), stay("hall", 15.0), stay("gate", 40.0), stay("hall", 58.0), stay("yard", 69.0)]
    down, up, on = camera_map([*route, stay("yard", 90.0)]).arrows
    assert (down.start, down.end, down.transits_s, down.anchor) == ("gate", "hall", (5.0, 8.0), "start")
    assert (up.start, up.end, up.transits_s, up.anchor) == ("hall", "gate", (15.0,), "end")
    assert (on.start, on.end, on.transits_s) == ("hall", "yard", (1.0,))
    assert down.label_x > 0 > up.label_x


@pytest.mark.parametrize("apart", [2, 3, 7])
def test_a_way_past_other_cameras_bows_around_the_words_between_them(apart: int) -> None:
    route = [stay(f"c{number}", 20.0 * number) for number in range(8)]
    arrows = camera_map([*route, stay("c0", 500.0), stay(f"c{apart}", 600.0)]).arrows
    straight = next(arrow for arrow in arrows if (arrow.start, arrow.end) == ("c0", "c1"))
    bow = next(arrow for arrow in arrows if (arrow.start, arrow.end) == ("c0", f"c{apart}"))
    assert bow.label_x > straight.label_x + 90 and " C " in bow.path and " V " in straight.path


def test_pictures_show_every_camera_before_a_second_one_of_any() -> None:
    route = [stay("gate", 0.0, 10.0, "a", "b"), stay("gate", 20.0, 10.0, "c"), stay("hall", 40.0, 10.0, "d", "e")]
    found = portraits(person([*route, stay("yard", 60.0)], "b", "c", "a"), 4)
    assert [(each.key, each.stay.camera_id) for each in found] == [
        ("b", "gate"),
        ("d", "hall"),
        ("c", "gate"),
        ("a", "gate"),
    ]
    assert [each.key for each in portraits(person(route, "b", "c", "a"), 1)] == ["b"]
