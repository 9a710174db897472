"""When the matcher's memory has grown enough to say more about its site, and what it says then."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

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
    spans = people.tracks.everything()
    known = people.calibration.cameras
    cameras = [*known, *(camera_id for camera_id in people.tracks.camera_ids if camera_id not in known)]
    places = {name: place for place, name in enumerate(cameras)}
    at = np.array([places[name] for name in people.tracks.camera_ids], np.int64)[spans.cameras]
    transit = count_transits(at, spans.global_ids, spans.started_at, spans.ended_at, spans.strangers, len(cameras))
    exemplars = [
        (global_id, exemplar)
        for global_id in people.exemplars.identities()
        for exemplar in people.exemplars.of(global_id)
    ]
    return learnt(
        people.calibration,
        cameras,
        people.exemplars.vectors([exemplar for _, exemplar in exemplars]),
        np.array([places.get(exemplar.track[0], len(cameras)) for _, exemplar in exemplars], np.int64),
        np.array([global_id for global_id, _ in exemplars], np.int64),
        with_map(transit, cameras, walks_s or {}),
        people.calibration.least_probability,
    )

