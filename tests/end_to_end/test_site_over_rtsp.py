"""The whole system on a simulated site over real RTSP: every process, a real server on the bus, a question in words."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pytest

from pipeline.adapters.simulation.site import SimulatedSite
from pipeline.adapters.simulation.videos import write_videos
from services.demo import ask_all, drained, lost_frames, summarise
from services.evaluation.simulated_run import SimulatedRun
from services.settings import load
from services.track_log import LoggedFrame, read_track_logs, settled
from services.up import running_system
from tests.processes import logs
from tests.rtsp_server import rtsp_server, unavailable

pytestmark = [pytest.mark.slow, pytest.mark.skipif(bool(unavailable()), reason=unavailable() or "-")]

BASELINE = Path(__file__).parents[1] / "baselines" / "site_over_rtsp.json"
CAMERAS = ("gate", "lobby", "yard")
SEED, PEOPLE, FPS, VIDEO_S, WATCH_S = 7, 8, 8, 100.0, 55.0
FIRST_S = 120.0  # of the site's clock: the videos begin in the middle of its life


@dataclass(frozen=True)
class Alignment:
    """When a camera's stream began, by the clock of the worker that received it."""

    epoch_at: float
    agreement: float  # share of followed boxes that lie on a person then


def align(site: SimulatedSite, number: int, frames: Sequence[LoggedFrame]) -> Alignment:
    """The start of a stream is not known to its receiver; the start at which most boxes lie on people is."""
    from pipeline.adapters.simulation.truth import identify

    busy = [frame for frame in frames if len(frame.tracks)][::5]
    first_at = min(frame.captured_at for frame in frames)

    def agreement(epoch_at: float) -> float:
        hits = [
            name is not None
            for frame in busy
            for name in identify(site, number, frame.captured_at - epoch_at, frame.tracks.boxes.astype(np.float64))
        ]
        return float(np.mean(hits)) if hits else 0.0

    starts = first_at - FIRST_S + np.arange(-3.0, 1.0, 1 / FPS)
    best = max(starts, key=agreement)
    return Alignment(float(best), agreement(float(best)))


def aligned(site: SimulatedSite, frames: Sequence[LoggedFrame]) -> Mapping[str, tuple[int, float]]:
    return {
        name: (number, align(site, number, [frame for frame in frames if frame.camera_id == name]).epoch_at)
        for number, name in enumerate(CAMERAS)
    }


@pytest.mark.timeout(300)
def test_people_are_one_identity_across_rtsp_cameras_and_are_found_by_words(tmp_path: Path) -> None:
    site = SimulatedSite(SEED, len(CAMERAS), PEOPLE)
    videos = write_videos(site, tmp_path / "videos", VIDEO_S, fps=FPS, since_s=FIRST_S)
    with rtsp_server(dict(zip(CAMERAS, videos, strict=True)), user="viewer", password="pa55word") as addresses:
        settings = load(
            None,
            {
                "site": "rtsp",
                "data_dir": tmp_path / "data",
                "api": {"port": 0},
                "metrics_port": 9500,
                "cameras": [{"id": name, "address": addresses[name], "analysed_fps": FPS} for name in CAMERAS],
                "tracking": {"detector": "motion", "log_tracks": True},
            },
        )
        with running_system(settings) as system:
            assert system.supervisor.wait_until_ready(120, lambda _: None), logs(system.settings.data_dir)
            ready_at = time.time()
            time.sleep(WATCH_S)
            system.supervisor.poll()
            lost = lost_frames(system)
            system.supervisor.stop("camera")
            is_drained = drained(system, 30)
            frames = settled(read_track_logs(settings.track_logs))
            run = SimulatedRun(site, aligned(site, frames))
            answers = [answer for _, answer, _ in ask_all(system, run)]
            system.supervisor.stop()
            summary = summarise(system, run, answers, lost, is_drained, ready_at)
    (tmp_path / "summary.json").write_text(json.dumps(asdict(summary), indent=2))
    assert summary.is_drained
    assert summary.failures == {}, logs(settings.data_dir)
    assert "pa55word" not in logs(settings.data_dir)
    assert summary.capture_to_identity_p95_s is not None
    baseline = json.loads(BASELINE.read_text())
    for name in ("cross_camera_idf1", "tracking_idf1", "query_precision_at_1"):
        assert getattr(summary, name) >= baseline[name] - baseline["tolerance"], (summary, baseline)
