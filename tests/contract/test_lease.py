"""What the right to decide promises on every database: one holder, and nothing written by any before."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from sqlalchemy import Connection, update

from pipeline.adapters.database import Database
from pipeline.adapters.lease import Lease
from pipeline.adapters.process_mark import has_ended, process_mark
from pipeline.adapters.schema import leases
from pipeline.adapters.store import SqlStore
from pipeline.contracts import GlobalId
from pipeline.errors import Unavailable
from pipeline.interfaces import Decision
from tests.fakes import embedding
from tests.postgresql_server import PostgresqlServer
from tests.sqlite_files import new_database


@pytest.fixture(params=["file", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "file":
        return new_database(tmp_path)
    server: PostgresqlServer = request.getfixturevalue("postgresql")
    return server.wiped_database()


@pytest.fixture
def first(url: str) -> Iterator[Lease]:
    with Lease(url, "the first matcher", "elsewhere") as lease:
        yield lease


@pytest.fixture
def second(url: str) -> Iterator[Lease]:
    with Lease(url, "the second matcher", "further away") as lease:
        yield lease


def fall_silent(url: str) -> None:
    """Let whoever holds the lease have renewed it for the last time long ago."""
    with closing(Database(url)) as database, database.writing() as connection:
        connection.execute(update(leases).values(expires_at=1.0))


def commit(url: str, lease: Lease, track_id: int) -> int:
    with closing(SqlStore(url, fence=lease.check)) as store:
        return len(store.commit_decisions([Decision(embedding(track_id=track_id), GlobalId(1), False, 0.5, "")], 1.0))


def test_a_lease_is_taken_once_and_then_held(first: Lease) -> None:
    assert first.hold()
    assert not first.hold()


def test_the_second_hears_who_decides_and_since_when(first: Lease, second: Lease) -> None:
    first.hold()
    with pytest.raises(Unavailable, match=r"the first matcher decides for the database .* since 20\d\d-.*stop one"):
        second.hold()


def test_a_holder_that_ends_makes_room_at_once(url: str, second: Lease) -> None:
    with Lease(url, "the first matcher", "elsewhere") as first:
        first.hold()
    assert second.hold()


def test_a_holder_that_is_silent_is_replaced_and_its_transactions_are_refused(
    url: str, first: Lease, second: Lease
) -> None:
    first.hold()
    assert commit(url, first, 1) == 1
    fall_silent(url)
    assert commit(url, first, 2) == 1  # nobody else has come
    fall_silent(url)
    assert second.hold()
    with pytest.raises(Unavailable, match="the second matcher decides"):
        commit(url, first, 3)
    assert commit(url, second, 4) == 1
    with closing(SqlStore(url)) as store:
        assert [event.tracklet_ids[0].split("/")[2] for event in store.events_after(0, 9)] == ["1", "2", "4"]


def test_nobody_writes_before_holding_the_lease(url: str, first: Lease) -> None:
    with pytest.raises(Unavailable):
        commit(url, first, 1)


def test_a_lease_that_is_renewed_in_time_stays_with_its_holder(url: str, first: Lease, second: Lease) -> None:
    first.hold()
    fall_silent(url)
    first.renew()
    with pytest.raises(Unavailable):
        second.hold()


def test_a_holder_that_was_replaced_notices_when_it_renews_and_waits(url: str, first: Lease, second: Lease) -> None:
    first.hold()
    fall_silent(url)
    second.hold()
    first.renew()
    with pytest.raises(Unavailable, match="the second matcher decides"):
        first.hold()


def test_a_holder_that_is_paused_while_it_renews_is_replaced(
    postgresql: PostgresqlServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    url, goes_on = postgresql.wiped_database(), threading.Event()
    paused, second = (Lease(url, name, name, duration_s=0.5) for name in ("the first", "the second"))
    paused.hold()
    begin = paused._database.writing

    @contextmanager
    def standing_still() -> Iterator[Connection]:
        with begin() as connection:
            yield connection
            goes_on.wait(30)

    monkeypatch.setattr(paused._database, "writing", standing_still)
    with closing(paused._database), closing(second._database), ThreadPoolExecutor(1) as renewing:
        renewal = renewing.submit(paused.renew)
        time.sleep(0.6)  # longer than it was held for
        assert second.hold()
        goes_on.set()
        with pytest.raises(Unavailable):
            renewal.result()


def test_one_that_comes_back_has_to_read_again(url: str, first: Lease, second: Lease) -> None:
    first.hold()
    fall_silent(url)
    second.hold()
    fall_silent(url)
    first.renew()
    assert first.hold()


def test_a_holder_of_this_machine_whose_process_has_ended_is_not_waited_for(url: str, second: Lease) -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        gone = Lease(url, "the first matcher", process_mark(process.pid))
        gone.hold()
        gone._database.close()
        with pytest.raises(Unavailable):
            second.hold()
    assert second.hold()


# --- marks of processes -----------------------------------------------------------------------------------------------


def test_a_process_has_ended_when_it_has_even_if_nobody_has_asked_yet() -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        mark = process_mark(process.pid)
        assert mark and not has_ended(mark)
        process.kill()
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        assert has_ended(mark)


def test_a_number_that_came_again_is_another_process() -> None:
    mark = process_mark(os.getpid())
    assert has_ended(mark + "1")


@pytest.mark.parametrize("mark", ["", "another-machine/4026531836/1/2", "nonsense"])
def test_of_what_cannot_be_seen_from_here_nobody_says_that_it_has_ended(mark: str) -> None:
    assert not has_ended(mark)
