from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import BigInteger, bindparam, func, inspect, select, update
from sqlalchemy.engine import URL

from pipeline.adapters import migrations
from pipeline.adapters.database import Database, execute_many, plain_rows, shown_address
from pipeline.adapters.schema import counters, metadata
from pipeline.adapters.store import SqlStore, upgrade
from pipeline.contracts import GlobalId
from pipeline.decisions import Decision
from pipeline.errors import ConfigurationError, InvalidMessage, Unavailable
from tests.fakes import crop, embedding, tracklet
from tests.pipeline.adapters.database_writers import die_before_the_commit, write
from tests.postgresql_server import PostgresqlServer
from tests.processes import forkserver

MIGRATIONS = Path(migrations.__file__).parent


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'sightline.db'}"


@pytest.fixture(params=["sqlite", "postgresql"])
def any_url(request: pytest.FixtureRequest, url: str) -> str:
    if request.param == "sqlite":
        return url
    server: PostgresqlServer = request.getfixturevalue("postgresql")
    return server.new_database()


@pytest.fixture
def database(any_url: str) -> Iterator[Database]:
    with closing(Database(any_url)) as opened:
        yield opened


@pytest.fixture
def store(url: str) -> SqlStore:
    upgrade(url)
    return SqlStore(url, busy_s=0.05)


# --- schema -----------------------------------------------------------------------------------------------------------


def test_the_migrations_build_exactly_the_schema(database: Database) -> None:
    database.upgrade()
    with database.reading() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []


def test_the_migrations_can_be_undone_and_done_again(database: Database) -> None:
    database.upgrade()
    database.downgrade("base")
    with database.reading() as connection:
        assert inspect(connection).get_table_names() == ["alembic_version"]
    database.upgrade()
    database.check_schema()


def test_each_migration_can_be_undone_by_itself(database: Database) -> None:
    revisions = [script.revision for script in ScriptDirectory(str(MIGRATIONS)).walk_revisions()]
    for revision in reversed(revisions):
        database.upgrade(revision)
        database.downgrade("-1")
        database.upgrade(revision)
    database.check_schema()


def test_decisions_made_before_models_could_change_keep_their_order(database: Database) -> None:
    database.upgrade("0001")
    with database.writing() as connection:
        for track_id in (1, 2, 3):
            connection.exec_driver_sql(
                "INSERT INTO tracklets (tracklet_id, camera_id, boot_id, track_id, sequence, started_at, ended_at,"
                f" detections) VALUES ('gate/b/{track_id}/0', 'gate', 'b', {track_id}, 0, 1, 2, 3)"
            )
        for event_id, track_id in ((1, 2), (2, 1)):
            connection.exec_driver_sql(
                "INSERT INTO identity_events (event_id, kind, decided_at, global_id, tracklet_ids, is_new, confidence,"
                f""" reason) VALUES ({event_id}, 'assigned', 5, 1, '["gate/b/{track_id}/0"]', true, 0.5, '')"""
            )
    database.upgrade()
    with database.reading() as connection:
        found = connection.exec_driver_sql("SELECT tracklet_id, assigned_event FROM tracklets ORDER BY 1").all()
    assert [tuple(row) for row in found] == [("gate/b/1/0", 2), ("gate/b/2/0", 1), ("gate/b/3/0", None)]


def test_events_from_before_anything_was_tentative_are_certain_and_change_nobody(database: Database) -> None:
    database.upgrade("0003")
    with database.writing() as connection:
        connection.exec_driver_sql(
            "INSERT INTO identities (global_id, opened_at, first_seen_at, last_seen_at, tracklets)"
            " VALUES (1, 5, 1, 2, 1)"
        )
        connection.exec_driver_sql(
            "INSERT INTO identity_events (event_id, kind, decided_at, global_id, tracklet_ids, is_new, confidence,"
            """ reason) VALUES (1, 'assigned', 5, 1, '["gate/b/1/0"]', true, 0.5, '')"""
        )
    database.upgrade()
    with database.reading() as connection:
        found = connection.exec_driver_sql(
            "SELECT is_tentative, evidence, merged_into FROM identity_events, identities"
        )
        assert [tuple(row) for row in found] == [(False, None, None)]


def test_what_was_decided_before_anything_was_calibrated_survives_the_way_up_and_down(database: Database) -> None:
    tracklet = "INSERT INTO tracklets (tracklet_id, camera_id, boot_id, track_id, sequence, started_at, ended_at,"
    before = "SELECT tracklet_id, global_id, confidence, assigned_event FROM tracklets"
    database.upgrade("0004")
    with database.writing() as connection:
        connection.exec_driver_sql(
            "INSERT INTO identities (global_id, opened_at, first_seen_at, last_seen_at, tracklets)"
            " VALUES (1, 5, 1, 2, 1)"
        )
        connection.exec_driver_sql(
            f"{tracklet} detections, global_id, confidence, assigned_event)"
            " VALUES ('gate/b/1/0', 'gate', 'b', 1, 0, 1, 2, 3, 1, 0.5, 1)"
        )
    database.upgrade("0005")
    with database.writing() as connection:
        found = connection.exec_driver_sql("SELECT newness, likeliest FROM tracklets")
        assert [tuple(row) for row in found] == [(0.0, 0.0)]
        connection.exec_driver_sql("UPDATE tracklets SET newness = 0.25, likeliest = 0.75")
        connection.exec_driver_sql(
            "INSERT INTO calibrations (model_digest, number, learnt_at, content) VALUES ('m', 1, 5, 'taught')"
        )
    for revision in ("0004", "0005"):
        (database.downgrade if revision == "0004" else database.upgrade)(revision)
        with database.reading() as connection:
            assert [tuple(row) for row in connection.exec_driver_sql(before)] == [("gate/b/1/0", 1, 0.5, 1)]
            assert inspect(connection).has_table("calibrations") == (revision == "0005")
            names = {column["name"] for column in inspect(connection).get_columns("tracklets")}
            assert names.issuperset({"newness", "likeliest"}) == (revision == "0005")


def test_the_moment_of_a_decision_is_unknown_for_those_made_before_it_was_noted(database: Database) -> None:
    database.upgrade("0009")
    with database.writing() as connection:
        connection.exec_driver_sql(
            "INSERT INTO tracklets (tracklet_id, camera_id, boot_id, track_id, sequence, started_at, ended_at,"
            " detections) VALUES ('gate/b/1/0', 'gate', 'b', 1, 0, 1, 2, 3)"
        )
    for revision, found in (("0010", [("gate/b/1/0", None)]), ("0009", None), ("0010", [("gate/b/1/0", None)])):
        (database.downgrade if found is None else database.upgrade)(revision)
        if found is not None:
            with database.reading() as connection:
                rows = connection.exec_driver_sql("SELECT tracklet_id, decided_at FROM tracklets")
                assert [tuple(row) for row in rows] == found


def test_a_file_database_writes_ahead_and_syncs_each_commit(store: SqlStore) -> None:
    with store._database.reading() as connection:
        pragmas = {
            name: connection.exec_driver_sql(f"PRAGMA {name}").scalar_one()
            for name in ("journal_mode", "synchronous", "foreign_keys")
        }
    assert pragmas == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1}


def test_a_database_without_schema_is_refused_with_the_remedy(url: str) -> None:
    with pytest.raises(ConfigurationError, match=r"has schema none; expected \d{4}: start `sightline up`"):
        SqlStore(url)


def test_a_database_of_a_newer_sightline_is_refused_and_left_alone(url: str, tmp_path: Path) -> None:
    upgrade(url)
    with closing(sqlite3.connect(tmp_path / "sightline.db")) as file:
        file.execute("UPDATE alembic_version SET version_num = '0999'")
        file.commit()
    for attempt in (upgrade, SqlStore):
        with pytest.raises(
            ConfigurationError, match=r"has schema 0999; this Sightline knows 0001, 0002, .*: update Sightline"
        ):
            attempt(url)


def test_a_file_that_is_no_database_is_refused_and_left_alone(url: str, tmp_path: Path) -> None:
    (tmp_path / "sightline.db").write_bytes(b"holiday pictures" * 512)
    with pytest.raises(ConfigurationError, match="damaged or no SQLite database"):
        upgrade(url)
    assert (tmp_path / "sightline.db").read_bytes().startswith(b"holiday pictures")


# --- trouble ----------------------------------------------------------------------------------------------------------


def test_a_locked_database_is_unavailable_and_then_available_again(store: SqlStore, tmp_path: Path) -> None:
    batch = [Decision(embedding(), GlobalId(1), True, 0.5, "test")]
    with closing(sqlite3.connect(tmp_path / "sightline.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(Unavailable, match="database is locked"):
            store.commit_decisions(batch, 1.0)
        assert store.next_global_id() == 1  # readers do not wait for writers
    assert len(store.commit_decisions(batch, 1.0)) == 1


def test_a_folder_that_is_missing_is_unavailable(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="unable to open database file"):
        upgrade(f"sqlite:///{tmp_path / 'missing' / 'sightline.db'}")


def test_a_full_disk_is_unavailable_and_loses_nothing_committed(store: SqlStore) -> None:
    store.commit_decisions([Decision(embedding(track_id=0), GlobalId(1), True, 0.5, "test")], 1.0)
    with store._database.reading() as connection:
        connection.exec_driver_sql("PRAGMA max_page_count = 1")  # SQLite's own way to be full
    with pytest.raises(Unavailable, match="full"):
        for number in range(1, 500):
            store.commit_decisions([Decision(embedding(track_id=number), GlobalId(1), False, 0.5, "test")], 1.0)
    assert store.route(GlobalId(1))[0].tracklet_ids[0] == "gate/b1/0/0"


def test_a_number_beyond_the_database_is_an_invalid_message(store: SqlStore) -> None:
    with pytest.raises(InvalidMessage, match="at most 64 bits"):
        store.archive_tracklet(tracklet(2**70, crop(b"crop")))


@pytest.mark.parametrize(
    "address",
    [
        "postgresql://lena:hunter2@localhost:1/people",
        "postgres://localhost:1/people?user=lena&password=hunter2",
        "mysql://lena:hunter2@host/people",
        "postgresql://lena:hunter2@host:port/people",
        "sqlite://lena:hunter2@host/people",
        "hunter2",
    ],
)
def test_no_error_shows_a_password(address: str) -> None:
    with pytest.raises((ConfigurationError, Unavailable)) as raised:
        Database(address, busy_s=2.0).upgrade()
    shown: BaseException | None = raised.value
    while shown is not None:
        assert "hunter2" not in f"{shown!r} {shown}"
        shown = None if shown.__suppress_context__ and shown.__cause__ is None else shown.__cause__ or shown.__context__


@settings(deadline=None)
@given(st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=4))
def test_the_shown_address_holds_no_password(password: str) -> None:
    address = URL.create("postgresql+psycopg", "lena", password, "host", 1, "people", {"password": password})
    assert shown_address(address) == "postgresql://lena:***@host:1/people"


# --- several processes and sudden death -------------------------------------------------------------------------------


def test_processes_that_start_and_write_at_once_lose_nothing(any_url: str) -> None:
    writers = [forkserver.Process(target=write, args=(any_url, name), daemon=True) for name in ("gate", "hall", "lift")]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(90)
        assert writer.exitcode == 0
    with closing(SqlStore(any_url)) as store:
        events = store.events_after(0, 1000)
        assert [event.event_id for event in events] == list(range(1, 61))
        assert store.counts().tracklets == 60
        assert all(summary.tracklets == 3 for summary in store.recent_identities(100))
        archived = store.tracklets([tracklet(n, crop(b"crop"), camera_id="hall").tracklet_id for n in range(20)])
    assert [len(each.crops) for each in archived.values()] == [1] * 20


def test_a_process_killed_in_the_middle_of_a_commit_leaves_nothing_of_it(any_url: str) -> None:
    upgrade(any_url)
    with closing(SqlStore(any_url)) as store:
        store.commit_decisions([Decision(embedding(track_id=1), GlobalId(1), True, 0.5, "test")], 1.0)
        victim = forkserver.Process(target=die_before_the_commit, args=(any_url,), daemon=True)
        victim.start()
        victim.join(60)
        assert victim.exitcode == -9
        assert [event.event_id for event in store.unpublished_events(10)] == [1]
        (event,) = store.commit_decisions([Decision(embedding(track_id=2), GlobalId(2), True, 0.5, "test")], 1.0)
        assert (event.event_id, event.global_id) == (2, 2)


def test_many_rows_are_written_by_one_statement_with_the_constants_it_holds() -> None:
    database = Database.in_memory()
    wanted = bindparam("wanted", type_=BigInteger)
    count = update(counters).where(counters.c.name == bindparam("which")).values(last=func.coalesce(wanted, 7))
    with database.writing() as connection:
        execute_many(connection, count, [{"which": "row", "wanted": None}, {"which": "event_id", "wanted": 3}])
        execute_many(connection, count, [])
    with database.reading() as connection:
        rows = plain_rows(connection, select(counters.c.name, counters.c.last).where(counters.c.last > 0), {})
    assert sorted(rows) == [("event_id", 3), ("row", 7)]
    database.close()


def test_threads_take_turns_with_a_database_in_memory() -> None:
    """They have one connection between them."""
    database = Database.in_memory()
    raised = update(counters).where(counters.c.name == "row").values(last=counters.c.last + 1)

    def use(_: int) -> None:
        with database.reading() as connection:
            plain_rows(connection, select(counters), {})
        with database.writing() as connection:
            connection.execute(raised)

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(use, range(100)))
    with database.reading() as connection:
        assert connection.execute(select(counters.c.last).where(counters.c.name == "row")).scalar_one() == 100
    database.close()
