"""When the memory says more about its site, and what."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from pipeline.contracts import F64
from pipeline.kept import GalleryRows
from pipeline.matching.learning import AT_LEAST_EVERY, FIRST_AFTER, is_due, learn
from pipeline.matching.people import People
from tests.fakes import embedding
from tests.pipeline.matching.made_site import Seen, people_with, rows, walks

WALKS = walks(60, persons=8)


@given(st.integers(0, 200_000), st.integers(0, 200_000), st.integers(0, 50_000))
def test_once_due_it_stays_due_until_it_was_learnt(learnt_at: int, tracklets: int, more: int) -> None:
    assert is_due(tracklets + more, learnt_at) or not is_due(tracklets, learnt_at)


@given(st.integers(FIRST_AFTER, 200_000))
def test_a_quarter_more_are_enough_and_fewer_where_there_are_many(learnt_at: int) -> None:
    enough = min(learnt_at // 4, AT_LEAST_EVERY)
    assert is_due(learnt_at + enough, learnt_at) and not is_due(learnt_at + enough - 1, learnt_at)


def test_the_first_few_tracklets_teach_nothing() -> None:
    assert not is_due(FIRST_AFTER - 1, 0) and is_due(FIRST_AFTER, 0)


def test_the_same_memory_teaches_the_same_to_the_last_bit_also_after_a_restart() -> None:
    people, again = people_with(WALKS, page=5), people_with(WALKS)
    first = learn(people, {}).packed()
    assert first == learn(people, {}).packed() == learn(again, {}).packed()
    for each in (people, again):
        each.calibrate(learn(each, {}))
    more = [(piece.model_copy(update={"boot_id": "b2"}), whose) for piece, whose in WALKS[:30]]
    for each in (people, again):
        each.remember(rows(more))
    assert learn(people, {}).packed() == learn(again, {}).packed() != first


def test_a_calibration_is_the_next_one_and_knows_what_it_was_learnt_of() -> None:
    people = people_with(WALKS)
    first = learn(people, {})
    assert (first.number, first.tracklets, first.cameras) == (1, len(WALKS), ("gate", "hall", "yard"))
    people.calibrate(first)
    assert learn(people, {}).number == 2


def test_cameras_are_not_unlearnt_and_new_ones_find_their_place() -> None:
    people = people_with(WALKS)
    people.calibrate(learn(people, {}))
    people.remember(rows([(embedding("attic", 1, started_at=900.0, ended_at=904.0), WALKS[0][1])]))
    assert learn(people, {}).cameras == ("attic", "gate", "hall", "yard")
    nobody = people_with(WALKS[:1], known=learn(people, {}))
    assert learn(nobody, {}).cameras == ("attic", "gate", "hall", "yard")


def test_what_is_learnt_counts_the_tracks_and_their_ways() -> None:
    transit = learn(people_with(WALKS), {}).transit
    tracks = {(piece.camera_id, piece.track_id): whose for piece, whose in WALKS}
    began = sorted(people_with(WALKS).tracks.everything().started_at)
    assert transit.tracks.sum() == sum(at >= began[len(tracks) // 4] for at in began) >= len(tracks) * 0.75
    assert transit.gaps.sum() == len(tracks) - len(set(tracks.values()))


def test_a_map_is_part_of_what_is_learnt() -> None:
    people = people_with(WALKS)
    plain, mapped = learn(people, {}), learn(people, {("gate", "hall"): 900.0})
    gate, hall = plain.place("gate"), plain.place("hall")
    known = (np.array([gate]), hall, np.array([900.0]))
    assert mapped.transit.evidence(*known)[0] > plain.transit.evidence(*known)[0]
    assert plain.transit.gaps.sum() < mapped.transit.gaps.sum()


def test_where_joins_were_sure_less_is_asked_for() -> None:
    sure = [piece.model_copy(update={"track_id": 35 * place}) for place, (piece, _) in enumerate(WALKS)]
    people = people_with([(piece, whose) for piece, (_, whose) in zip(sure, WALKS, strict=True)])
    before = people.least_probability
    people.calibrate(learn(people, {}))
    assert people.least_probability == people.calibration.least_probability < before


def through_clocks(seen: list[Seen], fast_s: dict[str, float], late_s: float = 1.0) -> GalleryRows:
    """The same tracklets by the clocks of their cameras; the matcher's own clock is right."""
    told = rows(seen)
    fast = np.array([fast_s.get(camera_id, 0.0) for camera_id in told.camera_ids])
    return replace(
        told,
        started_at=told.started_at + fast,
        ended_at=told.ended_at + fast,
        decided_at=told.ended_at + late_s,
    )


def test_clocks_that_are_wrong_are_found_by_when_their_tracklets_come() -> None:
    people = people_with()
    people.remember(through_clocks(WALKS, {"gate": 180.0, "yard": -95.0}))
    taught = learn(people, {})
    assert {name: round(taught.clock_s(name)) for name in taught.cameras} == {"gate": 180, "hall": 0, "yard": -95}
    assert taught.clock_s("a camera that nobody knows") == 0.0
    assert taught.told_clocks() == "gate 180 s fast, yard 95 s slow"
    assert not people.same_clocks(taught)


def test_a_clock_that_was_found_is_not_found_again_and_one_that_was_set_right_is() -> None:
    first = people_with()
    first.remember(through_clocks(WALKS, {"gate": 180.0}))
    taught = learn(first, {})
    again = people_with(known=taught)
    again.recall([through_clocks(WALKS, {"gate": 180.0})])
    assert again.same_clocks(learn(again, {}))
    mended = people_with(known=taught)
    mended.recall([through_clocks(WALKS, {})])
    assert {learn(mended, {}).clock_s(name) for name in ("gate", "hall", "yard")} == {0.0}


def test_by_the_clocks_that_were_learnt_a_wrong_clock_leaves_the_memory_of_a_right_one() -> None:
    right, wrong = people_with(), people_with()
    right.remember(rows(WALKS))
    wrong.remember(through_clocks(WALKS, {"gate": 180.0, "yard": -95.0}))
    taught = learn(wrong, {})
    seen = people_with(known=taught)
    seen.recall([through_clocks(WALKS, {"gate": 180.0, "yard": -95.0})])
    for one, other in zip(spans_of(right), spans_of(seen), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)
    np.testing.assert_array_equal(learn(seen, {}).transit.gaps, learn(right, {}).transit.gaps)
    np.testing.assert_array_equal(taught.transit.gaps, learn(right, {}).transit.gaps)


def spans_of(people: People) -> list[F64]:
    spans = people.tracks.everything()
    return [spans.cameras.astype(np.float64), spans.started_at, spans.ended_at]
