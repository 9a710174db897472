"""The gates: what must hold whatever was measured."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reid_models.promotion import CameraPair, Figures, GateConfig, PairFigure, judge

CONFIG = GateConfig(least_gain=0.005, largest_text_loss=0.01, largest_pair_loss=0.05, least_pair_queries=10)

shares = st.floats(0.0, 1.0)
maybe = st.none() | shares
cameras: st.SearchStrategy[CameraPair] = st.tuples(st.integers(0, 2), st.integers(3, 5))
pairs = st.dictionaries(cameras, st.builds(PairFigure, shares, st.integers(0, 40)), max_size=4)
measured = st.builds(Figures, maybe, maybe, pairs, maybe)

SERVING = Figures(0.60, 0.20, {(0, 1): PairFigure(0.5, 30), (0, 2): PairFigure(0.5, 3)}, 0.9)
BETTER = Figures(0.62, 0.20, {(0, 1): PairFigure(0.5, 30), (0, 2): PairFigure(0.5, 3)}, 0.9)


@given(measured)
def test_a_model_is_never_promoted_over_itself(figures: Figures) -> None:
    assert not judge(figures, figures, CONFIG).is_promoted


@given(measured, measured)
def test_promoted_and_having_reasons_exclude_each_other(serving: Figures, candidate: Figures) -> None:
    verdict = judge(serving, candidate, CONFIG)
    assert verdict.is_promoted == (not verdict.reasons)


@given(measured, measured)
def test_no_two_models_are_each_promoted_over_the_other(one: Figures, other: Figures) -> None:
    # Both must have been measured on the same images, so nothing may be missing from one of them alone.
    other = replace(
        one,
        image_mean_average_precision=None if one.image_mean_average_precision is None else 0.5,
        tracks_mean_average_precision=None
        if one.tracks_mean_average_precision is None
        else other.tracks_mean_average_precision or 0.5,
    )
    assert not (judge(one, other, CONFIG).is_promoted and judge(other, one, CONFIG).is_promoted)


@given(measured, measured, st.floats(0.0, 0.5))
def test_a_better_image_figure_never_turns_a_promotion_into_a_refusal(
    serving: Figures, candidate: Figures, gain: float
) -> None:
    if candidate.image_mean_average_precision is None or not judge(serving, candidate, CONFIG).is_promoted:
        return
    raised = replace(candidate, image_mean_average_precision=candidate.image_mean_average_precision + gain)
    assert judge(serving, raised, CONFIG).is_promoted


@given(measured, measured)
def test_what_leads_has_risen_in_every_promotion(serving: Figures, candidate: Figures) -> None:
    if not judge(serving, candidate, CONFIG).is_promoted:
        return
    before, after = serving.image_mean_average_precision, candidate.image_mean_average_precision
    if before is None:
        before, after = serving.tracks_mean_average_precision, candidate.tracks_mean_average_precision
    assert before is not None and after is not None and after > before


@pytest.mark.parametrize(
    ("candidate", "reason"),
    [
        (replace(BETTER, image_mean_average_precision=0.604), "image mAP"),
        (replace(BETTER, text_rank_1=0.18), "text rank-1"),
        (replace(BETTER, camera_pairs={(0, 1): PairFigure(0.44, 30)}), "cameras 1 and 2"),
        (replace(BETTER, camera_pairs={}), "cameras 1 and 2"),
        (replace(BETTER, tracks_mean_average_precision=0.87), "held-out tracks"),
        (replace(BETTER, image_mean_average_precision=math.nan), "image mAP"),
        (replace(BETTER, image_mean_average_precision=None), "image mAP"),
    ],
)
def test_each_gate_alone_refuses_and_says_so(candidate: Figures, reason: str) -> None:
    verdict = judge(SERVING, candidate, CONFIG)
    assert [reason in told for told in verdict.reasons] == [True]


def test_within_all_bounds_a_gain_is_promoted() -> None:
    candidate = Figures(0.61, 0.192, {(0, 1): PairFigure(0.46, 30), (0, 2): PairFigure(0.0, 3)}, 0.885)
    verdict = judge(SERVING, candidate, CONFIG)
    assert verdict.is_promoted
    assert len(verdict.gates) == 4  # the pair of three queries is told, not judged
    assert any("cameras 1 and 3" in remark for remark in verdict.remarks)


def test_without_a_probe_set_held_out_tracks_must_rise_and_the_verdict_says_so() -> None:
    serving, risen = Figures(tracks_mean_average_precision=0.8), Figures(tracks_mean_average_precision=0.81)
    assert judge(serving, risen, CONFIG).is_promoted
    assert not judge(serving, Figures(tracks_mean_average_precision=0.79), CONFIG).is_promoted
    assert any("no probe set" in remark for remark in judge(serving, risen, CONFIG).remarks)


def test_nothing_measured_is_nothing_promoted() -> None:
    assert judge(Figures(), Figures(), CONFIG).reasons
