"""What people said about answers is kept on every database."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pipeline.adapters.store import SqlStore
from pipeline.contracts import GlobalId
from pipeline.decisions import Decision
from pipeline.search.feedback import Verdict
from tests.fakes import DIGEST, embedding

VERDICT = Verdict("woman, “red” coat", GlobalId(7), -1.25, True, "ann", 1_700_000_000.5)
FAR = GlobalId(2**40)


@pytest.fixture(autouse=True)
def people(store: SqlStore) -> None:
    """Two who are known."""
    for track, number in enumerate((VERDICT.global_id, FAR)):
        store.commit_decisions([Decision(embedding(track_id=track), number, True, 0.9, "test")], 1.7e9)


def test_verdicts_come_back_as_they_were_the_newest_first(store: SqlStore) -> None:
    assert store.verdicts(DIGEST, 10) == []
    later = replace(VERDICT, global_id=FAR, is_right=False, made_at=VERDICT.made_at + 1)
    store.keep_verdict(DIGEST, VERDICT)
    store.keep_verdict(DIGEST, later)
    store.keep_verdict("another-model", replace(VERDICT, log_odds=9.0))
    assert store.verdicts(DIGEST, 10) == [later, VERDICT]
    assert store.verdicts(DIGEST, 1) == [later]


def test_the_last_word_on_a_question_and_a_person_counts(store: SqlStore) -> None:
    store.keep_verdict(DIGEST, VERDICT)
    changed = replace(VERDICT, is_right=False, made_by="bob", made_at=VERDICT.made_at + 5)
    store.keep_verdict(DIGEST, changed)
    assert store.verdicts(DIGEST, 10) == [changed]


def test_what_was_said_on_one_question_is_found_by_it(store: SqlStore) -> None:
    store.keep_verdict(DIGEST, VERDICT)
    store.keep_verdict(DIGEST, replace(VERDICT, global_id=GlobalId(8), is_right=False))
    store.keep_verdict(DIGEST, replace(VERDICT, question="blue coat"))
    store.keep_verdict("another-model", replace(VERDICT, global_id=GlobalId(9)))
    assert store.verdicts_on(DIGEST, VERDICT.question) == {GlobalId(7): True, GlobalId(8): False}
