"""Two matchers on one database by mistake: one decides, and one that was taken for dead wakes up and writes nothing."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from multiprocessing.context import ForkServerProcess
from pathlib import Path

import pytest

from pipeline.adapters.store import SqlStore, upgrade
from pipeline.contracts import StreamName
from tests.chaos import children
from tests.chaos.children import Site
from tests.fakes import embedding
from tests.postgresql_server import PostgresqlServer
from tests.processes import forkserver

_WAIT_S = 60.0
IN_VAIN = "decides for the database"


@dataclass
class Mistake:
    """Matchers of two sites that were given one database, so that each sees work of its own."""

    redis_url: str
    database_url: str
    folder: Path
    started: dict[str, ForkServerProcess] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.store = SqlStore(self.database_url)

    def site(self, name: str) -> Site:
        return Site(self.redis_url, f"{self.folder.name}-{name}", self.database_url)

    def start(self, name: str, where: str | None = None, site: str | None = None) -> None:
        arguments = (self.site(site or name), where, self.said(name))
        self.started[name] = forkserver.Process(target=children.match_and_stand_still, args=arguments, daemon=True)
        self.started[name].start()

    def send(self, name: str, track_id: int) -> None:
        self.site(name).bus().publish(StreamName.EMBEDDINGS, [embedding(name, track_id)])

    def signal(self, name: str, number: signal.Signals) -> None:
        process_id = self.started[name].pid
        assert process_id is not None
        os.kill(process_id, number)

    def end(self, name: str) -> None:
        self.started[name].kill()
        self.started[name].join()

    def said(self, name: str) -> Path:
        return self.folder / f"{name}.log"

    def complaints(self, name: str) -> int:
        return self.said(name).read_text().count(IN_VAIN) if self.said(name).exists() else 0

    def stands_still(self, name: str) -> bool:
        return Path(f"/proc/{self.started[name].pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"

    def decided(self) -> list[str]:
        return [name for event in self.store.events_after(0, 99) for name in event.tracklet_ids]


@pytest.fixture(params=["sqlite", "postgresql"])
def mistake(request: pytest.FixtureRequest, redis_url: str, tmp_path: Path) -> Iterator[Mistake]:
    database_url = f"sqlite:///{tmp_path / 'sightline.db'}"
    if request.param == "postgresql":
        server: PostgresqlServer = request.getfixturevalue("postgresql")
        database_url = server.new_database()
    upgrade(database_url)
    made = Mistake(redis_url, database_url, tmp_path)
    with closing(made.store):
        yield made
        for name in made.started:
            made.end(name)


def wait_for(condition: Callable[[], object], what: str) -> None:
    until_s = time.monotonic() + _WAIT_S
    while not condition():
        assert time.monotonic() < until_s, f"waited in vain for {what}"
        time.sleep(0.02)


def test_the_second_says_who_decides_waits_and_takes_over_when_that_one_is_killed(mistake: Mistake) -> None:
    mistake.start("first")
    mistake.send("first", 1)
    wait_for(lambda: mistake.decided() == ["first/b1/1/0"], "the first to decide")
    mistake.start("second")
    mistake.send("second", 2)
    wait_for(lambda: mistake.complaints("second") > 1, "the second to complain")
    assert f"process {mistake.started['first'].pid} decides" in mistake.said("second").read_text()
    mistake.send("first", 3)
    wait_for(lambda: len(mistake.decided()) > 1, "the first to go on")
    assert mistake.decided() == ["first/b1/1/0", "first/b1/3/0"]
    mistake.end("first")
    wait_for(lambda: mistake.decided()[2:] == ["second/b1/2/0"], "the second to take over")


# Who is paused within a transaction keeps everybody else off SQLite's one file, so there nobody can take over.
@pytest.mark.parametrize(
    ("mistake", "where"),
    [("sqlite", "before"), ("postgresql", "before"), ("postgresql", "within")],
    indirect=["mistake"],
)
def test_one_that_was_paused_and_replaced_writes_nothing_when_it_wakes_up(mistake: Mistake, where: str) -> None:
    mistake.start("paused", where)
    mistake.send("paused", 1)
    wait_for(lambda: mistake.stands_still("paused"), "the first to stand still")
    mistake.start("second")
    mistake.send("second", 2)
    wait_for(lambda: mistake.decided() == ["second/b1/2/0"], "the second to take over")
    mistake.signal("paused", signal.SIGCONT)
    wait_for(lambda: mistake.complaints("paused") > 1, "the first to be refused")
    mistake.send("second", 3)
    wait_for(lambda: len(mistake.decided()) > 1, "the second to go on")
    assert mistake.decided() == ["second/b1/2/0", "second/b1/3/0"]
    mistake.end("second")
    wait_for(lambda: mistake.decided()[2:] == ["paused/b1/1/0"], "the first to decide what it had in hand")


def test_what_a_paused_one_had_in_hand_its_successor_decides_and_once(mistake: Mistake) -> None:
    mistake.start("paused", "before", site="shared")
    mistake.send("shared", 1)
    wait_for(lambda: mistake.stands_still("paused"), "the first to stand still")
    mistake.start("successor", site="shared")
    wait_for(lambda: mistake.decided() == ["shared/b1/1/0"], "the successor to decide")
    mistake.signal("paused", signal.SIGCONT)
    wait_for(lambda: mistake.complaints("paused") > 1, "the first to be refused")
    mistake.end("successor")
    mistake.send("shared", 2)
    wait_for(lambda: len(mistake.decided()) > 1, "the first to go on")
    assert mistake.decided() == ["shared/b1/1/0", "shared/b1/2/0"]
