"""When the matcher's memory has grown enough to say more about its site, and what it says then."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from pipeline.contracts import F64
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
    moved = learnt(
        people.calibration,
        cameras,
        people.exemplars.vectors([exemplar for _, exemplar in exemplars]),
        np.array([places.get(exemplar.track[0], len(cameras)) for _, exemplar in exemplars], np.int64),
        np.array([global_id for global_id, _ in exemplars], np.int64),
        with_map(transit, cameras, walks_s or {}),
        people.calibration.least_probability,
    )

    return replace(moved, met=_met(people, moved))


def _met(people: People, calibration: Calibration) -> F64:
    """Log-odds by looks of pairs of identities that were at one moment in one camera."""
    spans = people.tracks.everything()
    pairs = set()
    for camera in np.unique(spans.cameras).tolist():
        own = np.flatnonzero(spans.cameras == camera)
        own = own[np.argsort(-spans.ended_at[own])][:1024]
        s, e, g = spans.started_at[own], spans.ended_at[own], spans.global_ids[own]
        hit = np.triu((s[:, None] <= e) & (e[:, None] >= s) & (g[:, None] != g), 1)
        a, b = np.nonzero(hit)
        pairs |= set(zip(np.minimum(g[a], g[b]).tolist(), np.maximum(g[a], g[b]).tolist(), strict=True))
    pairs = sorted(p for p in pairs if p[0] in people.exemplars and p[1] in people.exemplars)
    if not pairs:
        return np.zeros(0)
    people_ids = sorted({x for p in pairs for x in p})
    col = {x: i for i, x in enumerate(people_ids)}
    looks, counts, place = [], [], []
    for x in people_ids:
        ex = people.exemplars.of(x)
        at = np.array([calibration.place(e.track[0]) for e in ex], np.int64)
        looks.append(calibration.looks(people.exemplars.vectors(ex), at).mean(axis=0))
        counts.append(len(ex)); place.append(at[0])
    looks = np.stack(looks); counts = np.array(counts, np.float64); place = np.array(place)
    i = np.array([col[a] for a, _ in pairs]); j = np.array([col[b] for _, b in pairs])
    sims = (looks[i] * looks[j]).sum(axis=1).astype(np.float64)
    score = (sims - calibration.strangers_mean[place[i], place[j]]) / calibration.strangers_deviation[place[i], place[j]]
    return np.sort(calibration.curve.log_odds(score, counts[i], counts[j]))
