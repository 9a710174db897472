"""What every service does the same way."""

from __future__ import annotations

import os
import socket
import subprocess
import sys

import httpx
import pytest

from pipeline.errors import ConfigurationError
from pipeline.metrics import SERVICE_RESTARTS
from services.runtime import service, serving_metrics
from services.settings import Settings
from services.supervisor import SUPERVISOR_VARIABLE


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_metrics_are_served_during_the_block_and_the_port_is_free_again() -> None:
    port = free_port()
    SERVICE_RESTARTS.labels("told").inc()
    for _ in range(2):
        with serving_metrics("127.0.0.1", port):
            text = httpx.get(f"http://127.0.0.1:{port}/metrics").text
            assert 'sightline_service_restarts_total{service="told"}' in text


def test_a_taken_metrics_port_is_told_with_the_remedy() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as taken,
        pytest.raises(ConfigurationError, match="SIGHTLINE_METRICS_PORT"),
        serving_metrics("127.0.0.1", taken.getsockname()[1]),
    ):
        pass


def test_the_api_has_metrics_where_prometheus_looks_without_a_token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.runtime.configure_logging", lambda *_: None)
    monkeypatch.setattr("signal.signal", lambda *_: None)
    port = free_port()
    with service("api", Settings(metrics_port=port)):
        assert httpx.get(f"http://127.0.0.1:{port}/metrics").status_code == 200


def test_a_service_whose_supervisor_died_before_it_began_ends_at_once() -> None:
    code = (
        "from services.runtime import service\nfrom services.settings import Settings\n"
        "with service('match', Settings(metrics_port=0)): print('works')"
    )
    for supervisor, told in [(os.getpid(), "works\n"), (os.getpid() + 1, "")]:
        done = subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, SUPERVISOR_VARIABLE: str(supervisor)},
            capture_output=True, text=True, timeout=60, check=True,
        )  # fmt: skip
        assert done.stdout == told
        assert ("has ended before" in done.stderr) == (told == "")
