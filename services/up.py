"""`sightline up`: the whole system on this machine, every service a process of its own under one supervisor."""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import socket
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from pipeline.adapters.clock import SystemClock
from pipeline.errors import ConfigurationError
from pipeline.runtimes.machine import CACHE_VARIABLE, MALLOC
from services.api.exposure import check_exposure
from services.camera import checked_address
from services.detection import try_detector_runtimes
from services.encoders import try_runtimes
from services.runtime import redis_folder, serving_metrics
from services.settings import Settings, changed, write_private
from services.supervisor import ServiceSpec, Supervisor

log = logging.getLogger(__name__)

LOCK_NAME = "lock"


@dataclass(frozen=True, slots=True)
class RunningSystem:
    """A started group: its supervisor, the settings the services got, and where the page is."""

    supervisor: Supervisor
    settings: Settings
    page: str

    def metrics_ports(self, prefix: str) -> list[int]:
        """Ports of the metrics of the services whose name begins with `prefix`; none where metrics are off."""
        if self.settings.metrics_port == 0:
            return []
        names = [spec.name for spec in service_specs(self.settings, Path())]
        return [self.settings.metrics_port + index for index, name in enumerate(names) if name.startswith(prefix)]


@contextlib.contextmanager
def running_system(settings: Settings) -> Iterator[RunningSystem]:
    """Start everything that `settings` ask for; stop it in order at the end of the block.

    Raises `ConfigurationError` before anything starts where the settings cannot work.
    """
    if not settings.cameras:
        raise ConfigurationError(
            "no camera is given; name at least one: sightline up --camera lobby=rtsp://host/stream, or -c cameras.yaml"
        )
    for camera in settings.cameras:
        checked_address(camera)
    run_dir = settings.data_dir.resolve() / "run"
    with contextlib.ExitStack() as stack:
        stack.enter_context(only_one(run_dir))
        effective = stack.enter_context(_with_redis(_with_port(settings)))
        _prepare_database(effective)
        check_exposure(effective)
        # Before the cameras compete with the trials for the cores.
        try_runtimes(effective)
        try_detector_runtimes(effective)
        config_file = run_dir / "settings.yaml"
        write_private(effective, config_file)
        specs = service_specs(effective, config_file)
        # The supervisor counts the restarts, so it shows metrics as well: on the port after those of its services.
        port = settings.metrics_port and settings.metrics_port + len(specs)
        stack.enter_context(serving_metrics(settings.metrics_host, port))
        supervisor = Supervisor(specs, run_dir, service_environment(os.environ) | MALLOC, SystemClock())
        stack.callback(config_file.unlink, missing_ok=True)
        stack.callback(supervisor.stop)
        supervisor.start()
        yield RunningSystem(supervisor, effective, page_address(effective))


def page_address(settings: Settings) -> str:
    scheme = "http" if settings.api.tls_certificate is None else "https"
    return f"{scheme}://{settings.api.host}:{settings.api.port}"


def service_specs(settings: Settings, config_file: Path) -> list[ServiceSpec]:
    """The processes of this site in the order in which they stop: first those that produce, last those that consume."""
    groups = [
        settings.cameras[start : start + settings.cameras_per_worker]
        for start in range(0, len(settings.cameras), settings.cameras_per_worker)
    ]
    commands: list[tuple[str, list[str]]] = [
        (f"camera-{number}", ["camera", *(word for camera in group for word in ("--only", camera.id))])
        for number, group in enumerate(groups)
    ]
    commands += [(name, [name]) for name in ("embed", "reembed", "archive", "match", "watch", "retain", "api")]
    return [
        ServiceSpec(name, _command(arguments, config_file, settings.metrics_port and settings.metrics_port + index))
        for index, (name, arguments) in enumerate(commands)
    ]


def service_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """What services inherit: nothing that would override the settings handed to them in the file."""
    overriding = ("REDIS_URL", "DATABASE_URL")
    return {
        name: value
        for name, value in environment.items()
        if name == CACHE_VARIABLE or (not name.startswith("SIGHTLINE_") and name not in overriding)
    }


def _command(arguments: list[str], config_file: Path, metrics_port: int) -> list[str]:
    name, *rest = arguments
    start = [sys.executable, "-m", "services.cli", name, "-c", str(config_file)]
    return [*start, "--metrics-port", str(metrics_port), *rest]


def _with_port(settings: Settings) -> Settings:
    """A port that is free now; port 0 asks for any."""
    with socket.socket(socket.AF_INET6 if ":" in settings.api.host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((settings.api.host, settings.api.port))
        except OSError as error:
            raise ConfigurationError(
                f"{settings.api.host}:{settings.api.port} cannot be opened ({error.strerror}); "
                "choose another with --port, or --port 0 for any free one"
            ) from error
        return changed(settings, {"api": {"port": probe.getsockname()[1]}})


@contextlib.contextmanager
def _with_redis(settings: Settings) -> Iterator[Settings]:
    """The settings with a Redis address: the one set, else that of an embedded server started here."""
    if settings.redis_url is not None:
        yield settings
        return
    from pipeline.adapters.redis_server import EmbeddedRedis

    server = EmbeddedRedis(redis_folder(settings))
    server.end_orphan()  # ours is the only group over this folder: see `only_one`
    server.start()
    try:
        yield changed(settings, {"redis_url": server.url})
    finally:
        server.stop()


def _prepare_database(settings: Settings) -> None:
    from pipeline.adapters.store import upgrade

    upgrade(settings.database)


@contextlib.contextmanager
def only_one(run_dir: Path) -> Iterator[IO[str]]:
    """Hold the data folder of `run_dir`. Raises `ConfigurationError` while another group uses it."""
    run_dir.mkdir(parents=True, exist_ok=True)
    with (run_dir / LOCK_NAME).open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise ConfigurationError(
                f"another `sightline up` already uses {run_dir.parent}; stop it, or give another --data-dir"
            ) from error
        yield file
