"""Decisions of the launcher; that it runs is shown end to end."""

from __future__ import annotations

from pathlib import Path

from pipeline.adapters.clock import SystemClock
from services.settings import Settings
from services.supervisor import Supervisor
from services.up import RunningSystem, service_environment


def test_services_inherit_nothing_that_overrides_their_settings_file() -> None:
    environment = {"PATH": "/bin", "REDIS_URL": "redis://a", "DATABASE_URL": "sqlite://", "SIGHTLINE_SITE": "x"}
    assert service_environment(environment) == {"PATH": "/bin"}


def test_ports_of_metrics_follow_the_order_of_the_services(tmp_path: Path) -> None:
    cameras = [{"id": f"c{number}", "address": f"rtsp://host/{number}"} for number in range(5)]

    def ports(metrics_port: int) -> list[int]:
        settings = Settings.model_validate({"cameras": cameras, "metrics_port": metrics_port})
        return RunningSystem(Supervisor([], tmp_path, {}, SystemClock()), settings, "").metrics_ports("camera")

    assert ports(9400) == [9400, 9401]
    assert ports(0) == []
