"""`sightline camera` from settings to messages on a real bus."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from pipeline.adapters.redis_server import EmbeddedRedis
from pipeline.contracts import StreamName, TrackletCrops
from pipeline.errors import ConfigurationError, SightlineError
from services.camera import chosen, ends_with_recordings, orphaned_spools, probe, run
from services.detection import DETECTORS, TRACKERS, open_detector, open_tracker
from services.runtime import open_bus, open_status_board
from services.settings import CameraSettings, Settings
from services.track_log import read_track_logs


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    # A virtual clock: as fast as frames are rendered, so that of many only some are analysed.
    address = "simulated://site?seed=5&cameras=2&camera={}&people=8&fps=10&clock=virtual&duration=40&size=480x270"
    return Settings(
        data_dir=tmp_path,
        metrics_port=0,
        ends_with_recordings=True,
        cameras=tuple({"id": name, "address": address.format(n)} for n, name in enumerate(("gate", "yard"))),
        tracking={"detector": "motion", "log_tracks": True},
    )


def test_a_site_becomes_tracklets_on_the_bus_and_a_status_on_the_board(settings: Settings) -> None:
    with EmbeddedRedis(settings.data_dir / "redis"):
        run(settings, None)
        deliveries = open_bus(settings).consume(StreamName.CROPS, "test", "one", 1000, 0.1)
        statuses = {status.camera_id: status for status in open_status_board(settings).statuses()}
    tracklets = [delivery.message for delivery in deliveries]
    assert tracklets
    assert all(isinstance(tracklet, TrackletCrops) for tracklet in tracklets)
    assert len({tracklet.tracklet_id for tracklet in tracklets}) == len(tracklets)
    assert statuses.keys() == {"gate", "yard"}
    assert {frame.camera_id for frame in read_track_logs(settings.track_logs)} == {"gate", "yard"}


def test_the_bus_may_be_away_all_the_time_and_nothing_is_lost(settings: Settings) -> None:
    away = settings.model_copy(update={"redis_url": "unix:///nowhere/redis.sock"})
    away = Settings.model_validate(away.model_dump())
    run(away, ["gate"])
    kept = list((settings.data_dir / "spool" / "gate").glob("*.spool"))
    assert sum(path.stat().st_size for path in kept) > 1000
    with EmbeddedRedis(settings.data_dir / "redis"):
        run(settings, ["gate"])
        deliveries = open_bus(settings).consume(StreamName.CROPS, "test", "one", 1000, 0.1)
    boots = {delivery.message.boot_id for delivery in deliveries if isinstance(delivery.message, TrackletCrops)}
    assert len(boots) == 2  # those of the first run came too


def test_messages_of_a_camera_that_was_removed_are_sent_by_the_next_worker(settings: Settings) -> None:
    away = Settings.model_validate(settings.model_dump() | {"redis_url": "unix:///nowhere/redis.sock"})
    run(away, ["gate"])
    without = settings.model_copy(update={"cameras": settings.cameras[1:]})
    with EmbeddedRedis(settings.data_dir / "redis"):
        run(without, None)
        deliveries = open_bus(settings).consume(StreamName.CROPS, "test", "one", 1000, 0.1)
    found = {delivery.message.camera_id for delivery in deliveries if isinstance(delivery.message, TrackletCrops)}
    assert found == {"gate", "yard"}
    assert not (settings.data_dir / "spool" / "gate").exists()


def test_a_worker_takes_over_the_spools_of_its_own_and_of_unknown_cameras_only(tmp_path: Path) -> None:
    names = ("gate", "yard", "hall")
    cameras = [CameraSettings(id=name, address=f"simulated://site?seed={n}") for n, name in enumerate(names)]
    settings = Settings(data_dir=tmp_path, cameras=tuple(cameras))
    for name in (*names, "gone"):
        (folder := tmp_path / "spool" / name).mkdir(parents=True)
        (folder / "000000000001.spool").write_bytes(b"")
    assert [folder.name for folder in orphaned_spools(settings, cameras[:2])] == ["gone", "yard"]


def test_only_the_named_cameras_are_hosted_and_unknown_names_are_refused() -> None:
    cameras = [CameraSettings(id=name, address="simulated://site") for name in ("gate", "yard")]
    assert [camera.id for camera in chosen(cameras, ["yard"])] == ["yard"]
    assert [camera.id for camera in chosen(cameras, None)] == ["gate", "yard"]
    with pytest.raises(ConfigurationError, match="--only names lobby; the settings know gate, yard"):
        chosen(cameras, ["lobby"])
    with pytest.raises(ConfigurationError, match="no camera is given"):
        chosen([], None)


def test_a_file_that_is_no_video_is_refused_before_anything_starts(tmp_path: Path) -> None:
    (tmp_path / "words.mp4").write_text("no video\n" * 500)
    camera = {"id": "gate", "address": str(tmp_path / "words.mp4")}
    settings = Settings(data_dir=tmp_path / "data", metrics_port=0, cameras=(camera,))
    with pytest.raises(ConfigurationError, match=r"camera gate: .*words\.mp4 cannot be played"):
        run(settings, None)
    assert not (tmp_path / "data").exists()


def test_a_worker_that_would_be_started_again_outlives_its_recordings() -> None:
    assert not any(
        ends_with_recordings(wanted, True, terminal) for wanted in (None, True) for terminal in (True, False)
    )
    assert not ends_with_recordings(None, is_supervised=False, is_on_terminal=False)  # a container
    assert ends_with_recordings(None, is_supervised=False, is_on_terminal=True)
    assert ends_with_recordings(True, is_supervised=False, is_on_terminal=False)
    assert not ends_with_recordings(False, is_supervised=False, is_on_terminal=True)


def test_probing_tells_size_or_reason_and_no_password() -> None:
    told = probe(CameraSettings(id="gate", address="simulated://site?size=320x180"))
    assert "320x180" in told
    with pytest.raises(SightlineError) as refusal:
        probe(CameraSettings(id="gate", address="rtsp://joe:hunter2-secret@127.0.0.1:9/a"))
    assert "connection refused" in str(refusal.value) and "hunter2" not in str(refusal.value)


def test_unknown_detectors_and_trackers_are_answered_with_the_known_ones() -> None:
    with pytest.raises(ConfigurationError, match=", ".join(DETECTORS)):
        open_detector("magic", None)
    with pytest.raises(ConfigurationError, match=", ".join(TRACKERS)):
        open_tracker("magic")
    with pytest.raises(ConfigurationError, match=r"needs a model.*detector_model"):
        open_detector("onnx", None)


@pytest.mark.data
@pytest.mark.skipif("SIGHTLINE_DATA" not in os.environ, reason="SIGHTLINE_DATA is not set")
def test_a_real_recording_goes_through_the_worker_with_a_real_detector(tmp_path: Path) -> None:
    data = Path(os.environ["SIGHTLINE_DATA"])
    clip = tmp_path / "clip.mp4"
    command = ["ffmpeg", "-v", "error", "-i", str(data / "video/pets09-s2l1/video.mp4"), "-t", "6", str(clip)]
    subprocess.run(command, check=True, timeout=60)
    settings = Settings(
        data_dir=tmp_path / "data",
        metrics_port=0,
        ends_with_recordings=True,
        cameras=({"id": "campus", "address": str(clip)},),
        tracking={"detector_model": data.parent / "models/detectors/yolox_nano_416_coco.onnx"},
    )
    with EmbeddedRedis(settings.data_dir / "redis"):
        run(settings, None)
        deliveries = open_bus(settings).consume(StreamName.CROPS, "test", "one", 1000, 0.1)
    assert len(deliveries) >= 4
