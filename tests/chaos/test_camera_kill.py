"""`kill -9` of a camera worker in a running site: it is started again, nothing that was sent is lost, others go on."""

from __future__ import annotations

import os
import signal
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from sqlalchemy import select

from pipeline.adapters.clock import SystemClock
from pipeline.adapters.schema import tracklets
from pipeline.adapters.store import SqlStore, upgrade
from pipeline.contracts import StreamName, TrackletId, tracklet_parts
from pipeline.interfaces import Backlog
from services.runtime import open_bus, open_status_board, open_store
from services.settings import Settings, write_private
from services.supervisor import Supervisor
from services.up import service_environment, service_specs

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

KILLED, OTHER = "gate", "lobby"


@pytest.fixture
def settings(redis_url: str, tmp_path: Path) -> Settings:
    """Two cameras of a simulated site, each with a worker of its own."""
    address = "simulated://site?seed=7&cameras=2&people=12&camera="
    return Settings.model_validate(
        {
            "site": tmp_path.name,
            "data_dir": tmp_path / "data",
            "redis_url": redis_url,
            "metrics_port": 0,
            "cameras_per_worker": 1,
            "cameras": [{"id": name, "address": f"{address}{place}"} for place, name in enumerate((KILLED, OTHER))],
            "tracking": {"detector": "motion"},
        }
    )


@contextmanager
def running(settings: Settings) -> Iterator[Supervisor]:
    """The camera workers and whoever acknowledges what they send."""
    settings.data_dir.mkdir()
    upgrade(settings.database)
    config_file = settings.data_dir / "settings.yaml"
    write_private(settings, config_file)
    specs = [spec for spec in service_specs(settings, config_file) if spec.name.startswith(("camera-", "archive"))]
    supervisor = Supervisor(specs, settings.data_dir / "run", service_environment(os.environ), SystemClock())
    supervisor.start()
    try:
        assert supervisor.wait_until_ready(120.0, lambda _: None)
        yield supervisor
    finally:
        supervisor.stop()


def archived(store: SqlStore, camera_id: str) -> dict[tuple[str, int], set[int]]:
    """The pieces of each track of a camera, by the start of its worker and the track's number."""
    found: dict[tuple[str, int], set[int]] = defaultdict(set)
    with store.database.reading() as connection:
        names = select(tracklets.c.tracklet_id).where(tracklets.c.camera_id == camera_id)
        for name in connection.execute(names).scalars():
            _, boot_id, track_id, sequence = tracklet_parts(TrackletId(name))
            found[boot_id, track_id].add(sequence)
    return dict(found)


def until(is_so: Callable[[], bool], supervisor: Supervisor | None = None, timeout_s: float = 60.0) -> None:
    """Without a supervisor nobody is started again meanwhile."""
    deadline_s = time.monotonic() + timeout_s
    while not is_so():
        assert time.monotonic() < deadline_s, "it took too long; see the logs in the run folder"
        if supervisor is not None:
            supervisor.poll()
        time.sleep(0.1)


def test_a_killed_camera_worker_comes_back_nothing_sent_is_lost_and_the_other_camera_goes_on(
    settings: Settings,
) -> None:
    board, bus = open_status_board(settings), open_bus(settings)
    with running(settings) as supervisor, closing(open_store(settings)) as store:

        def reported_at(camera_id: str) -> float:
            return max((each.reported_at for each in board.statuses() if each.camera_id == camera_id), default=0.0)

        until(lambda: bool(archived(store, KILLED) and archived(store, OTHER)), supervisor)
        victim, neighbour = (supervisor.process_id(f"camera-{place}") for place in (0, 1))
        assert victim is not None
        before = archived(store, KILLED)
        os.kill(victim, signal.SIGKILL)
        killed_at = time.time()
        until(lambda: reported_at(OTHER) > killed_at + 1.0)  # while the killed one is away
        assert reported_at(KILLED) <= killed_at
        until(lambda: len({boot for boot, _ in archived(store, KILLED)}) == 2, supervisor)
        assert supervisor.process_id("camera-1") == neighbour
        supervisor.stop("camera-")
        until(lambda: bus.backlog(StreamName.CROPS, "archiver") == Backlog(0, 0), supervisor)
        after, others = archived(store, KILLED), archived(store, OTHER)
    assert all(before[track] <= after[track] for track in before)
    # Every track is there from its first piece on: of what was sent before one that arrived nothing is missing.
    assert all(pieces == set(range(len(pieces))) for pieces in (*after.values(), *others.values()))
    assert len({boot for boot, _ in others}) == 1
    assert supervisor.failures() == {"camera-0": [-signal.SIGKILL]}
    assert not list(settings.data_dir.glob("spool/*/*.spool"))
