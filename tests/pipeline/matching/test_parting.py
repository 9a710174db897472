"""Which identities turn out to be two people by their looks; who is in two places is in `test_worker`."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.spatial.distance import squareform

from pipeline.contracts import F32, GlobalId, IdentityEventKind
from pipeline.decisions import Correction, CorrectionKind, CorrectionRequest, Revision
from pipeline.matching.laws import Laws
from pipeline.matching.parting import _two_groups, divided, division, doubtful
from pipeline.matching.people import MemoryConfig, People
from tests.fakes import embedding, unit_vectors
from tests.pipeline.matching.made_site import CAMERAS, MEMORY, Seen, calibration, near, people_with, rows

LOOKS = unit_vectors(np.random.default_rng(5), 4)
MIXED, NEW = GlobalId(1), GlobalId(99)


def of_person(look: F32, tracks: range, noise: float = 0.1, every_s: float = 25.0) -> list[Seen]:
    """Two pieces of each track, which the matcher took for the one person `MIXED`."""
    found = []
    for track_id in tracks:
        for sequence in (0, 1):
            vector = near(look, np.random.default_rng([track_id, sequence]), noise)
            began = every_s * track_id + 4.0 * sequence
            camera_id = CAMERAS[track_id % 3]
            found.append(
                (
                    embedding(camera_id, track_id, sequence, started_at=began, ended_at=began + 4.0, vector=vector),
                    MIXED,
                )
            )
    return found


def parted(people: People, seen: list[Seen]) -> Revision | None:
    found = division(people, MIXED)
    return None if found is None else divided(people, found, rows(seen), NEW)


def remembered(seen: list[Seen], config: MemoryConfig = MEMORY) -> People:
    return people_with(sorted(seen, key=lambda each: each[0].started_at), config, calibration())


def test_two_who_look_different_part_and_the_fewer_tracklets_leave() -> None:
    first, second = of_person(LOOKS[0], range(4)), of_person(LOOKS[1], range(4, 7))
    revision = parted(remembered([*first, *second]), [*first, *second])
    assert revision is not None
    assert (revision.kind, revision.from_id, revision.to_id, revision.is_new) == (IdentityEventKind.SPLIT, 1, 99, True)
    assert set(revision.tracklet_ids) == {piece.tracklet_id for piece, _ in second}
    assert revision.confidence > 0.9
    assert revision.reason.startswith("person 1 is two, who look alike with log-odds -")


def test_who_looks_like_one_person_stays_one() -> None:
    seen = of_person(LOOKS[0], range(8), noise=0.2)
    assert parted(remembered(seen), seen) is None


def test_who_has_one_track_cannot_part() -> None:
    seen = [*of_person(LOOKS[0], range(1)), (embedding("gate", 0, 2, vector=LOOKS[1]), MIXED)]
    assert division(remembered(seen), MIXED) is None


def test_the_budget_says_how_sure_a_parting_must_be() -> None:
    between = LOOKS[0] + 0.9 * LOOKS[1]
    seen = [*of_person(LOOKS[0], range(3)), *of_person(between / np.linalg.norm(between), range(3, 6))]
    strict, lax = (remembered(seen, replace(MEMORY, false_match_budget=budget)) for budget in (0.001, 0.9))
    assert parted(lax, seen) is not None
    assert division(strict, MIXED) is None  # the database need not be asked


def test_who_was_united_by_a_correction_stays_together() -> None:
    first, second = of_person(LOOKS[0], range(3)), of_person(LOOKS[1], range(3, 6))
    people = remembered([*first, *second])
    names = (first[0][0].tracklet_id, second[0][0].tracklet_id)
    request = CorrectionRequest(CorrectionKind.SAME, "anna", tracklet_ids=names)
    law = Correction(1, request, 0.0, 0, one_side=names[:1], other_side=names[1:])
    assert parted(people, [*first, *second]) is not None
    people.laws = Laws([law], dict.fromkeys(names, MIXED))
    assert parted(people, [*first, *second]) is None


def test_tracks_of_which_no_exemplar_is_kept_go_with_those_they_resemble() -> None:
    first, second = of_person(LOOKS[0], range(12)), of_person(LOOKS[1], range(12, 20))
    people = remembered([*first, *second], replace(MEMORY, exemplars=6, exemplars_per_camera=2))
    found = division(people, MIXED)
    assert found is not None and len(found.sides) < 20
    revision = divided(people, found, rows([*first, *second]), NEW)
    assert revision is not None
    assert set(revision.tracklet_ids) == {piece.tracklet_id for piece, _ in second}


@settings(max_examples=40)
@given(st.integers(2, 9), st.integers(1, 9), st.floats(0.05, 0.6), st.integers(0, 3), st.integers(1, 300))
def test_no_track_is_cut_and_the_same_memory_parts_alike(
    first: int, second: int, noise: float, other: int, page: int
) -> None:
    seen = [*of_person(LOOKS[0], range(first), noise), *of_person(LOOKS[other], range(first, first + second), noise)]
    people = remembered(seen)
    revision = parted(people, seen)
    again = people_with(sorted(seen, key=lambda each: each[0].started_at), MEMORY, calibration(), page)
    assert revision == parted(again, seen)
    if revision is not None:
        leaving = set(revision.tracklet_ids)
        tracks = [
            {piece.track_id for piece, _ in seen if (piece.tracklet_id in leaving) is out} for out in (True, False)
        ]
        assert tracks[0].isdisjoint(tracks[1])
        assert 0 < len(leaving) <= len(seen) / 2


@settings(max_examples=40)
@given(st.integers(1, 9), st.integers(0, 9), st.floats(0.05, 0.9), st.integers(0, 3))
def test_whoever_may_be_divided_is_doubted(first: int, second: int, noise: float, other: int) -> None:
    seen = [*of_person(LOOKS[0], range(first), noise), *of_person(LOOKS[other], range(first, first + second), noise)]
    people = remembered(seen)
    assert division(people, MIXED) is None or doubtful(people, [MIXED]) == [MIXED]


@settings(max_examples=60)
@given(st.integers(2, 9), st.integers(0, 2**32 - 1))
def test_groups_are_those_of_average_linkage(items: int, seed: int) -> None:
    alike = np.random.default_rng(seed).uniform(-1, 1, (items, items))
    alike = (alike + alike.T) / 2.0
    far = 1.0 - alike
    np.fill_diagonal(far, 0.0)
    theirs = fcluster(linkage(squareform(far, checks=False), "average"), 2, "maxclust") == 1
    ours = _two_groups(alike)
    assert np.array_equal(ours, theirs) or np.array_equal(ours, ~theirs)


def test_of_many_only_those_are_doubted_who_do_not_look_like_one_person() -> None:
    single = [(embedding("gate", 70, vector=LOOKS[2]), GlobalId(7))]
    same = [(embedding(CAMERAS[place % 3], 80 + place, vector=LOOKS[3]), GlobalId(8)) for place in range(4)]
    people = remembered([*of_person(LOOKS[0], range(4)), *of_person(LOOKS[1], range(4, 7)), *single, *same])
    assert doubtful(people, [MIXED, GlobalId(7), GlobalId(8)]) == [MIXED]
    assert doubtful(people, []) == []
