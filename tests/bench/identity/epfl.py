"""Two real cameras of one room, one after the other, through detector, tracker, encoder and matcher."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pipeline.adapters.simulation.truth import Box
from pipeline.camera.tracklets import TrackletCutter
from pipeline.contracts import CameraId, Frame
from pipeline.interfaces import Encoder
from pipeline.matching.looks import LookPrior
from services.detection import open_detector, open_tracker
from services.evaluation.market_replay import ReplayedTracklet, embed_replay
from services.evaluation.tracking import read_video
from tests.bench.identity.scenes import compared

CLIPS = ("single1.mp4", "double1.mp4")
FIRST_MAN, SECOND_MAN = 1, 2
_PAUSE_S = 60.0  # between the clips
_EVERY = 6  # of 30 frames per second
_NEAR_PX = 280.0  # in the second clip the first man's feet are always lower in the picture than this, the other's never


def epfl_figures(folder: Path, encoder: Encoder, prior: LookPrior) -> dict[str, dict[str, Any]]:
    """One man is in both clips, a second one in the second only; only a dozen tracklets."""
    detector, tracklets, starts_at = open_detector("auto", None), [], 0.0
    for clip in CLIPS:
        camera_id = CameraId(clip.removesuffix(".mp4"))
        tracker, cutter = open_tracker("bytetrack"), TrackletCutter(camera_id, "b1")
        at = starts_at
        for frame in read_video(folder / clip):
            if frame.index % _EVERY == 0:
                at = starts_at + frame.captured_at
                frame = Frame(camera_id, frame.image, at, frame.index)
                tracks = tracker.update(detector.detect([frame])[0], at, frame.image)
                tracklets += cutter.observe(frame, tracks, at)
        tracklets += cutter.finish(at)
        starts_at = at + _PAUSE_S
    people = [ReplayedTracklet(seen, _shown(seen.camera_id, seen.crops[0].box_px)) for seen in tracklets]
    return compared(list(embed_replay(people, encoder)), prior)


def _shown(camera_id: str, box: Box) -> int:
    return FIRST_MAN if camera_id == "single1" or box[3] > _NEAR_PX else SECOND_MAN
