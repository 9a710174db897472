from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from services.evaluation.vector_looks import LookModel, LookStatistics, look_statistics
from services.evaluation.vector_site import SimulatedPeople, VectorSite


def measured(site: VectorSite, seed: int = 0) -> LookStatistics:
    return look_statistics(list(SimulatedPeople(site, np.random.default_rng(seed))))


def test_vectors_have_unit_length() -> None:
    looks, rng = LookModel(dimension=64), np.random.default_rng(0)
    people = looks.looks(looks.draw(rng, 5), looks.draw(rng, 5))
    vectors = looks.vectors(rng, people, looks.draw(rng, 5), np.arange(5), np.zeros(5, np.int64))
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(np.ones(5), abs=1e-5)


def test_people_in_uniform_are_alike() -> None:
    all_different, all_the_same = (
        measured(VectorSite(people=30, looks=looks)).two_persons
        for looks in (LookModel(outfits=0), LookModel(outfits=1, outfit_share=1.0, outfit_likeness=1.0))
    )
    assert all_different < 0.15 and all_the_same > 0.4


def test_the_default_looks_are_as_hard_as_those_of_a_real_model() -> None:
    site = VectorSite(cameras=6, people=101, cut_every_s=9.0, second_walk_share=0.3)
    found = [measured(site, seed) for seed in range(4)]
    assert np.mean([each.rank_1 for each in found]) == pytest.approx(0.924, abs=0.03)
    assert np.mean([each.across_cameras for each in found]) == pytest.approx(0.586, abs=0.03)
    assert np.mean([each.across_cameras_deviation for each in found]) == pytest.approx(0.144, abs=0.02)
    assert np.mean([each.two_persons for each in found]) == pytest.approx(0.099, abs=0.03)


def test_a_crowd_is_seen_worse() -> None:
    crowded = VectorSite(people=60, rush_share=1.0, open_s=360.0, looks=LookModel(dimension=64))
    alone = replace(crowded, looks=replace(crowded.looks, crowd_noise=0.0))
    assert measured(crowded).within_track < measured(alone).within_track - 0.01
