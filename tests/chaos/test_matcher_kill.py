"""`kill -9` at twenty moments, on the real Redis and each database: nobody can tell afterwards."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from pipeline.adapters.redis_bus import RedisBus
from pipeline.adapters.store import SqlStore, upgrade
from pipeline.contracts import IdentityEvent, IdentityEventKind, Message, StreamName, TrackletEmbedding, TrackletId
from pipeline.matching.calibration import Calibration
from tests.chaos import children
from tests.chaos.children import Site
from tests.fakes import DIGEST, crop, embedding, jpeg, painted, tracklet, unit_vectors
from tests.postgresql_server import PostgresqlServer
from tests.processes import forkserver

DEATHS = 20
PEOPLE, CAMERAS, TRACKLETS = 12, 4, 640

Child = Callable[[Site, int | None], None]


@pytest.fixture(params=["sqlite", "postgresql"])
def make_site(request: pytest.FixtureRequest, redis_url: str, tmp_path: Path) -> Callable[[str], Site]:
    server: PostgresqlServer | None = None
    if request.param == "postgresql":
        server = request.getfixturevalue("postgresql")

    def make(name: str) -> Site:
        database_url = server.new_database() if server else f"sqlite:///{tmp_path / name}.db"
        upgrade(database_url)
        return Site(redis_url, f"{tmp_path.name}-{name}", database_url)

    return make


@pytest.fixture
def site(redis_url: str, tmp_path: Path) -> Site:
    return Site(redis_url, tmp_path.name, "")


def walkers() -> list[TrackletEmbedding]:
    """Noisy tracklets of people who walk between cameras, several at once, in the order of their ends."""
    rng = np.random.default_rng(11)
    looks = unit_vectors(rng, PEOPLE, 64)
    found = []
    for number in range(TRACKLETS // 2):
        person, camera = int(rng.integers(PEOPLE)), int(rng.integers(CAMERAS))
        started_at = number * 0.8 + float(rng.uniform(0.0, 3.0))
        for sequence in range(2):
            look = looks[person] + 0.08 * rng.standard_normal(looks.shape[1])
            found.append(
                embedding(
                    f"camera-{camera}",
                    number,
                    sequence,
                    started_at=started_at + 4.0 * sequence,
                    ended_at=started_at + 4.0 * sequence + 3.9,
                    vector=(look / np.linalg.norm(look)).astype(np.float32),
                )
            )
    return sorted(found, key=lambda each: each.ended_at)


def run_to_the_end(child: Child, site: Site, stream: StreamName, group: str, deaths: int, rng: random.Random) -> int:
    """Run `child` until `group` has read all of `stream`; kill it `deaths` times first. Returns the deaths it died.

    Every other time the child kills itself before one of its outward calls, else it is killed a random moment after it
    has read up to three batches; so no death can use up all the work.
    """
    bus, died = site.bus(), 0
    while True:
        is_last = died >= deaths
        by_itself = rng.randrange(2, 24) if died % 2 and not is_last else None
        process = forkserver.Process(target=child, args=(site, by_itself), daemon=True)
        process.start()
        if not is_last and by_itself is None:
            goal = bus.backlog(stream, group).waiting - children.BATCH * rng.randrange(3)
            while bus.backlog(stream, group).waiting > goal:
                time.sleep(0.002)
            time.sleep(rng.uniform(0.0, 0.02))
            process.kill()
        while process.is_alive() and not is_read(bus, stream, group):
            time.sleep(0.01)
        if is_read(bus, stream, group):
            process.kill()
            process.join()
            return died
        process.join()
        assert process.exitcode == -9
        died += 1


def is_read(bus: RedisBus, stream: StreamName, group: str) -> bool:
    backlog = bus.backlog(stream, group)
    return backlog.waiting == backlog.pending == 0


def read_all(bus: RedisBus, stream: StreamName) -> list[Message]:
    found: list[Message] = []
    while deliveries := bus.consume(stream, "reader", "reader-1", 256, 0.0):
        found += [delivery.message for delivery in deliveries]
        bus.acknowledge(deliveries, "reader")
    return found


def decided(site: Site) -> tuple[list[IdentityEvent], Calibration]:
    """All events, and the calibration that they led to."""
    with closing(SqlStore(site.database_url)) as store:
        kept = store.newest_calibration(DIGEST)
        assert kept is not None
        return store.events_after(0, 10 * TRACKLETS), Calibration.unpacked(kept.content)


def apart_from_time(events: list[IdentityEvent]) -> list[IdentityEvent]:
    return [event.model_copy(update={"decided_at": 0.0}) for event in events]


def test_a_matcher_killed_twenty_times_gives_the_identities_of_an_undisturbed_run(
    make_site: Callable[[str], Site],
) -> None:
    undisturbed, disturbed = make_site("undisturbed"), make_site("disturbed")
    tracklets = walkers()
    for site, deaths in ((undisturbed, 0), (disturbed, DEATHS)):
        site.bus().publish(StreamName.EMBEDDINGS, tracklets)
        died = run_to_the_end(children.match, site, StreamName.EMBEDDINGS, "matcher", deaths, random.Random(5))
        assert died == deaths

    (events, learnt), (expected, undisturbed_learnt) = decided(disturbed), decided(undisturbed)
    assert apart_from_time(events) == apart_from_time(expected)
    assert learnt.packed() == undisturbed_learnt.packed() and learnt.number >= 3
    assert [event.event_id for event in events] == list(range(1, len(events) + 1))
    given = [event for event in events if event.kind is IdentityEventKind.ASSIGNED]
    assert sorted(name for event in given for name in event.tracklet_ids) == sorted(t.tracklet_id for t in tracklets)
    assert PEOPLE <= len({event.global_id for event in given}) < TRACKLETS // 2
    assert {event.kind for event in events} == {
        IdentityEventKind.ASSIGNED,
        IdentityEventKind.MERGED,
        IdentityEventKind.SPLIT,
    }

    bus = disturbed.bus()
    sent = [message for message in read_all(bus, StreamName.IDENTITIES) if isinstance(message, IdentityEvent)]
    first_sent = {event.event_id: event for event in reversed(sent)}
    assert [first_sent[event.event_id] for event in events] == events
    assert all(event == first_sent[event.event_id] for event in sent)  # said twice, perhaps; never otherwise
    assert bus.dead_letters(1) == []


def test_an_embedder_killed_again_and_again_loses_no_tracklet(site: Site) -> None:
    colours = np.random.default_rng(2).integers(0, 240, (480, 3))
    tracklets = [
        tracklet(number, *[crop(jpeg(painted((int(r), int(g), int(b)))))] * 2)
        for number, (r, g, b) in enumerate(colours)
    ]
    site.bus().publish(StreamName.CROPS, tracklets)
    died = run_to_the_end(children.embed, site, StreamName.CROPS, "embedder", 8, random.Random(6))
    assert died == 8
    bus = site.bus()
    sent: dict[TrackletId, Message] = {}
    for message in read_all(bus, StreamName.EMBEDDINGS):
        assert isinstance(message, TrackletEmbedding)
        assert sent.setdefault(message.tracklet_id, message) == message
    assert sent.keys() == {each.tracklet_id for each in tracklets}
    assert bus.dead_letters(1) == []
