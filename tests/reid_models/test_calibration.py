"""Probabilities and thresholds from pairs whose truth is known."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize

from pipeline.contracts import Embeddings
from reid_models.benchmarks import EmbeddedSet
from reid_models.calibration import calibrate, calibrate_appearance, fit_logistic_curve


@given(st.integers(0, 2**31), st.floats(0.1, 0.4), st.integers(5, 40), st.integers(40, 200))
def test_the_curve_has_the_highest_balanced_likelihood(seed: int, gap: float, right: int, wrong: int) -> None:
    rng = np.random.default_rng(seed)
    same, other = rng.normal(0.3 + gap, 0.25, right), rng.normal(0.3, 0.25, wrong)
    curve = fit_logistic_curve(same.astype(np.float32), other.astype(np.float32))

    def loss(parameters: np.ndarray) -> float:
        slope, intercept = parameters
        missed = np.logaddexp(0.0, -(slope * same + intercept)).mean()
        return float(missed + np.logaddexp(0.0, slope * other + intercept).mean()) / 2 + 0.5e-6 * slope**2

    assert loss(np.array([curve.slope, curve.intercept])) <= minimize(loss, np.zeros(2), method="BFGS").fun + 1e-6


def test_separable_pairs_still_have_a_finite_rising_curve() -> None:
    curve = fit_logistic_curve(np.array([0.8, 0.9], np.float32), np.array([0.1, 0.2], np.float32))
    assert np.isfinite([curve.slope, curve.intercept]).all()
    assert curve.probability(0.15) < 0.05 and curve.probability(0.85) > 0.95


def test_the_stated_false_match_share_is_that_of_the_pairs() -> None:
    rng = np.random.default_rng(2)
    centres = rng.normal(size=(30, 8))

    def seen(noise: float) -> tuple[Embeddings, np.ndarray, np.ndarray]:
        identities, cameras = np.repeat(np.arange(30), 4), np.tile(np.arange(4), 30)
        vectors = centres[identities] + rng.normal(size=(120, 8)) * noise
        unit = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
        return Embeddings(unit, unit), identities, cameras

    (query, identities, cameras), (gallery, _, _) = seen(0.3), seen(0.3)
    calibration = calibrate(
        EmbeddedSet(query, gallery, identities, cameras, identities, cameras), query.language, identities, "a toy"
    )
    wrong = (query.appearance @ gallery.appearance.T)[identities[:, None] != identities[None, :]]
    share = (wrong >= calibration.appearance_threshold).mean()
    assert calibration.appearance_false_match_share == pytest.approx(share, abs=2e-4)
    assert share <= 0.0015
    assert calibration.appearance_recall > 0.5
    assert calibration.language is not None and calibration.language.slope > 0
    without_words = calibrate_appearance(EmbeddedSet(query, gallery, identities, cameras, identities, cameras), "a toy")
    assert without_words.appearance == calibration.appearance and without_words.language is None
