"""The supervisor, with real processes."""

from __future__ import annotations

import itertools
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

from services.supervisor import LogLimits, ServiceSpec, Supervisor, rotate_log

READY = "import os, pathlib; pathlib.Path(os.environ['SIGHTLINE_READY_FILE']).touch();"
WAIT = "import time; time.sleep(60)"


class QuickClock:
    """Real time, ten times as fast, so that pauses of the supervisor are short."""

    def now(self) -> float:
        return time.time()

    def monotonic(self) -> float:
        return 10 * time.monotonic()

    def sleep(self, duration_s: float) -> None:
        time.sleep(duration_s / 10)


def service(name: str, code: str, grace_s: float = 5.0) -> ServiceSpec:
    return ServiceSpec(name, [sys.executable, "-c", code], grace_s)


def supervise(tmp_path: Path, *specs: ServiceSpec) -> Supervisor:
    return Supervisor(specs, tmp_path, os.environ, QuickClock())


def wait_for(condition: Callable[[], bool], supervisor: Supervisor) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        supervisor.poll()
        time.sleep(0.02)


def test_a_service_that_dies_is_started_again(tmp_path: Path) -> None:
    code = f"import pathlib, sys; mark = pathlib.Path({str(tmp_path / 'mark')!r}); been = mark.exists();"
    code += f"mark.touch(); been or sys.exit(1); {READY} {WAIT}"
    supervisor = supervise(tmp_path, service("worker", code))
    supervisor.start()
    try:
        assert supervisor.wait_until_ready(200, lambda _: None)
        assert supervisor.failures() == {"worker": [1]}
    finally:
        supervisor.stop()


def test_a_service_that_cannot_work_as_configured_is_not_started_again(tmp_path: Path) -> None:
    supervisor = supervise(tmp_path, service("worker", "import sys; print('why'); sys.exit(2)"))
    supervisor.start()
    assert not supervisor.wait_until_ready(200, lambda _: None)
    assert supervisor.is_broken
    assert supervisor.log_path("worker").read_text() == "why\n"
    supervisor.stop()


def test_services_stop_in_the_order_of_the_list(tmp_path: Path) -> None:
    order = tmp_path / "order"
    code = (
        "import signal, sys, time, pathlib, os\n"
        "def stop(*_):\n"
        f"    open({str(order)!r}, 'a').write('NAME'); sys.exit(0)\n"
        "signal.signal(signal.SIGTERM, stop)\n"
        f"{READY}\n"
        "time.sleep(60)\n"
    )
    supervisor = supervise(tmp_path, *(service(name, code.replace("NAME", name)) for name in "abc"))
    supervisor.start()
    assert supervisor.wait_until_ready(200, lambda _: None)
    supervisor.stop()
    assert order.read_text() == "abc"
    assert supervisor.failures() == {}


def test_a_service_that_ignores_the_request_is_killed_after_its_grace(tmp_path: Path) -> None:
    code = f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); {READY} {WAIT}"
    supervisor = supervise(tmp_path, service("stubborn", code, grace_s=0.2))
    supervisor.start()
    assert supervisor.wait_until_ready(200, lambda _: None)
    supervisor.stop()
    assert supervisor.failures() == {"stubborn": [-9]}


def test_pauses_between_restarts_grow(tmp_path: Path) -> None:
    starts = tmp_path / "starts"
    supervisor = supervise(
        tmp_path, service("worker", f"import time; open({str(starts)!r}, 'a').write(f'{{time.monotonic()}} '); 1/0")
    )
    supervisor.start()
    wait_for(lambda: starts.exists() and len(starts.read_text().split()) > 3, supervisor)
    supervisor.stop()
    moments = [float(moment) for moment in starts.read_text().split()]
    pauses = [after - before for before, after in itertools.pairwise(moments)]
    assert pauses[2] > pauses[0]


def test_a_log_is_set_aside_while_its_service_prints_and_only_the_newest_are_kept(tmp_path: Path) -> None:
    code = (
        f"import itertools, time\n{READY}\nfor number in itertools.count(): print(number, flush=True); time.sleep(1e-3)"
    )
    spec = service("worker", code)
    supervisor = Supervisor([spec], tmp_path, os.environ, QuickClock(), LogLimits(max_bytes=200, kept=2))
    supervisor.start()
    path = supervisor.log_path("worker")
    oldest = tmp_path / "worker.log.2"
    try:
        wait_for(lambda: oldest.exists() and "0" not in oldest.read_text().split(), supervisor)
        wait_for(lambda: path.stat().st_size > 0, supervisor)
    finally:
        supervisor.stop()
    parts = [tmp_path / f"worker.log{ending}" for ending in (".2", ".1", "")]
    numbers = [int(word) for part in parts for word in part.read_text().split()]  # a hole of zero bytes would not read
    assert numbers == sorted(set(numbers))
    assert sorted(file.name for file in tmp_path.glob("worker.log*")) == ["worker.log", "worker.log.1", "worker.log.2"]


def test_a_log_of_an_earlier_run_is_set_aside_at_the_start_if_it_is_large(tmp_path: Path) -> None:
    path = tmp_path / "worker.log"
    for content, names in [("12345", ["worker.log"]), ("123456", ["worker.log", "worker.log.1"])]:
        path.write_text(content)
        rotate_log(path, LogLimits(max_bytes=5, kept=3))
        assert sorted(file.name for file in tmp_path.iterdir()) == names
    assert path.read_text() == ""
    assert (tmp_path / "worker.log.1").read_text() == "123456"
