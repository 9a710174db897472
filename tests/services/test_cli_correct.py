"""`sightline correct` and `sightline explain`, on a database in a folder."""

from __future__ import annotations

import getpass
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from pipeline.adapters.store import SqlStore
from pipeline.contracts import GlobalId
from pipeline.decisions import Decision
from pipeline.errors import ConfigurationError, InvalidQuery
from pipeline.matching.corrector import apply_corrections
from services.cli import app
from tests.fakes import HandClock, embedding
from tests.small_site import file_store

GATE, HALL, YARD = embedding("gate", 1), embedding("hall", 2), embedding("yard", 3)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Person 1 at gate and hall, person 2 in the yard."""
    monkeypatch.setenv("COLUMNS", "250")
    store = file_store(tmp_path)
    made = [Decision(seen, GlobalId(n), False, 0.75, "alike") for seen, n in ((GATE, 1), (HALL, 1), (YARD, 2))]
    store.commit_decisions(made, 1_700_000_000.0)
    store.close()
    return tmp_path


def sightline(folder: Path, *arguments: str) -> Result:
    result = CliRunner().invoke(app, [*arguments, "--data-dir", str(folder)])
    if result.exception is not None:
        raise result.exception
    return result


def let_matcher_work(folder: Path) -> dict[str, int]:
    store = SqlStore(f"sqlite:///{folder / 'sightline.db'}")
    apply_corrections(store, HandClock())
    found = store.assignments([each.tracklet_id for each in (GATE, HALL, YARD)])
    store.close()
    return {name.partition("/")[0]: number for name, number in found.items()}


def test_every_correction_reaches_the_matcher_and_the_list_tells_of_it(folder: Path) -> None:
    told = sightline(folder, "correct", "merge", "1", "2", "--by", "anna", "--note", "same coat").output
    assert "Correction 1 is kept" in told
    assert "waits for the matcher" in sightline(folder, "correct", "list").output
    assert let_matcher_work(folder) == {"gate": 1, "hall": 1, "yard": 1}
    sightline(folder, "correct", "split", "1", GATE.tracklet_id, HALL.tracklet_id)
    assert let_matcher_work(folder) == {"gate": 3, "hall": 3, "yard": 1}
    sightline(folder, "correct", "not-same", GATE.tracklet_id, HALL.tracklet_id)
    assert let_matcher_work(folder) == {"gate": 3, "hall": 4, "yard": 1}
    sightline(folder, "correct", "same", YARD.tracklet_id, HALL.tracklet_id)
    assert let_matcher_work(folder) == {"gate": 3, "hall": 1, "yard": 1}
    sightline(folder, "correct", "undo", "4", "--note", "no")
    assert let_matcher_work(folder) == {"gate": 3, "hall": 4, "yard": 1}
    listed = sightline(folder, "correct", "list").output
    assert "persons 1 and 2 are one" in listed and "same coat" in listed and "anna" in listed
    assert "undone by correction 5" in listed and getpass.getuser() in listed


def test_nothing_corrected_is_said(folder: Path) -> None:
    assert sightline(folder, "correct", "list").output == "Nothing was corrected.\n"


def test_an_explanation_is_sentences(folder: Path) -> None:
    sightline(folder, "correct", "merge", "2", "1", "--by", "anna")
    let_matcher_work(folder)
    lines = sightline(folder, "explain", GATE.tracklet_id).output.splitlines()
    assert lines[0].endswith("It is person 2.") and "alike" in lines[1]
    assert lines[2].endswith("(merged): correction 1 by anna.")
    assert lines[3] == "Law: correction 1 by anna says that persons 2 and 1 are one."


def test_what_is_unknown_is_refused_with_the_remedy(folder: Path) -> None:
    with pytest.raises(InvalidQuery, match="there is no person 9"):
        sightline(folder, "correct", "merge", "1", "9")
    with pytest.raises(InvalidQuery, match="there is no tracklet 'a/b/1/0'"):
        sightline(folder, "explain", "a/b/1/0")


def test_a_mistyped_folder_gets_no_empty_database(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="there is no database"):
        sightline(tmp_path / "nowhere", "correct", "list")
    assert not (tmp_path / "nowhere").exists()
