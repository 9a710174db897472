"""What processes of their own do to a database."""

from __future__ import annotations

import os
import signal

from sqlalchemy import event

from pipeline.adapters.store import SqlStore, upgrade
from pipeline.contracts import GlobalId
from pipeline.decisions import Decision
from tests.fakes import crop, embedding, tracklet


def write(url: str, camera_id: str) -> None:
    """Begin with the schema, as every service does."""
    upgrade(url)
    store = SqlStore(url, busy_s=60.0)
    for number in range(20):
        store.commit_decisions([Decision(embedding(camera_id, number), GlobalId(1 + number), False, 0.5, "test")], 1.0)
        store.archive_tracklet(tracklet(number, crop(b"crop"), camera_id=camera_id))


def die_before_the_commit(url: str) -> None:
    store = SqlStore(url)
    event.listen(store._database._engine, "commit", lambda _: os.kill(os.getpid(), signal.SIGKILL))
    store.commit_decisions([Decision(embedding(track_id=2), GlobalId(2), True, 0.5, "test")], 1.0)
