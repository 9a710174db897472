from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from pipeline.adapters.simulation.site import CYCLE_S, SimulatedSite
from pipeline.adapters.simulation.truth import identify_tracklet, true_boxes
from pipeline.camera.tracker import ByteTracker
from pipeline.contracts import Detections, Frame, GlobalId, Tracks
from services.evaluation.rendered_site import CalmSite, DetectingFollower, TrueFollower, Watched, watch

SITE = SimulatedSite(11, cameras=2, people=6, size_px=(320, 180))
SINCE_S, UNTIL_S = 20.0, 32.0


class TrueDetector:
    """`Detector` that finds everybody, and once somebody who is not there."""

    name = "true"

    def detect(self, frames: Sequence[Frame]) -> list[Detections]:
        found = []
        for frame in frames:
            boxes = [box.box_px for box in true_boxes(SITE, int(frame.camera_id[1]) - 1, frame.captured_at)]
            boxes.append((2.0, 2.0, 20.0, 60.0))
            found.append(Detections(np.array(boxes, np.float32), np.full(len(boxes), 0.9, np.float32)))
        return found


@pytest.fixture(scope="module")
def seen_truly() -> Watched:
    return watch(SITE, TrueFollower(SITE), SINCE_S, UNTIL_S)


def test_every_camera_is_watched_at_every_moment(seen_truly: Watched) -> None:
    assert len(seen_truly.frames) == 2 * 5 * (UNTIL_S - SINCE_S)
    assert {frame.camera_id for frame in seen_truly.frames} == {"c1", "c2"}


def test_tracklets_come_in_the_order_of_sending_and_show_who_they_say(seen_truly: Watched) -> None:
    sent_at = [seen.tracklet.sent_at for seen in seen_truly.tracklets]
    assert sent_at == sorted(sent_at) and len(sent_at) > 5
    for seen in seen_truly.tracklets:
        sightings = [(crop.captured_at, crop.box_px) for crop in seen.tracklet.crops]
        assert identify_tracklet(SITE, int(seen.tracklet.camera_id[1]) - 1, sightings) == seen.true_id


def test_knowing_everybody_gives_a_perfect_score(seen_truly: Watched) -> None:
    identities = {
        (seen.tracklet.camera_id, seen.tracklet.boot_id, seen.tracklet.track_id): GlobalId(seen.true_id or 0)
        for seen in seen_truly.tracklets
    }
    score = seen_truly.run.score(seen_truly.frames, identities)
    assert score.tracking.idf1 == 1.0
    assert score.cross_camera.idf1 > 0.95  # tracks too short to be sent have no identity


def test_what_shows_nobody_is_nobody() -> None:
    follower = DetectingFollower(TrueDetector(), [ByteTracker() for _ in SITE.views])
    found = watch(SITE, follower, SINCE_S, UNTIL_S)
    ghosts = [seen for seen in found.tracklets if seen.tracklet.crops[0].box_px[2] < 30]
    assert ghosts and {seen.true_id for seen in ghosts} == {None}
    assert {seen.true_id for seen in found.tracklets} > {None}


def test_progress_is_told_to_the_end() -> None:
    heard: list[float] = []
    watch(SITE, lambda camera, frame: Tracks.none(), 0.0, 1.0, progress=heard.append)
    assert heard == sorted(heard) and heard[-1] == 1.0


def test_in_a_calm_site_everybody_comes_in_one_of_the_cycles() -> None:
    calm, busy = CalmSite(11, 2, 20, every=4), SimulatedSite(11, 2, 20)
    for site, least, most in ((calm, 4, 6), (busy, 18, 20)):
        present = [
            len({visit.person_id for visit in site.visits(at, at + CYCLE_S / 2)}) for at in (200.0, 300.0, 400.0)
        ]
        assert least <= min(present) and max(present) <= most + 4
    assert len({visit.person_id for visit in calm.visits(200.0, 200.0 + 4 * CYCLE_S)}) == 20
