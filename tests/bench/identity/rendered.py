"""A rendered site with the shipped models: pictures, detector, tracker, encoder and matcher, without processes."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

from pipeline.adapters.simulation.site import CYCLE_S
from pipeline.interfaces import Encoder
from pipeline.matching.looks import LookPrior
from services.detection import open_detector, open_tracker
from services.evaluation.identity_answers import Statement, TrueTracklet, answers_of
from services.evaluation.market_replay import embed_replay
from services.evaluation.rendered_site import CalmSite, DetectingFollower, Follower, TrueFollower, Watched, watch
from tests.bench.identity.scenes import figures_of, statements_of

CAMERAS, PEOPLE, SEED = 4, 200, 907  # a seed that no shipped model was trained on
COMES_EVERY = int(os.environ.get("BENCH_RENDERED_EVERY", "8"))  # cycle of 96 s; with 1 there are 23 in each picture
_SINCE_S = CYCLE_S


def rendered_scenes(encoder: Encoder, prior: LookPrior, seconds: float) -> Iterator[tuple[str, dict[str, Any]]]:
    """The same minutes with the truth's boxes and tracks, and with those that are found."""
    site = CalmSite(SEED, CAMERAS, PEOPLE, COMES_EVERY)
    followers: dict[str, Follower] = {
        "true boxes": TrueFollower(site),
        "found boxes": DetectingFollower(open_detector("auto", None), [open_tracker("bytetrack") for _ in site.views]),
    }
    for name, follower in followers.items():
        watched = watch(site, follower, _SINCE_S, _SINCE_S + seconds)
        arrivals = list(embed_replay(watched.tracklets, encoder))
        yield (
            f"rendered, {CAMERAS} cameras, {PEOPLE} people, {seconds:.0f} s, {name}",
            {
                who: figures_of(arrivals, said) | {"idf1_of_boxes": _idf1_of_boxes(watched, arrivals, said)}
                for who, said in statements_of(arrivals, prior).items()
            },
        )


def _idf1_of_boxes(watched: Watched, arrivals: list[TrueTracklet], said: list[Statement]) -> float:
    """Across cameras, of every box in every frame: what was not found or not sent is missing too."""
    finals = {name: answer.final for name, answer in answers_of(said).items()}
    identities = {
        (seen.camera_id, seen.boot_id, seen.track_id): finals[seen.tracklet_id]
        for seen in (arrival.embedding for arrival in arrivals)
    }
    return watched.run.score(watched.frames, identities).cross_camera.idf1
