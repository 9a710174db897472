"""`kill -9` while standing queries are watched, on each database: no alert is lost, none is raised twice."""

from __future__ import annotations

import random
import time
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from pipeline.adapters.delivery_book import DeliveryBook
from pipeline.adapters.standing_book import AlertFilter, StandingBook
from pipeline.adapters.store import SqlStore, upgrade
from pipeline.adapters.watch_book import WatchBook
from pipeline.contracts import GlobalId
from pipeline.decisions import Decision
from pipeline.search.standing import StandingRequest
from tests.chaos import children
from tests.chaos.children import Site
from tests.fakes import DIGEST, embedding, painted
from tests.postgresql_server import PostgresqlServer
from tests.processes import forkserver
from tests.small_site import COLOURS, NOW, WardrobeEncoder

DEATHS, PEOPLE, TRACKLETS = 4, 12, 160


@pytest.fixture(params=["sqlite", "postgresql"])
def urls(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, str]:
    """Two databases."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/undisturbed.db", f"sqlite:///{tmp_path}/disturbed.db"
    server: PostgresqlServer = request.getfixturevalue("postgresql")
    return server.new_database(), server.new_database()


def fill(url: str) -> None:
    """A query for each colour is on, and people of these colours have come and gone."""
    upgrade(url)
    seen = WardrobeEncoder().embed_images([painted(colour) for colour in COLOURS.values()]).language
    rng = np.random.default_rng(3)
    with closing(SqlStore(url)) as store:
        store.switch_model(DIGEST, 0, NOW, "first")
        book = StandingBook(store.database)
        for colour in COLOURS:
            book.switch_on(book.add(StandingRequest(f"{colour} coat", colour, "anna", (), 60.0, 1000), NOW))
        made = []
        for number in range(TRACKLETS):
            person, at = int(rng.integers(PEOPLE)), NOW + 5.0 * number
            camera = ("gate", "hall")[int(rng.integers(2))]
            passed = embedding(camera, number, started_at=at, ended_at=at + 4.0, vector=seen[person % len(seen)])
            made.append(Decision(passed, GlobalId(person + 1), False, 0.9, "test"))
        store.commit_decisions(made, NOW)


def watch_to_the_end(url: str, deaths: int, rng: random.Random) -> int:
    """Run the watcher until it has seen all, and kill it `deaths` times first; returns the deaths it died.

    Every other time it kills itself before one of its calls to the database, else it is killed at a random moment.
    """
    site, died = Site("", "", url), 0
    with closing(SqlStore(url)) as store:
        book = WatchBook(store.database)
        while True:
            is_last = died >= deaths
            by_itself = rng.randrange(2, 14) if died % 2 and not is_last else None
            before = book.standing()[1]
            process = forkserver.Process(target=children.watch, args=(site, by_itself), daemon=True)
            process.start()
            while not is_last and by_itself is None and book.standing()[1] == before:
                time.sleep(0.002)
            if not is_last and by_itself is None:
                time.sleep(rng.uniform(0.0, 0.02))
                process.kill()
            while process.is_alive() and book.standing()[1] < TRACKLETS:
                time.sleep(0.01)
            if book.standing()[1] == TRACKLETS:
                process.kill()
                process.join()
                return died
            process.join()
            assert process.exitcode == -9
            died += 1


def test_a_watcher_killed_again_and_again_raises_what_an_undisturbed_one_does(urls: tuple[str, str]) -> None:
    found = []
    for url, deaths in zip(urls, (0, DEATHS), strict=True):
        fill(url)
        assert watch_to_the_end(url, deaths, random.Random(4)) == deaths
        with closing(SqlStore(url)) as store:
            alerts = StandingBook(store.database).alerts(AlertFilter(), 10 * TRACKLETS)
            told = DeliveryBook(store.database).due("pager", time.time(), 10 * TRACKLETS)
        assert [each.alert_number for each in told] == [alert.number for alert in reversed(alerts)]
        found.append([(alert.number, alert.query_number, alert.global_id, alert.tracklet_id) for alert in alerts])
    undisturbed, disturbed = found
    assert disturbed == undisturbed
    assert len(undisturbed) > 50
