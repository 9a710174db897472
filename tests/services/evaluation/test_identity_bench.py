"""The identity bench at work: its references repeat their stored figures, and every part of it runs."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest

from pipeline.matching.people import MemoryConfig
from services.evaluation.identity_answers import play
from services.evaluation.identity_baselines import naive, oracle
from services.evaluation.identity_matcher import OfflineMatcher
from services.evaluation.vector_looks import LookModel, look_statistics
from services.evaluation.vector_site import SimulatedPeople, VectorSite
from tests.bench.identity.endurance import endure
from tests.bench.identity.scenes import (
    IN_UNIFORM,
    SCENES,
    SHIPPED,
    WITH_PERFECT_ENCODER,
    compared,
    figures_of,
    people_of,
    prior_for,
)

STORED = json.loads((Path(__file__).parents[2] / "baselines" / "identity_vector_site.json").read_text(encoding="utf-8"))
NAME = "2 cameras, 50 people"
TOLERANCE = 0.01  # another processor rounds products otherwise, and a threshold may fall on the other side of a pair


def test_every_simulated_site_has_stored_figures() -> None:
    assert STORED["sites"].keys() == SCENES.keys()


def test_the_references_repeat_their_stored_figures() -> None:
    tracklets, stored = people_of(SCENES[NAME]), STORED["sites"][NAME]
    assert len(tracklets) == stored["tracklets"]
    assert look_statistics(tracklets).rank_1 == pytest.approx(stored["rank_1"], abs=TOLERANCE)
    for name, reference in {"oracle": oracle, "naive": naive}.items():
        found = figures_of(tracklets, reference(tracklets))
        assert found["idf1"] == pytest.approx(stored[name]["idf1"], abs=TOLERANCE)


@pytest.mark.parametrize("name", [NAME, WITH_PERFECT_ENCODER, IN_UNIFORM])
def test_the_matcher_is_no_worse_than_its_stored_figures(name: str) -> None:
    tracklets, stored = people_of(SCENES[name]), STORED["sites"][name]["matcher"]
    matcher = OfflineMatcher(MemoryConfig(prior=prior_for(SCENES[name].looks)))
    found = figures_of(tracklets, list(play(matcher, tracklets)))
    assert found["idf1"] >= stored["idf1"] - TOLERANCE
    assert found["false_join_share"] <= stored["false_join_share"] + TOLERANCE


def test_a_matcher_is_compared_by_the_same_measures_as_its_references() -> None:
    tracklets = people_of(VectorSite(people=12, looks=LookModel(dimension=32)))
    found = compared(tracklets, prior_for(SHIPPED))
    assert found.keys() == {"oracle", "naive", "matcher"}
    assert found["oracle"].keys() == found["naive"].keys() == found["matcher"].keys()
    assert all(0.0 < figures["idf1"] <= 1.0 for figures in found.values())


def test_each_day_is_judged_by_itself() -> None:
    site = VectorSite(people=30, days=3, returning_share=1.0, changed_clothes_share=0.0, looks=LookModel(outfits=0))
    prior = prior_for(LookModel(outfits=0))
    days = endure(SimulatedPeople(site, np.random.default_rng(1)), OfflineMatcher(MemoryConfig(prior=prior)))
    assert [(day.day, day.people) for day in days] == [(1, 10), (2, 20), (3, 20)]
    assert days[0].found_again == 0.0 and min(day.found_again for day in days[1:]) > 0.5
    assert all(0.5 < day.idf1 <= 1.0 and math.isfinite(day.decision_p99_ms) for day in days)
