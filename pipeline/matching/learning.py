"""When the matcher's memory has grown enough to say more about its site, and what it says then."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from pipeline.contracts import I64
from pipeline.matching.calibration import Calibration, learnt
from pipeline.matching.people import People
from pipeline.matching.transit import count_transits, with_map

FIRST_AFTER = 32  # tracklets; then after twice as many, and so on
AT_LEAST_EVERY = 4096


def is_due(tracklets: int, learnt_at: int) -> bool:
    """Whether there is enough more than at the last calibration."""
    return tracklets >= FIRST_AFTER and tracklets - learnt_at >= min(learnt_at, AT_LEAST_EVERY)


def learn(people: People, walks_s: Mapping[tuple[str, str], float] | None = None) -> Calibration:
    """The next calibration, from everything that is remembered."""
    cameras = list(people.calibration.cameras)
    tracks = list(people.tracks.cameras())
    cameras += [camera_id for camera_id, _ in tracks if camera_id not in cameras]
    places = {name: place for place, name in enumerate(cameras)}
    exemplars = [
        (global_id, exemplar) for global_id in people.exemplars.identities() for exemplar in people.exemplars.of(global_id)
    ]
    at = np.concatenate([np.full(len(spans), places[name]) for name, spans in tracks]).astype(np.int64)
    who = np.concatenate([spans.global_ids for _, spans in tracks])
    started_at = np.concatenate([spans.started_at for _, spans in tracks])
    ended_at = np.concatenate([spans.ended_at for _, spans in tracks])
    strangers = np.concatenate([spans.strangers for _, spans in tracks])
    transit = count_transits(at, who, started_at, ended_at, strangers, len(cameras))
    return learnt(
        people.calibration,
        cameras,
        people.exemplars.vectors([exemplar for _, exemplar in exemplars]),
        np.array([places.get(exemplar.track[0], len(cameras)) for _, exemplar in exemplars], np.int64),
        np.array([global_id for global_id, _ in exemplars], np.int64),
        with_map(transit, cameras, walks_s or {}),
        people.calibration.least_probability,
    )

