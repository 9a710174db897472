"""What a bundle's manifest says about its vectors, found for vectors without a bundle."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pipeline.contracts import unpack_vector
from pipeline.matching.looks import LookPrior
from reid_models.look_curves import stranger_looks
from services.evaluation.identity_answers import TrueTracklet


def prior_from(tracklets: Sequence[TrueTracklet]) -> LookPrior:
    """From tracklets of other people than those that will be judged, as bundles are calibrated."""
    vectors = np.stack([unpack_vector(seen.embedding.appearance) for seen in tracklets])
    persons = np.array([seen.true_id for seen in tracklets])
    cameras = np.array([seen.embedding.camera_id for seen in tracklets])
    measured = stranger_looks(vectors, persons, np.unique(cameras, return_inverse=True)[1])
    return LookPrior(measured.mean, measured.deviation, np.array(measured.curves))
