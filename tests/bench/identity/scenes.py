"""The simulated sites of the identity bench; and tracklets through the matcher and through what it is held against."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from pipeline.matching.looks import LookPrior
from pipeline.matching.people import MemoryConfig
from services.evaluation.identity import score_identities
from services.evaluation.identity_answers import Statement, TrueTracklet, answers_of, play
from services.evaluation.identity_baselines import naive, oracle
from services.evaluation.identity_matcher import OfflineMatcher
from services.evaluation.identity_report import identity_report, judged_tracklets
from services.evaluation.vector_looks import LookModel
from services.evaluation.vector_site import Outage, SimulatedPeople, VectorSite
from tests.bench.identity.calibration import prior_from

SHIPPED = LookModel()
PERFECT = replace(SHIPPED, outfits=0, person=0.6, camera=0.04, sighting=0.06, piece=0.14)  # rank-1 above 0.99
UNIFORMS = replace(SHIPPED, outfits=1, outfit_share=1.0, outfit_likeness=1.0)
_LONG = VectorSite(looks=SHIPPED, people=400, open_s=7200.0)  # time to learn how long the ways take

WITH_PERFECT_ENCODER = "4 cameras, 200 people, perfect encoder plus noise"
IN_UNIFORM = "4 cameras, 200 people, all in uniform"
WITH_RIGHT_CLOCKS = "4 cameras, 400 people, right clocks"
WITH_WRONG_CLOCKS = "4 cameras, 400 people, clocks 3 minutes off"

SCENES: dict[str, VectorSite] = {
    "2 cameras, 50 people": VectorSite(cameras=2, people=50),
    "4 cameras, 200 people": VectorSite(),
    WITH_PERFECT_ENCODER: VectorSite(looks=PERFECT),
    IN_UNIFORM: VectorSite(looks=UNIFORMS),
    WITH_RIGHT_CLOCKS: _LONG,
    WITH_WRONG_CLOCKS: replace(_LONG, clock_skew_s=180.0),
    "8 cameras, 200 people, two pairs overlap": VectorSite(cameras=8, people=200, overlapping=2, cameras_passed=6.0),
    "4 cameras, 200 people, one camera away half the time": VectorSite(outages=(Outage(0, 30_600.0, 32_400.0),)),
}


def people_of(site: VectorSite, seed: int = 1) -> list[TrueTracklet]:
    """One run of a site."""
    return list(SimulatedPeople(site, np.random.default_rng(seed)))


def prior_for(looks: LookModel) -> LookPrior:
    """As if the encoder had been validated: on other people, in ordinary clothes, at another site."""
    plain = SHIPPED if looks == UNIFORMS else looks
    return prior_from(people_of(VectorSite(cameras=6, people=101, looks=plain), seed=1_000))


def compared(tracklets: Sequence[TrueTracklet], prior: LookPrior) -> dict[str, dict[str, Any]]:
    """The figures of the offline oracle, the tuned naive way and the matcher at work, for the same tracklets."""
    return {name: figures_of(tracklets, said) for name, said in statements_of(tracklets, prior).items()}


def statements_of(tracklets: Sequence[TrueTracklet], prior: LookPrior) -> dict[str, list[Statement]]:
    """What each of the three says."""
    return {
        "oracle": oracle(tracklets),
        "naive": naive(tracklets),
        "matcher": list(play(OfflineMatcher(MemoryConfig(prior=prior)), tracklets)),
    }


def figures_of(tracklets: Sequence[TrueTracklet], statements: Sequence[Statement]) -> dict[str, Any]:
    """All measures, and IDF1 of the second half of the tracklets, when a matcher has learnt what it can."""
    finals = {name: answer.final for name, answer in answers_of(statements).items()}
    late = score_identities(judged_tracklets(tracklets[len(tracklets) // 2 :], finals))
    return identity_report(tracklets, statements).figures() | {"idf1_second_half": late.idf1}
