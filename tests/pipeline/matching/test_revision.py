"""Which identities turn out to be one person."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.contracts import F32, GlobalId, IdentityEventKind, TrackletEmbedding
from pipeline.decisions import Correction, CorrectionKind, CorrectionRequest
from pipeline.matching.laws import Laws
from pipeline.matching.people import People
from pipeline.matching.revision import merges
from tests.fakes import embedding, unit_vectors
from tests.pipeline.matching.made_site import Seen, near, people_with, walks

LOOKS = unit_vectors(np.random.default_rng(11), 5)


def at(camera_id: str, track_id: int, started_at: float, look: F32, whose: int) -> Seen:
    vector = near(look, np.random.default_rng(track_id), 0.05)
    piece = embedding(camera_id, track_id, started_at=started_at, ended_at=started_at + 5.0, vector=vector)
    return piece, GlobalId(whose)


def bystanders() -> list[Seen]:
    return [at("gate", 80 + place, 200.0 * place, LOOKS[place], 80 + place) for place in (1, 2, 3)]


def torn() -> list[Seen]:
    """Persons 4 and 9 are one, who goes from camera to camera."""
    seen = [("gate", 0.0, 4), ("hall", 20.0, 4), ("yard", 45.0, 9), ("gate", 70.0, 9)]
    return [at(camera, place, start, LOOKS[0], whose) for place, (camera, start, whose) in enumerate(seen)]


def forbidding(one: TrackletEmbedding, other: TrackletEmbedding) -> Correction:
    names = (one.tracklet_id, other.tracklet_id)
    request = CorrectionRequest(CorrectionKind.NOT_SAME, "anna", tracklet_ids=names)
    return Correction(1, request, 0.0, 0, one_side=names[:1], other_side=names[1:])


@pytest.mark.parametrize("touched", [4, 9])
def test_whoever_was_split_in_two_is_merged_and_the_older_number_stays(touched: int) -> None:
    (merge,) = merges(people_with([*bystanders(), *torn()]), [GlobalId(touched)])
    assert (merge.kind, merge.from_id, merge.to_id) == (IdentityEventKind.MERGED, 9, 4)
    assert merge.confidence > 0.8
    assert merge.reason.startswith("persons 4 and 9 are one: ") and merge.reason.endswith("% sure")
    assert merge.evidence is not None and merge.evidence.candidates[0].probability == merge.confidence


def test_only_whoever_was_touched_is_thought_of_again() -> None:
    people = people_with([*bystanders(), *torn()])
    assert merges(people, [GlobalId(81)]) == merges(people, []) == merges(people, [GlobalId(77)]) == []


def test_whoever_does_not_look_alike_is_not_merged() -> None:
    people = people_with([*bystanders(), at("gate", 1, 700.0, LOOKS[0], 4), at("hall", 2, 720.0, LOOKS[4], 9)])
    assert merges(people, [GlobalId(4), GlobalId(9)]) == []


def test_who_met_are_two_people_however_alike_they_look() -> None:
    met = [*bystanders(), *torn(), at("hall", 7, 22.0, LOOKS[0], 9)]
    assert merges(people_with(met), [GlobalId(4), GlobalId(9)]) == []
    passed = [*bystanders(), *torn(), at("hall", 7, 95.0, LOOKS[0], 9)]
    assert len(merges(people_with(passed), [GlobalId(4), GlobalId(9)])) == 1


def test_what_a_correction_keeps_apart_is_not_merged() -> None:
    people = people_with([*bystanders(), *torn()])
    one, other = torn()[0][0], torn()[2][0]
    people.laws = Laws([forbidding(one, other)], {one.tracklet_id: GlobalId(4), other.tracklet_id: GlobalId(9)})
    assert merges(people, [GlobalId(4), GlobalId(9)]) == []


def test_where_two_people_who_met_could_be_the_third_nobody_is_merged() -> None:
    """A contradiction: 9 may be 4 or 5, who were in the hall together."""
    twins = [at("hall", 31, 21.0, LOOKS[0], 5), at("gate", 32, 1.0, LOOKS[0], 5)]
    assert not merges(people_with([*bystanders(), *torn(), *twins]), [GlobalId(9)])


def test_a_budget_that_allows_nothing_merges_only_who_is_certain() -> None:
    people = people_with([*bystanders(), *torn()])
    (merge,) = merges(people, [GlobalId(9)])
    people.calibration = replace(people.calibration, least_probability=merge.confidence + 1e-6)
    assert merges(people, [GlobalId(9)]) == []


def met(people: People, one: GlobalId, other: GlobalId) -> bool:
    return people.tracks.spans(one).meets(people.tracks.spans(other))


@settings(max_examples=30)
@given(st.integers(0, 50), st.integers(0, 2**31), st.floats(0.05, 0.4))
def test_whatever_was_torn_merges_contradict_neither_cameras_nor_laws_nor_each_other(
    seed: int, tear: int, noise: float
) -> None:
    rng = np.random.default_rng(tear)
    pieces = walks(30, persons=4, seed=seed, noise=noise)
    parts = {(whose, track): int(rng.integers(3)) for whose in range(1, 5) for track in range(30)}
    seen = [(piece, GlobalId(whose + 4 * parts[whose, piece.track_id])) for piece, whose in pieces]
    people = people_with(seen)
    first, second = seen[0], seen[-1]
    if first[1] != second[1]:
        whose = {first[0].tracklet_id: first[1], second[0].tracklet_id: second[1]}
        people.laws = Laws([forbidding(first[0], second[0])], whose)
    found = merges(people, sorted({whose for _, whose in seen}))
    named = [number for merge in found for number in (merge.from_id, merge.to_id)]
    assert len(named) == len(set(named)), "an identity is in one merge at most"
    for merge in found:
        assert merge.to_id < merge.from_id and merge.kind is IdentityEventKind.MERGED
        assert people.least_probability <= merge.confidence <= 1.0
        assert not met(people, merge.to_id, merge.from_id)
        assert merge.from_id not in people.laws.forbidden(merge.to_id)
    assert found == merges(people_with_laws(seen, people.laws), sorted({whose for _, whose in seen}))


def people_with_laws(seen: list[Seen], laws: Laws) -> People:
    people = people_with(seen, page=3)
    people.laws = laws
    return people


def test_rounds_of_merges_mend_who_was_torn_in_many() -> None:
    seen = [at(("gate", "hall")[place % 2], place, 25.0 * place, LOOKS[0], 10 + place) for place in range(8)]
    people = people_with([*bystanders(), *seen])
    touched = [whose for _, whose in seen]
    while found := merges(people, touched):
        people.merge(found)
        touched = [merge.to_id for merge in found]
    assert sorted(people.exemplars.identities()) == [10, 81, 82, 83]
