"""When the matcher's memory has grown enough to say more about its site, and what it says then."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from pipeline.matching.assignment import least_for
from pipeline.matching.calibration import SAMPLE, Calibration, learnt
from pipeline.matching.clocks import clock_changes
from pipeline.matching.people import People
from pipeline.matching.returns import expected_transits
from pipeline.matching.sharpness import sharpened
from pipeline.matching.transit import with_map

FIRST_AFTER = 32  # tracklets; then after a quarter as many again, and so on
AT_LEAST_EVERY = 16_384


def is_due(tracklets: int, learnt_at: int) -> bool:
    """Whether there is enough more than at the last calibration."""
    return tracklets >= FIRST_AFTER and tracklets - learnt_at >= min(learnt_at // 4, AT_LEAST_EVERY)


def learn(people: People, walks_s: Mapping[tuple[str, str], float]) -> Calibration:
    """The next calibration, from everything that is remembered, and from the seconds on foot between two cameras."""
    spans = people.tracks.everything()
    cameras = sorted({*people.calibration.cameras, *people.tracks.camera_ids})
    places = {name: place for place, name in enumerate(cameras)}
    at = np.array([places[name] for name in people.tracks.camera_ids], np.int64)[spans.cameras]
    # What is remembered was seen by the clocks of the former calibration.
    before_s = np.array([people.calibration.clock_s(name) for name in cameras])
    change_s = clock_changes(at, spans.started_at, spans.delays_s, len(cameras))
    faster_s = change_s[at]
    by_one_clock = replace(spans, started_at=spans.started_at - faster_s, ended_at=spans.ended_at - faster_s)
    transit = expected_transits(people, by_one_clock, at, len(cameras))
    place_of = np.array([places.get(name, len(cameras)) for name in people.exemplars.camera_ids], np.int64)
    sums, held = np.zeros((len(cameras) + 1, people.exemplars.dimension)), np.zeros(len(cameras) + 1, np.int64)
    own_sums, own_held = people.exemplars.sums()
    np.add.at(sums, place_of, own_sums)
    np.add.at(held, place_of, own_held)
    identities = sorted(people.exemplars.identities())
    slots, counts = people.exemplars.slots(identities)
    sample = slice(None, None, -(-len(slots) // SAMPLE))
    calibration = learnt(
        people.calibration,
        people.tracklets,
        cameras,
        sums,
        held,
        people.exemplars.vectors(slots[sample]),
        place_of[people.exemplars.cameras(slots[sample])],
        np.repeat(np.array(identities, np.int64), counts)[sample],
        with_map(transit, cameras, walks_s),
        people.config.prior,
        np.append(before_s + change_s, 0.0),
        least_for(people.config.aimed_at, spans.likeliest),
    )
    return replace(calibration, curves=sharpened(people, calibration, by_one_clock, at, np.append(change_s, 0.0)))
