"""When the memory says more about its site, and what."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from pipeline.matching.learning import AT_LEAST_EVERY, FIRST_AFTER, is_due, learn
from tests.fakes import embedding
from tests.pipeline.matching.made_site import people_with, rows, walks

WALKS = walks(60, persons=8)


@given(st.integers(0, 200_000), st.integers(0, 200_000), st.integers(0, 50_000))
def test_once_due_it_stays_due_until_it_was_learnt(learnt_at: int, tracklets: int, more: int) -> None:
    assert is_due(tracklets + more, learnt_at) or not is_due(tracklets, learnt_at)


@given(st.integers(FIRST_AFTER, 200_000))
def test_half_as_many_again_are_enough_and_fewer_where_there_are_many(learnt_at: int) -> None:
    enough = min(learnt_at // 2, AT_LEAST_EVERY)
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
    assert transit.tracks.sum() == len(tracks)
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
