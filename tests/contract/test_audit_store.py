"""The audit log keeps one chain on every database, whoever writes to it at the same time."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from pipeline.adapters.audit_store import AuditStore, append
from pipeline.adapters.store import SqlStore
from pipeline.audit import START, AuditAction, BrokenChain, verified
from tests.fakes import HandClock


@pytest.fixture
def log(store: SqlStore) -> AuditStore:
    return AuditStore(store._database, HandClock(0.1 + 0.2))


def test_what_is_recorded_comes_back_and_is_verified(log: AuditStore) -> None:
    assert log.head() == START and list(log.entries()) == []
    first = log.record("anna", AuditAction.SEARCH, "red\x00 coat", {"cameras": ["lobby"], "share": 0.1, "why": "ü\x00"})
    second = log.record("bo", AuditAction.VIEW, "person 12")
    assert list(log.entries()) == [first, second]
    assert log.newest(1) == [second]
    assert verified(log.entries()) == log.head() == second.head


def test_many_pages_are_one_chain(log: AuditStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.adapters.audit_store._PAGE", 2)
    for number in range(5):
        log.record("anna", AuditAction.VIEW, f"person {number}")
    assert [entry.number for entry in log.entries(after=1)] == [2, 3, 4, 5]
    assert verified(log.entries()).number == 5


def test_writers_at_the_same_time_make_one_chain(log: AuditStore, store: SqlStore) -> None:
    if store._database.shown_url == "sqlite://":
        pytest.skip("a database in memory has but one connection")
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda number: log.record("anna", AuditAction.VIEW, f"person {number}"), range(20)))
    assert verified(log.entries()).number == 20


def test_an_entry_goes_with_the_transaction_that_it_belongs_to(log: AuditStore, store: SqlStore) -> None:
    with pytest.raises(RuntimeError), store._database.writing() as connection:
        append(connection, 1.0, "anna", AuditAction.ERASURE, "person 3")
        raise RuntimeError("the erasure fails")
    assert log.head() == START


def test_a_row_that_was_changed_behind_its_back_is_named(log: AuditStore, store: SqlStore) -> None:
    for number in range(3):
        log.record("anna", AuditAction.VIEW, f"person {number}")
    with store._database.writing() as connection:
        connection.exec_driver_sql("UPDATE audit SET subject = 'person 9' WHERE number = 2")
    with pytest.raises(BrokenChain, match="entry 2 was changed"):
        verified(log.entries())
