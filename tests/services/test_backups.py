"""`sightline backup` and `restore`: what comes back, what does not, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pipeline.adapters.audit_store import AuditStore
from pipeline.adapters.backup_folder import LEDGER, BackupFolder, DamagedBackup
from pipeline.adapters.blobs import FsBlobs
from pipeline.adapters.clock import SystemClock
from pipeline.adapters.memory_bus import MemoryBus
from pipeline.adapters.store import SqlStore
from pipeline.audit import AuditAction, verified
from pipeline.contracts import BlobKey, GlobalId
from pipeline.errors import ConfigurationError
from pipeline.forgetting import ErasureRequest
from pipeline.search.models import SearchConfig, SearchModel
from pipeline.search.people import PeopleSearch
from pipeline.search.query import Filters
from services.audited import terminal_user
from services.backups import back_up, kept, restore
from services.runtime import open_accounts, open_registry, open_store
from services.settings import Settings, load
from tests.fakes import DIGEST
from tests.services.command import Sightline
from tests.services.nightly.small_nights import make_bundle
from tests.small_site import CALIBRATION, PAINTED_PEOPLE, WORDS, WardrobeEncoder, file_store, record

FOR_EVER = {"crops_days": 0, "events_days": 0, "for_ever": True}


def settings_of(data: Path, **changes: Any) -> Settings:
    return load(None, {"data_dir": data, "retention": FOR_EVER, "backup": {"folder": data.parent / "copies"}} | changes)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The place of a site in `var` with three people, and a model that was promoted."""
    monkeypatch.setenv("SIGHTLINE_BACKUP__FOLDER", "copies")
    data = tmp_path / "var"
    data.mkdir()
    store = file_store(data)
    record(store, FsBlobs(str(data / "blobs")), PAINTED_PEOPLE)
    store.close()
    for digest in (DIGEST, "fedcba9876543210"):
        make_bundle(data / "models" / digest, "taught here", digest)
    open_registry(settings_of(data)).promote(DIGEST, 1.0, "test")
    return tmp_path


def newest(folder: Path) -> Path:
    return BackupFolder(folder / "copies").backups()[0].folder


def words_found(store: SqlStore, question: str) -> list[int]:
    encoder = WardrobeEncoder()
    model = SearchModel(store, encoder, SearchConfig(text=WORDS, appearance=CALIBRATION), encoder.unknown_words)
    return [each.global_id for each in PeopleSearch(store, lambda: model).by_text(question, Filters(), 9).people]


def erase(data: Path, person: int) -> int:
    """Asked for, and done by the matcher."""
    store = SqlStore(f"sqlite:///{data / 'sightline.db'}")
    request = ErasureRequest(GlobalId(person), "anna", f"case {person}")
    number = store.add_erasure(request, store.rehearse_erasure(request.global_id), 1.0)
    store.erase(number, 2.0, 1e12)
    store.close()
    return number


def test_what_comes_back_can_be_searched_shown_and_vouched_for(folder: Path, sightline: Sightline) -> None:
    told = sightline(folder, "backup").out
    assert "3 people, 4 tracklets, 4 crops, 1 models" in told and str(newest(folder).name) in told
    assert "is whole" in sightline(folder, "backup", "--verify", str(newest(folder))).out
    settings = settings_of(folder / "new", backup={})
    restore(settings, newest(folder))
    store = open_store(settings)
    assert words_found(store, "a person in red") == [1]
    blobs = FsBlobs(settings.blobs)
    assert all(blobs.get(key) is not None for key in store.crop_keys(BlobKey(""), 9))
    assert open_registry(settings).wanted().name == DIGEST
    assert [path.name for path in settings.models.iterdir() if path.is_dir()] == [DIGEST]
    entries = list(AuditStore(store.database, SystemClock()).entries())
    assert verified(entries).number == 2
    assert [(each.actor, each.action, each.subject) for each in entries] == [
        (terminal_user(), AuditAction.OPERATION.value, "backup made"),
        (terminal_user(), AuditAction.OPERATION.value, "backup put back"),
    ]
    store.close()


def test_the_command_puts_back_and_says_what(folder: Path, sightline: Sightline) -> None:
    sightline(folder, "backup")
    done = sightline(folder, "restore", str(newest(folder)), "--data-dir", "new")
    assert (done.code, done.out.startswith("Put back: site main of")) == (0, True)
    assert sightline(folder, "audit", "verify", "--data-dir", "new").code == 0


def test_who_was_erased_meanwhile_is_erased_again(folder: Path, sightline: Sightline) -> None:
    sightline(folder, "backup")
    former = newest(folder)
    number = erase(folder / "var", 1)
    BackupFolder(folder / "copies").note_erasures(open_store(settings_of(folder / "var")).all_receipts())
    told = sightline(folder, "restore", str(former), "--data-dir", "new").out
    assert "asked for again: 1." in told
    store = SqlStore(f"sqlite:///{folder / 'new' / 'sightline.db'}")
    [pending] = store.pending_erasures()
    # Under a number that nobody had: backups by the former number would else pass for newer than they are.
    assert (pending.global_id, pending.made_by, pending.why) == (1, "anna", "case 1") and pending.number > number
    store.close()


def test_erasures_of_people_whom_the_backup_does_not_know_are_named(folder: Path) -> None:
    ledger = '[{"number": 9, "global_ids": [77], "made_by": "anna", "why": "case 9"}]'
    (folder / "copies").mkdir()
    made = back_up(settings_of(folder / "var"), None)
    (folder / "copies" / LEDGER).write_text(ledger)
    done = restore(settings_of(folder / "new"), made.folder)
    assert (done.asked_again, done.not_found) == ((), (9,))


def test_a_backup_from_after_an_erasure_asks_for_nothing_again(folder: Path, sightline: Sightline) -> None:
    number = erase(folder / "var", 1)
    store = open_store(settings_of(folder / "var"))
    store.finish_erasure(number, store.left_of(number), 3.0)
    store.close()
    sightline(folder, "backup")
    told = sightline(folder, "restore", str(newest(folder)), "--data-dir", "new").out
    assert "2 people" in told and "again" not in told and "Nobody here" not in told


def test_what_became_too_old_meanwhile_is_given_to_nobody(folder: Path, sightline: Sightline) -> None:
    sightline(folder, "backup")
    settings = settings_of(folder / "new", retention={"crops_days": 0.001, "events_days": 0.001})
    restore(settings, newest(folder))
    store = open_store(settings)
    assert words_found(store, "a person in red") == []
    store.close()


def test_nothing_is_written_over(folder: Path, sightline: Sightline) -> None:
    sightline(folder, "backup")
    (folder / "new").mkdir()
    (folder / "new" / "a file").touch()
    done = sightline(folder, "restore", str(newest(folder)), "--data-dir", "new")
    assert done.code == 2 and "new is not empty" in done.errors
    with pytest.raises(ConfigurationError, match=r"a database at sqlite:.*already"):
        restore(settings_of(folder / "other", database_url=f"sqlite:///{folder}/var/sightline.db"), newest(folder))
    with pytest.raises(ConfigurationError, match=r"crops at .* already"):
        restore(settings_of(folder / "other", blobs_url=str(folder / "var" / "blobs")), newest(folder))
    assert not (folder / "other" / "models").exists()


def test_of_a_damaged_backup_nothing_is_put_back(folder: Path, sightline: Sightline) -> None:
    sightline(folder, "backup")
    next(newest(folder).glob("crops/*/*")).write_bytes(b"something else")
    done = sightline(folder, "restore", str(newest(folder)), "--data-dir", "new")
    assert done.code == 1 and "was changed after it was made" in done.errors and not (folder / "new").exists()
    assert sightline(folder, "backup", "--verify", str(newest(folder))).code == 1
    with pytest.raises(DamagedBackup, match=r"manifest\.json cannot be read"):
        restore(settings_of(folder / "new"), folder / "nowhere")


def test_a_backup_needs_a_database_and_a_folder_outside_of_the_data(
    folder: Path, sightline: Sightline, monkeypatch: pytest.MonkeyPatch
) -> None:
    for words in (["backup", "var/copies"], ["backup", "var"]):
        assert "inside the data folder" in sightline(folder, *words).errors
    assert "there is no database" in sightline(folder, "backup", "--data-dir", "mistyped").errors
    monkeypatch.delenv("SIGHTLINE_BACKUP__FOLDER")
    done = sightline(folder, "backup")
    assert done.code == 2 and "set backup.folder" in done.errors
    with pytest.raises(ConfigurationError, match=r"backup\.folder .* inside the data folder"):
        settings_of(folder / "var", backup={"folder": folder / "var" / "copies"})


def test_crops_that_are_sealed_are_copied_so_and_opened_by_the_key_kept_elsewhere(
    folder: Path, sightline: Sightline, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("cryptography", reason="the extra [encryption] is missing")
    monkeypatch.setenv("SIGHTLINE_BLOB_KEYS", "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=")
    sightline(folder, "reseal")
    monkeypatch.delenv("SIGHTLINE_BLOB_KEYS")
    sightline(folder, "backup")
    assert all(path.read_bytes().startswith(b"SLsealed1") for path in newest(folder).glob("crops/*/*"))
    sightline(folder, "restore", str(newest(folder)), "--data-dir", "new")
    key = BlobKey(next((folder / "new" / "blobs").glob("*/*/*")).name)
    with pytest.raises(ConfigurationError, match="no key is given"):
        FsBlobs(str(folder / "new" / "blobs")).get(key)


def test_the_job_makes_one_and_the_console_is_told(
    folder: Path, sightline: Sightline, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.retaining.open_bus", lambda _: MemoryBus())
    settings = settings_of(folder / "var")
    assert (told := kept(settings)) is not None and (told.whole, told.newest_at) == (0, None)
    sightline(folder, "retain", "--once")
    assert (told := kept(settings)) is not None and (told.whole, told.keep_days) == (1, 7.0)
    assert told.newest_at == told.oldest_at == BackupFolder(folder / "copies").backups()[0].made_at
    assert kept(settings_of(folder / "var", backup={"folder": None})) is None
    accounts, audit = open_accounts(settings)
    assert list(audit.entries()) == []  # what the job does nobody has done
    accounts.close()
