"""What a bundle's manifest says about its vectors, found for vectors without a bundle."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pipeline.contracts import unpack_vector
from pipeline.matching.calibration import LookPrior
from reid_models.calibration import fit_logistic_curve
from services.evaluation.identity_answers import TrueTracklet


def prior_from(tracklets: Sequence[TrueTracklet]) -> LookPrior:
    """From tracklets of other people than those that will be judged, as bundles are calibrated."""
    vectors = np.stack([unpack_vector(seen.embedding.appearance) for seen in tracklets])
    persons = np.array([seen.true_id for seen in tracklets])
    cameras = np.array([seen.embedding.camera_id for seen in tracklets])
    similarities = vectors @ vectors.T
    counts = np.triu(cameras[:, None] != cameras[None, :])
    is_one = persons[:, None] == persons[None, :]
    right, wrong = similarities[counts & is_one], similarities[counts & ~is_one]
    curve = fit_logistic_curve(right, wrong)
    return LookPrior(midpoint=-curve.intercept / curve.slope, slope=curve.slope)
