"""The chain of the audit log: what it notices."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.audit import START, AuditAction, AuditEntry, BrokenChain, Head, next_entry, verified
from pipeline.errors import ConfigurationError

texts = st.text(max_size=30)
details = st.dictionaries(
    texts, texts | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.none(), max_size=3
)


def chain(length: int) -> list[AuditEntry]:
    entries: list[AuditEntry] = []
    for number in range(length):
        head = entries[-1].head if entries else START
        entries.append(next_entry(head, 100.5 + number, "anna", AuditAction.VIEW, f"person {number}", {"n": number}))
    return entries


def test_a_whole_chain_is_verified_and_an_empty_one_too() -> None:
    entries = chain(3)
    assert verified(entries) == entries[-1].head
    assert verified([]) == START


@given(actor=texts, subject=texts, detail=details, at=st.floats(allow_nan=False, allow_infinity=False))
def test_whatever_was_written_survives_an_export_and_is_verified(
    actor: str, subject: str, detail: dict[str, object], at: float
) -> None:
    entry = next_entry(START, at, actor, AuditAction.SEARCH, subject, detail)
    again = AuditEntry.of_line(entry.line())
    assert again == entry and verified([again]) == entry.head
    assert json.loads(again.detail) == detail
    assert "\x00" not in entry.actor + entry.subject + entry.detail


@pytest.mark.parametrize("field", ["at", "actor", "action", "subject", "detail"])
def test_a_changed_field_of_any_entry_is_noticed(field: str) -> None:
    entries = chain(3)
    entries[1] = replace(entries[1], **{field: 7.5 if field == "at" else "other"})
    with pytest.raises(BrokenChain, match="entry 2 was changed"):
        verified(entries)


def test_a_replaced_entry_breaks_the_next_one() -> None:
    entries = chain(3)
    entries[1] = next_entry(entries[0].head, 101.5, "nobody", AuditAction.VIEW, "person 1")
    with pytest.raises(BrokenChain, match="entry 3 does not follow"):
        verified(entries)


@pytest.mark.parametrize(("gone", "first"), [(0, 1), (1, 2)])
def test_a_missing_entry_is_named(gone: int, first: int) -> None:
    entries = chain(3)
    del entries[gone]
    with pytest.raises(BrokenChain, match=f"entry {first} is missing"):
        verified(entries)


def test_only_a_kept_head_gives_away_that_the_end_was_cut_off_or_all_made_anew() -> None:
    entries = chain(3)
    kept = Head.parse(str(entries[-1].head))
    assert verified(entries[:2]) == entries[1].head
    with pytest.raises(BrokenChain, match=r"ends with entry 2, but the head of 3 was kept"):
        verified(entries[:2], kept)
    forged = [next_entry(START, 1.0, "mallory", AuditAction.VIEW, "nobody")]
    for _ in range(3):
        forged.append(next_entry(forged[-1].head, 1.0, "mallory", AuditAction.VIEW, "nobody"))
    with pytest.raises(BrokenChain, match="made anew"):
        verified(forged, kept)
    longer = [*entries, next_entry(entries[-1].head, 200.0, "anna", AuditAction.LOGOUT, "")]
    assert verified(longer, kept) == longer[-1].head


@pytest.mark.parametrize("line", ["", "{", "[]", "{}", '{"number":1}', "null"])
def test_a_line_that_is_no_entry_is_refused(line: str) -> None:
    with pytest.raises(BrokenChain, match="no entry"):
        AuditEntry.of_line(line)


@pytest.mark.parametrize("text", ["", "3", "3:abc", f"-1:{'0' * 64}", f"3:{'g' * 64}"])
def test_a_head_that_cannot_be_read_is_refused(text: str) -> None:
    with pytest.raises(ConfigurationError, match="NUMBER:HASH"):
        Head.parse(text)
