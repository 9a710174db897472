"""What a similarity means: probabilities and thresholds from pairs whose truth is known."""

from __future__ import annotations

import numpy as np

from reid_models.benchmarks import EmbeddedSet, mean_by_identity
from reid_models.datasets.sample import F32, I64
from reid_models.look_curves import stranger_looks
from reid_models.manifest import Calibration, LogisticCurve, StrangerLooks

FALSE_MATCH_SHARE = 0.001  # of pairs of different persons, at the recommended appearance threshold
MISSED_SHARE = 0.1  # of right persons, at the recommended language threshold
NEWTON_STEPS = 100


def calibrate(embedded: EmbeddedSet, sentences: F32, described: I64, measured_on: str) -> Calibration:
    """From validation images and sentence vectors (N, L) about the identities `described` (N,).

    Appearance: single crops of different cameras. Language: a sentence against the mean over all images of a person.
    """
    people, means = mean_by_identity(
        np.concatenate([embedded.query.language, embedded.gallery.language]),
        np.concatenate([embedded.query_identities, embedded.gallery_identities]),
    )
    told = sentences @ means.T
    meant = described[:, None] == people[None, :]
    threshold = float(np.quantile(told[meant], MISSED_SHARE))
    language = {
        "language": fit_logistic_curve(told[meant], told[~meant]),
        "language_threshold": threshold,
        "language_false_match_share": float((told[~meant] >= threshold).mean()),
    }
    return calibrate_appearance(embedded, measured_on).model_copy(update=language)


def calibrate_appearance(embedded: EmbeddedSet, measured_on: str) -> Calibration:
    """From validation images alone: what a sentence means to the model stays open."""
    similar = embedded.query.appearance @ embedded.gallery.appearance.T
    same = embedded.query_identities[:, None] == embedded.gallery_identities[None, :]
    counts = embedded.query_cameras[:, None] != embedded.gallery_cameras[None, :]
    right, wrong = similar[same & counts], similar[~same & counts]
    threshold = float(np.quantile(wrong, 1.0 - FALSE_MATCH_SHARE))
    return Calibration(
        appearance=fit_logistic_curve(right, wrong),
        appearance_threshold=threshold,
        appearance_false_match_share=float((wrong >= threshold).mean()),
        appearance_recall=float((right >= threshold).mean()),
        strangers=calibrate_strangers(embedded),
        measured_on=measured_on,
    )


def calibrate_strangers(embedded: EmbeddedSet) -> StrangerLooks:
    """Query and gallery against each other, as a site would see them that has known its cameras for long."""
    return stranger_looks(
        np.concatenate([embedded.query.appearance, embedded.gallery.appearance]),
        np.concatenate([embedded.query_identities, embedded.gallery_identities]),
        np.concatenate([embedded.query_cameras, embedded.gallery_cameras]),
    )


def fit_logistic_curve(right: F32, wrong: F32) -> LogisticCurve:
    """The curve of highest likelihood, right and wrong pairs weighing the same however many there are.

    Newton's method with a slight penalty on the slope, so that separable pairs have an answer too.
    """
    similarity = np.concatenate([right, wrong]).astype(np.float64)
    centre = similarity.mean()
    inputs = np.stack([similarity - centre, np.ones_like(similarity)], axis=1)  # (N, 2)
    truth = np.concatenate([np.ones(len(right)), np.zeros(len(wrong))])
    weight = np.concatenate([np.full(len(right), 0.5 / len(right)), np.full(len(wrong), 0.5 / len(wrong))])
    penalty = np.diag([1e-6, 0.0])
    parameters = np.zeros(2)
    for _ in range(NEWTON_STEPS):
        chance = 1.0 / (1.0 + np.exp(-np.clip(inputs @ parameters, -500, 500)))
        gradient = inputs.T @ (weight * (chance - truth)) + penalty @ parameters
        curvature = (inputs * (weight * chance * (1.0 - chance))[:, None]).T @ inputs + penalty + 1e-12 * np.eye(2)
        step = np.linalg.solve(curvature, gradient)
        # A full step from far away can overshoot into the flat part of the curve.
        parameters -= step * min(1.0, 10.0 / max(float(np.abs(step).max()), 1e-12))
        if np.abs(step).max() < 1e-8:
            break
    slope, intercept = parameters.tolist()
    return LogisticCurve(slope=slope, intercept=intercept - slope * centre)
