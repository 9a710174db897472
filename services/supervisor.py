"""Keeps a group of service processes alive and stops them in order.

A service that ends with code 2 cannot work as configured: it is not started again, and the group is told to stop. Any
other end leads to a restart after a pause that doubles up to half a minute and is forgotten after a quiet minute.
What a service prints goes to a log of bounded size.
"""

from __future__ import annotations

import itertools
import logging
import os
import shutil
import signal
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from pipeline.interfaces import Clock
from pipeline.metrics import SERVICE_RESTARTS

log = logging.getLogger(__name__)

CONFIGURATION_EXIT = 2
READY_FILE_VARIABLE = "SIGHTLINE_READY_FILE"
SUPERVISOR_VARIABLE = "SIGHTLINE_SUPERVISOR"  # its process number, so that a service notices that it is gone

_FIRST_PAUSE_S = 1.0
_LONGEST_PAUSE_S = 30.0
_QUIET_S = 60.0


@dataclass(frozen=True, slots=True)
class ServiceSpec:
    """One process of the group. Services stop in the order of their list, each given `grace_s` before it is killed."""

    name: str
    command: Sequence[str]
    grace_s: float = 10.0


@dataclass(frozen=True, slots=True)
class LogLimits:
    """When the log of a service is set aside, and how many such logs are kept."""

    max_bytes: int = 10_000_000
    kept: int = 3


@dataclass(slots=True)
class _Running:
    spec: ServiceSpec
    process: subprocess.Popen[bytes] | None = None
    log_file: IO[bytes] | None = None
    started_at_s: float = 0.0
    pause_s: float = _FIRST_PAUSE_S
    start_again_at_s: float = 0.0
    is_wanted: bool = True
    exits: list[int] = field(default_factory=list)


class Supervisor:
    """Starts services, watches them, stops them. Not thread-safe: one thread calls it."""

    def __init__(
        self,
        specs: Sequence[ServiceSpec],
        run_dir: Path,
        environment: Mapping[str, str],
        clock: Clock,
        log_limits: LogLimits = LogLimits(),
    ) -> None:
        self._running = [_Running(spec) for spec in specs]
        self._run_dir = run_dir
        self._environment = dict(environment)
        self._clock = clock
        self._log_limits = log_limits
        self.is_broken = False  # a service cannot work as configured

    def start(self) -> None:
        self._run_dir.mkdir(parents=True, exist_ok=True)
        for service in self._running:
            self._start(service)

    def poll(self) -> None:
        """Notice services that ended, start again those whose pause is over, and keep the logs short.

        Call it about once a second.
        """
        now_s = self._clock.monotonic()
        for service in self._running:
            rotate_log(self.log_path(service.spec.name), self._log_limits)
            if service.process is None:
                if service.is_wanted and now_s >= service.start_again_at_s and not self.is_broken:
                    self._start(service)
            elif (code := service.process.poll()) is not None:
                self._note_exit(service, code, now_s)

    def wait_until_ready(self, timeout_s: float, on_wait: Callable[[list[str]], None]) -> bool:
        """Whether every service became ready within `timeout_s`; `on_wait` hears the names still awaited."""
        deadline_s = self._clock.monotonic() + timeout_s
        while missing := [s.spec.name for s in self._running if not self._ready_file(s.spec.name).exists()]:
            on_wait(missing)
            self.poll()
            if self.is_broken or self._clock.monotonic() > deadline_s:
                return False
            self._clock.sleep(0.1)
        return True

    def failures(self) -> dict[str, list[int]]:
        """Exit codes of services that ended although nobody asked them to."""
        return {service.spec.name: service.exits for service in self._running if service.exits}

    def process_id(self, name: str) -> int | None:
        """The process of a service while it runs."""
        process = next(service.process for service in self._running if service.spec.name == name)
        return process.pid if process is not None else None

    def log_path(self, name: str) -> Path:
        return self._run_dir / f"{name}.log"

    def stop(self, prefix: str = "") -> None:
        """Stop those whose name begins with `prefix` in order, each after the one before it has drained; for good."""
        for service in self._running:
            if not service.spec.name.startswith(prefix):
                continue
            service.is_wanted = False
            if service.process is None:
                continue
            code = service.process.poll()
            if code is None:
                service.process.send_signal(signal.SIGTERM)
                try:
                    code = service.process.wait(service.spec.grace_s)
                except subprocess.TimeoutExpired:
                    log.warning("%s did not stop within %.0f s and was killed", service.spec.name, service.spec.grace_s)
                    service.process.kill()
                    code = service.process.wait()
            if code not in (0, -signal.SIGTERM):
                service.exits.append(code)
            self._forget(service)

    def _start(self, service: _Running) -> None:
        ready = self._ready_file(service.spec.name)
        ready.unlink(missing_ok=True)
        rotate_log(self.log_path(service.spec.name), self._log_limits)
        service.log_file = self.log_path(service.spec.name).open("ab")
        # A session of its own: Ctrl-C reaches the supervisor alone, which then stops the services in order.
        service.process = subprocess.Popen(
            list(service.spec.command),
            stdin=subprocess.DEVNULL,
            stdout=service.log_file,
            stderr=subprocess.STDOUT,
            env={**self._environment, READY_FILE_VARIABLE: str(ready), SUPERVISOR_VARIABLE: str(os.getpid())},
            start_new_session=True,
        )
        service.started_at_s = self._clock.monotonic()
        log.info("started %s (process %d)", service.spec.name, service.process.pid)

    def _note_exit(self, service: _Running, code: int, now_s: float) -> None:
        service.exits.append(code)
        self._forget(service)
        if code == CONFIGURATION_EXIT:
            self.is_broken = True
            log.error("%s cannot work as configured; see %s", service.spec.name, self.log_path(service.spec.name))
            return
        if now_s - service.started_at_s > _QUIET_S:
            service.pause_s = _FIRST_PAUSE_S
        service.start_again_at_s = now_s + service.pause_s
        service.pause_s = min(2 * service.pause_s, _LONGEST_PAUSE_S)
        SERVICE_RESTARTS.labels(service=service.spec.name).inc()
        log.warning("%s ended with code %d; it is started again", service.spec.name, code)

    def _forget(self, service: _Running) -> None:
        service.process = None
        self._ready_file(service.spec.name).unlink(missing_ok=True)
        if service.log_file is not None:
            service.log_file.close()
            service.log_file = None

    def _ready_file(self, name: str) -> Path:
        return self._run_dir / f"{name}.ready"


def rotate_log(path: Path, limits: LogLimits) -> None:
    """Set a log aside that has grown too large: `NAME.log.1` is the newest of those kept.

    The service holds its log open as standard output, so the file is copied and emptied instead of moved. It is open
    for appending: the next line begins the empty file. A line between copy and truncation is lost.
    """
    if not path.exists() or path.stat().st_size <= limits.max_bytes:
        return
    aside = [path.with_name(f"{path.name}.{number}") for number in range(1, limits.kept + 1)]
    try:
        for newer, older in reversed(list(itertools.pairwise(aside))):
            if newer.exists():
                newer.replace(older)
        shutil.copyfile(path, aside[0])
        os.truncate(path, 0)
    except OSError as error:
        log.warning("the log %s cannot be set aside: %s", path, error)
