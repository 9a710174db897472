"""Backups of a site on a real SQLite file: whole or none, bounded, without those who were erased."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from pipeline import metrics
from pipeline.adapters.backup_folder import (
    LEDGER,
    MANIFEST,
    BackupAtWork,
    BackupFolder,
    DamagedBackup,
    read_ledger,
    verify,
)
from pipeline.adapters.backup_keeper import BackupKeeper, KeeperConfig
from pipeline.adapters.backup_writer import Originals, make_backup
from pipeline.adapters.blobs import FsBlobs
from pipeline.adapters.database_copy import check_takes, copied, put_back
from pipeline.adapters.forgetter import Forgetter, ForgetterConfig
from pipeline.adapters.memory_bus import MemoryBus
from pipeline.adapters.store import SqlStore
from pipeline.backups import Backup
from pipeline.contracts import BlobKey, GlobalId
from pipeline.decisions import Decision
from pipeline.errors import ConfigurationError, Unavailable
from pipeline.forgetting import DAY_S, ErasureRequest, Keeping
from services.nightly.copies import NightCopies
from tests.fakes import HandClock, embedding
from tests.pipeline.adapters import backup_children
from tests.pipeline.adapters.backup_children import originals_of
from tests.postgresql_server import PostgresqlServer
from tests.small_site import NOW, PAINTED_PEOPLE, file_store, record


@dataclass(slots=True)
class Site:
    """Three people, with a keeper of daily backups for a week and a forgetter, on one clock."""

    data: Path
    folder: BackupFolder
    clock: HandClock = field(default_factory=lambda: HandClock(NOW))
    originals: Originals = field(init=False)
    keeper: BackupKeeper = field(init=False)
    forgetter: Forgetter = field(init=False)

    def __post_init__(self) -> None:
        store = file_store(self.data)
        record(store, FsBlobs(str(self.data / "blobs")), PAINTED_PEOPLE)
        self.originals = originals_of(self.data)
        config = KeeperConfig(every_s=DAY_S, keep_s=7 * DAY_S, longest_s=90 * DAY_S)
        self.keeper = BackupKeeper(self.folder, store, self.make, self.clock, config)
        self.forgetter = Forgetter(
            store,
            self.originals.blobs,
            MemoryBus(now=self.clock.now),
            lambda _: Keeping(None, None, None),
            NightCopies(self.data / "nightly"),
            self.clock,
            backups=self.folder,
        )

    @property
    def store(self) -> SqlStore:
        assert isinstance(self.originals.store, SqlStore)
        return self.originals.store

    def make(self) -> Backup:
        return make_backup(self.originals, self.folder, self.clock.now())

    def erase(self, person: int) -> int:
        request = ErasureRequest(GlobalId(person), "anna", "case 7")
        number = self.store.add_erasure(request, self.store.rehearse_erasure(GlobalId(person)), self.clock.now())
        self.store.erase(number, self.clock.now(), self.clock.now() + 90 * DAY_S)
        return number

    def passes(self, duration_s: float) -> None:
        self.clock.sleep(duration_s)
        self.forgetter.run_once()
        self.keeper.look()

    def ages(self) -> list[int]:
        return [round((self.clock.now() - each.made_at) / DAY_S) for each in self.folder.backups()]


@pytest.fixture
def site(tmp_path: Path) -> Site:
    (tmp_path / "data").mkdir()
    return Site(tmp_path / "data", BackupFolder(tmp_path / "backups"))


def names(store: SqlStore) -> list[str]:
    return store.gallery(store.newest_vector_digest() or "", "appearance", 0, 99)[0].tracklet_ids


def damage(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))


def test_a_backup_has_the_database_its_crops_and_a_digest_of_every_file(site: Site) -> None:
    made = site.make()
    manifest = verify(made.folder)
    assert manifest == made.manifest and made.folder.stat().st_mode & 0o077 == 0
    assert (manifest.counts.people, manifest.counts.tracklets, manifest.counts.crops) == (3, 4, 4)
    on_disk = {path.relative_to(made.folder).as_posix() for path in made.folder.rglob("*") if path.is_file()}
    crops = {path for path in on_disk if path.startswith("crops/")}
    assert on_disk == {MANIFEST, "sightline.db", "crops.sha256"} | crops and len(crops) == 4
    assert names(SqlStore(f"sqlite:///{made.folder / 'sightline.db'}")) == names(site.store)


def test_crops_that_no_row_names_are_not_copied_and_those_that_are_lost_are_counted(site: Site) -> None:
    site.originals.blobs.put(b"of nobody any more")
    lost = site.store.crop_keys(BlobKey(""), 9)[0]
    site.originals.blobs.delete(lost)
    made = verify(site.make().folder)
    assert (made.counts.crops, made.counts.missing_crops) == (3, 1)


@pytest.mark.parametrize("name", ["sightline.db", "crops.sha256", "crops/*/*", MANIFEST])
@pytest.mark.parametrize("is_removed", [False, True])
def test_whatever_is_damaged_or_missing_is_found_and_named(site: Site, name: str, is_removed: bool) -> None:
    made = site.make()
    victim = next(made.folder.glob(name))
    if is_removed:
        victim.unlink()
    elif name == MANIFEST:
        victim.write_text(victim.read_text()[:-20])
    else:
        damage(victim)
    with pytest.raises(DamagedBackup, match=victim.name):
        verify(made.folder)


def test_what_has_not_changed_is_linked_and_what_was_damaged_there_is_copied_anew(site: Site) -> None:
    first = site.make()
    crops = sorted(path.relative_to(first.folder) for path in first.folder.glob("crops/*/*"))
    damage(first.folder / crops[0])
    site.clock.sleep(DAY_S)
    second = site.make()
    assert verify(second.folder)
    linked = [(first.folder / path).samefile(second.folder / path) for path in crops]
    assert linked == [False, True, True, True]


def test_a_site_that_is_written_to_is_copied_as_it_was_at_one_moment(site: Site) -> None:
    stop, wrote = threading.Event(), threading.Event()

    def write() -> None:
        number = 100
        while not stop.is_set():
            # Two at a time in one transaction: a copy has both or none.
            seen = [embedding("gate", number), embedding("hall", number)]
            decisions = [Decision(each, GlobalId(number), False, 0.9, "test") for each in seen]
            site.store.commit_decisions(decisions, NOW)
            number += 1
            wrote.set()

    writer = threading.Thread(target=write)
    writer.start()
    try:
        assert wrote.wait(30.0)
        for _ in range(3):
            site.clock.sleep(DAY_S)
            made = verify(site.make().folder)
            assert made.counts.tracklets % 2 == 0
    finally:
        stop.set()
        writer.join()
    assert made.counts.tracklets > 4


def test_killed_in_the_middle_nothing_looks_whole_and_the_next_one_clears_up(site: Site) -> None:
    # Not by the fork server, which would load torch first.
    command = [sys.executable, "-m", backup_children.__name__, str(site.data), str(site.folder.folder), str(NOW)]
    assert subprocess.run(command, timeout=60.0, check=False).returncode == -signal.SIGKILL
    assert site.folder.backups() == [] and site.folder.left_of(1) == 1
    left = list(site.folder.folder.glob(".unfinished-*"))
    assert len(left) == 1 and not (left[0] / MANIFEST).exists()
    site.keeper.look()
    assert verify(site.folder.backups()[0].folder) and not list(site.folder.folder.glob(".unfinished-*"))


def test_a_backup_that_fails_leaves_nothing_is_counted_and_tried_again_later(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = metrics.BACKUP_FAILURES._value.get()

    def full(*_: object) -> bytes:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(FsBlobs, "sealed", full)
        with pytest.raises(Unavailable, match="No space left"):
            site.make()
        site.keeper.look()
    assert metrics.BACKUP_FAILURES._value.get() == before + 1 and metrics.BACKUP_NEWEST._value.get() == 0.0
    assert not list(site.folder.folder.glob(".unfinished-*"))
    site.keeper.look()
    assert site.folder.backups() == []
    site.clock.sleep(600.0)
    site.keeper.look()
    assert site.ages() == [0]


def test_two_at_once_do_not_disturb_each_other(site: Site) -> None:
    with site.folder.beginning(NOW - 1.0) as work:
        with pytest.raises(BackupAtWork, match="wait for it"):
            site.make()
        before = metrics.BACKUP_FAILURES._value.get()
        site.keeper.look()
        assert work.exists() and metrics.BACKUP_FAILURES._value.get() == before


def test_the_job_makes_one_a_day_and_keeps_a_week_of_them(site: Site) -> None:
    for _ in range(40):
        site.passes(DAY_S / 4)
        assert len(site.ages()) <= 8 and max(site.ages()) <= 7
    assert len(site.ages()) >= 7
    now = site.clock.now()
    newest, oldest = metrics.BACKUP_NEWEST._value.get(), metrics.BACKUP_OLDEST._value.get()
    assert now - newest < DAY_S and 6 * DAY_S < now - oldest <= 7 * DAY_S


def test_an_erasure_ends_when_no_backup_may_hold_the_person_any_more(site: Site) -> None:
    for _ in range(2):
        site.passes(DAY_S)
    number = site.erase(1)
    site.passes(1.0)
    assert len(site.ages()) == 2  # somebody may still send pieces of the person
    site.clock.sleep(ForgetterConfig().settle_s)
    site.forgetter.run_once()
    receipt = site.store.receipt(number)
    assert receipt is not None and receipt.finished_at is None and receipt.left is not None
    assert receipt.left.is_only_in_backups and receipt.left.backups == 2
    site.keeper.look()
    assert site.ages() == [0]
    site.passes(ForgetterConfig().retry_s)
    receipt = site.store.receipt(number)
    assert receipt is not None and receipt.finished_at is not None and receipt.left is not None
    assert receipt.left.is_nothing
    [made] = site.folder.backups()
    manifest = verify(made.folder)
    assert (manifest.counts.people, manifest.counts.crops, manifest.may_hold(number)) == (2, 2, False)
    content = b"".join(path.read_bytes() for path in made.folder.rglob("*") if path.is_file())
    erased = [stay for stay in PAINTED_PEOPLE if stay.global_id == 1]
    assert not any(f"{stay.camera_id}/b1/{stay.track_id}/".encode() in content for stay in erased)


def test_an_erasure_stays_open_while_no_backup_succeeds(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    site.passes(0.0)
    number = site.erase(1)

    def away(*_: object) -> bytes:
        raise Unavailable("the bucket is away")

    monkeypatch.setattr(FsBlobs, "sealed", away)
    for _ in range(3):
        site.passes(2 * ForgetterConfig().settle_s)
    receipt = site.store.receipt(number)
    assert receipt is not None and receipt.finished_at is None and len(site.ages()) == 1


def test_an_erasure_stays_open_and_the_rest_goes_on_while_nobody_can_look_at_the_backups(site: Site) -> None:
    number = site.erase(1)
    site.folder.folder.write_text("a file where the folder was")
    for _ in range(2):
        site.passes(2 * ForgetterConfig().settle_s)
    receipt = site.store.receipt(number)
    assert receipt is not None and receipt.left is not None and receipt.left.is_only_in_backups


def test_backups_that_come_back_from_a_disk_that_was_away_lose_the_erased_too(site: Site, tmp_path: Path) -> None:
    site.passes(0.0)
    former = site.folder.backups()[0].folder.rename(tmp_path / "away")
    number = site.erase(1)
    for _ in range(3):
        site.passes(ForgetterConfig().settle_s)
    receipt = site.store.receipt(number)
    assert receipt is not None and receipt.finished_at is not None
    former.rename(site.folder.folder / "20260501T000000Z")
    site.passes(1.0)
    assert site.ages() == [0]


def test_the_ledger_keeps_the_numbers_of_the_erased_and_nothing_goes_out_of_it(site: Site) -> None:
    number = site.erase(1)
    site.keeper.look()
    assert [each.model_dump() for each in read_ledger(site.folder.folder)] == [
        {"number": number, "global_ids": (1,), "made_by": "anna", "why": "case 7"}
    ]
    site.folder.note_erasures([])
    assert len(site.folder.ledger()) == 1
    (site.folder.folder / LEDGER).write_text(json.dumps([{"number": "many"}]))
    with pytest.raises(ConfigurationError, match="come back"):
        site.folder.ledger()


@pytest.fixture
def dump(postgresql: PostgresqlServer, tmp_path: Path) -> Iterator[tuple[str, Path]]:
    url = postgresql.wiped_database()
    store = SqlStore(url)
    record(store, FsBlobs(str(tmp_path / "blobs")), PAINTED_PEOPLE)
    with copied(url, tmp_path) as connection:
        store.commit_decisions([Decision(embedding("gate", 9), GlobalId(9), True, 0.9, "late")], NOW)
        assert connection.exec_driver_sql("SELECT count(*) FROM tracklets").scalar_one() == 4
    yield url, tmp_path
    store.close()


def test_postgresql_is_copied_as_it_was_and_comes_back_where_nothing_is(
    dump: tuple[str, Path], postgresql: PostgresqlServer
) -> None:
    url, folder = dump
    with pytest.raises(ConfigurationError, match="already"):
        check_takes(url, "postgresql")
    elsewhere = postgresql.new_database()
    check_takes(elsewhere, "postgresql")
    put_back(elsewhere, folder, "postgresql")
    store = SqlStore(elsewhere)
    assert len(names(store)) == 4
    store.close()


def test_a_site_on_postgresql_has_backups_like_any_other(dump: tuple[str, Path]) -> None:
    url, folder = dump
    originals = Originals("main", url, SqlStore(url), FsBlobs(str(folder / "blobs")), dict)
    manifest = verify(make_backup(originals, BackupFolder(folder / "backups"), NOW).folder)
    assert (manifest.database, manifest.counts.tracklets, manifest.counts.crops) == ("postgresql", 5, 4)
    originals.store.database.close()


def test_without_pg_dump_it_is_said_what_to_install_and_no_password(
    dump: tuple[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    url, folder = dump
    monkeypatch.setenv("PATH", str(folder))
    secret = url.replace("postgres@", "postgres:p%40ssw0rd@")
    with pytest.raises(ConfigurationError, match="postgresql-client") as told, copied(secret, folder):
        pass
    assert "ssw0rd" not in str(told.value)


def test_the_password_goes_by_the_environment_alone(dump: tuple[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    url, folder = dump
    program = folder / "pg_dump"
    program.write_text(f'#!/bin/sh\necho "$@" > {folder}/arguments\necho "$PGPASSWORD" > {folder}/password\nexit 1\n')
    program.chmod(0o700)
    monkeypatch.setenv("PATH", f"{folder}:/bin:/usr/bin")
    secret = url.replace("postgres@", "postgres:p%40ssw0rd@")
    with pytest.raises(Unavailable, match="does the server answer") as told, copied(secret, folder):
        pass
    assert (folder / "password").read_text().strip() == "p@ssw0rd"
    assert "ssw0rd" not in (folder / "arguments").read_text() + str(told.value)
