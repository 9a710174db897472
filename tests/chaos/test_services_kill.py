"""`kill -9` of each service of a running site: no tracklet is lost, and no identity changes but by an event."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from pipeline.contracts import IdentityEvent, TrackletId
from services.demo import drained
from services.runtime import open_store
from services.settings import load
from services.up import running_system
from tests.processes import logs

pytestmark = pytest.mark.slow


@pytest.mark.timeout(300)
def test_services_that_are_killed_lose_no_tracklet_and_change_no_identity_but_by_an_event(tmp_path: Path) -> None:
    settings = load(
        None,
        {
            "data_dir": tmp_path / "data",
            "api": {"port": 0},
            "metrics_port": 0,
            "cameras": [
                {"id": name, "address": f"simulated://site?seed=7&cameras=3&camera={number}&people=8&fps=5"}
                for number, name in enumerate(("gate", "lobby", "yard"))
            ],
            "tracking": {"detector": "motion"},
        },
    )
    with running_system(settings) as system:
        assert system.supervisor.wait_until_ready(120, lambda _: None), logs(settings.data_dir)
        store = open_store(system.settings)
        told: list[IdentityEvent] = []
        for name in ("match", "embed", "archive", "api", "match"):
            until = time.monotonic() + 4
            while time.monotonic() < until:
                system.supervisor.poll()
                time.sleep(0.2)
            before, told = told, store.events_after(0, 10_000)
            assert told[: len(before)] == before
            process_id = system.supervisor.process_id(name)
            if process_id is not None:
                os.kill(process_id, signal.SIGKILL)
        assert system.supervisor.wait_until_ready(120, lambda _: None), logs(settings.data_dir)
        system.supervisor.stop("camera")
        assert drained(system, 60), logs(settings.data_dir)
        before, told = told, store.events_after(0, 10_000)
        assert before
        assert told[: len(before)] == before
        assert store.unpublished_events(1) == []
        held = store.tracklets([TrackletId(name) for event in told for name in event.tracklet_ids])
        assert {name: tracklet.global_id for name, tracklet in held.items()} == replayed(told)
        assert all(tracklet.crops for tracklet in held.values())


def replayed(events: Sequence[IdentityEvent]) -> dict[str, int]:
    """Whose each tracklet is, for somebody who knows the events alone."""
    whose: dict[str, int] = {}
    for event in events:
        for name in event.tracklet_ids:
            assert whose.get(name) == event.from_global_id, event  # None: it was nobody's
            whose[name] = event.global_id
    return whose
