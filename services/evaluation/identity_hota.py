"""HOTA over global identities, by TrackEval."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.contracts import I64
from services.evaluation.identity import JudgedTracklet

_MOST_CELLS = 5_000_000  # persons times identities: TrackEval holds 19 such tables of float64


@dataclass(frozen=True, slots=True)
class HotaScore:
    """Luiten et al. (2021), shares from 0 to 1, with each tracklet taken as one box that was found exactly.

    So localisation is perfect, all thresholds give the same, and detection is lost only where a tracklet got no
    identity or shows nobody that the truth knows.
    """

    hota: float
    detection_accuracy: float
    association_accuracy: float


def score_hota(tracklets: Sequence[JudgedTracklet]) -> HotaScore | None:
    """HOTA of identities across all cameras.

    None where TrackEval is not installed, or would need gigabytes. It is not among the requirements because it asks for
    opencv-python, which owns the same files as the headless build here; without its own requirements it works:
    `pip install --no-deps trackeval pycocotools tabulate`.
    """
    try:
        from trackeval.metrics import HOTA
    except ImportError:
        return None
    persons, true_ids = _numbered(seen.true_id for seen in tracklets)
    identities, given_ids = _numbered(seen.global_id for seen in tracklets)
    if not persons or not identities or persons * identities > _MOST_CELLS:
        return None
    found = HOTA().eval_sequence(
        {
            "num_gt_ids": persons,
            "num_tracker_ids": identities,
            "num_gt_dets": sum(map(len, true_ids)),
            "num_tracker_dets": sum(map(len, given_ids)),
            "gt_ids": true_ids,
            "tracker_ids": given_ids,
            "similarity_scores": [
                np.ones((len(true), len(given))) for true, given in zip(true_ids, given_ids, strict=True)
            ],
        }
    )
    return HotaScore(*(float(np.mean(found[name])) for name in ("HOTA", "DetA", "AssA")))


def _numbered(names: Iterable[int | None]) -> tuple[int, list[I64]]:
    """How many different names there are, and for each place its number, or nothing for None."""
    numbers: dict[int, int] = {}
    places = [np.array([] if name is None else [numbers.setdefault(name, len(numbers))], np.int64) for name in names]
    return len(numbers), places
