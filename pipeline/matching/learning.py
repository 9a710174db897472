"""When the matcher's memory has grown enough to say more about its site, and what it says then."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from pipeline.contracts import F64
from pipeline.matching.assignment import least_for
from pipeline.matching.calibration import SAMPLE, Calibration, learnt
from pipeline.matching.people import People
from pipeline.matching.tracks import Spans
from pipeline.matching.transit import count_transits, with_map

FIRST_AFTER = 32  # tracklets; then after half as many again, and so on
AT_LEAST_EVERY = 16_384
_CLOCK_TRACKS, _LEAST_TRACKS = 256, 8  # the newest of each camera, and how many it takes to tell
_EARLY = 0.2  # share of the tracks that come without a delay of their own
_IDLE_S = 10.0  # differences below are no clock's


def is_due(tracklets: int, learnt_at: int) -> bool:
    """Whether there is enough more than at the last calibration."""
    return tracklets >= FIRST_AFTER and tracklets - learnt_at >= min(learnt_at // 2, AT_LEAST_EVERY)


def learn(people: People, walks_s: Mapping[tuple[str, str], float]) -> Calibration:
    """The next calibration, from everything that is remembered, and from the seconds on foot between two cameras."""
    spans = people.tracks.everything()
    cameras = sorted({*people.calibration.cameras, *people.tracks.camera_ids})
    places = {name: place for place, name in enumerate(cameras)}
    at = np.array([places[name] for name in people.tracks.camera_ids], np.int64)[spans.cameras]
    clocks = clocks_s(people, spans, cameras)
    # What is remembered was seen by the clocks of the former calibration.
    faster_s = (clocks[:-1] - [people.calibration.clock_s(name) for name in cameras])[at]
    transit = count_transits(
        at, spans.global_ids, spans.started_at - faster_s, spans.ended_at - faster_s, spans.newness, len(cameras)
    )
    place_of = np.array([places.get(name, len(cameras)) for name in people.exemplars.camera_ids], np.int64)
    sums, held = np.zeros((len(cameras) + 1, people.exemplars.dimension)), np.zeros(len(cameras) + 1, np.int64)
    own_sums, own_held = people.exemplars.sums()
    np.add.at(sums, place_of, own_sums)
    np.add.at(held, place_of, own_held)
    identities = sorted(people.exemplars.identities())
    slots, counts = people.exemplars.slots(identities)
    sample = slice(None, None, -(-len(slots) // SAMPLE))
    return learnt(
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
        clocks,
        least_for(people.config.false_match_budget, spans.likeliest),
    )


def clocks_s(people: People, spans: Spans, cameras: Sequence[str]) -> F64:
    """(A + 1,) how much each camera's clock is fast against the middle one, as far as that is known and matters.

    The matcher's own clock tells: tracklets of a slow camera seem to come late, and those of a fast one before their
    time. Some come late for other reasons (a queue, a spool that was sent after a break), so the early ones count.
    """
    found = np.array([*map(people.calibration.clock_s, cameras), 0.0])
    late_s = np.full(len(cameras), np.nan)
    for number, camera_id in enumerate(people.tracks.camera_ids):
        delays_s = spans.delays_s[spans.cameras == number]
        noted = delays_s[~np.isnan(delays_s)][-_CLOCK_TRACKS:]
        if len(noted) >= _LEAST_TRACKS:
            late_s[cameras.index(camera_id)] = np.quantile(noted, _EARLY)
    if not np.isnan(late_s).all():
        change_s = np.nan_to_num(np.nanmedian(late_s) - late_s)
        found[:-1] += np.where(np.abs(change_s) > _IDLE_S, change_s, 0.0)
    return found
