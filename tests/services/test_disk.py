"""The disk as metrics, for a site of this machine and for one that keeps its things elsewhere."""

from __future__ import annotations

from pathlib import Path

from prometheus_client import REGISTRY

from pipeline.adapters.blobs import FsBlobs
from services.disk import DiskMeter, disk_of
from services.settings import Settings
from tests.fakes import HandClock


def test_only_what_lies_on_this_machine_is_counted(tmp_path: Path) -> None:
    FsBlobs(Settings(data_dir=tmp_path).blobs).put(b"a crop")
    assert disk_of(Settings(data_dir=tmp_path)).parts == {"database": 0, "spools": 0, "redis": 0, "crops": 6}
    elsewhere = {"database_url": "postgresql://db/site", "blobs_url": "s3://bucket", "data_dir": tmp_path}
    assert disk_of(Settings.model_validate(elsewhere)).parts == {"spools": 0, "redis": 0}


def test_the_metrics_follow_within_a_minute(tmp_path: Path) -> None:
    settings, clock = Settings(data_dir=tmp_path), HandClock(0.0)
    meter = DiskMeter(settings, clock)
    meter.look()
    FsBlobs(settings.blobs).put(b"a crop")
    for waited_s, crops in ((59.0, 0.0), (2.0, 6.0)):
        clock.sleep(waited_s)
        meter.look()
        assert REGISTRY.get_sample_value("sightline_data_bytes", {"what": "crops"}) == crops
    free = REGISTRY.get_sample_value("sightline_disk_free_bytes")
    assert free is not None and 0.0 < free < (REGISTRY.get_sample_value("sightline_disk_size_bytes") or 0.0)
