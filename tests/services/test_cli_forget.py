"""`sightline erase`, `receipts` and `retain`, on a database in a folder."""

from __future__ import annotations

import base64
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from pipeline.adapters.clock import SystemClock
from pipeline.adapters.forgetter import Forgetter, ForgetterConfig
from pipeline.adapters.memory_bus import MemoryBus
from pipeline.adapters.redis_server import EmbeddedRedis
from pipeline.adapters.store import SqlStore
from pipeline.contracts import GlobalId
from pipeline.decisions import Decision
from pipeline.errors import InvalidQuery
from pipeline.forgetting import Keeping
from pipeline.matching.eraser import apply_erasures
from services.cli import app
from services.nightly.copies import WORK, NightCopies
from services.runtime import open_blobs
from services.settings import load
from tests.fakes import crop, embedding, tracklet, unit_vectors
from tests.small_site import file_store

LOOKS = unit_vectors(np.random.default_rng(5), 2)
SEEN = [embedding("gate", 1, vector=LOOKS[0]), embedding("yard", 3, vector=LOOKS[1])]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Person 1 at gate, person 2 in the yard."""
    monkeypatch.setenv("COLUMNS", "250")
    store = file_store(tmp_path)
    store.commit_decisions([Decision(each, GlobalId(n), True, 0.75, "new") for n, each in enumerate(SEEN, 1)], 1.7e9)
    picture = crop(b"jpeg of person 1")
    open_blobs(load(None, {"data_dir": tmp_path})).put(picture.jpeg)
    store.archive_tracklet(tracklet(1, picture))
    store.close()
    return tmp_path


def sightline(folder: Path, *arguments: str, typed: str = "") -> Result:
    result = CliRunner().invoke(app, [*arguments, "--data-dir", str(folder)], input=typed)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


@contextmanager
def others_at_work(folder: Path) -> Iterator[None]:
    """A matcher and a forgetter in the background, as far as erasures go."""
    store, stop = SqlStore(f"sqlite:///{folder / 'sightline.db'}"), threading.Event()
    blobs, config = open_blobs(load(None, {"data_dir": folder})), ForgetterConfig(settle_s=0.0, idle_s=0.05)
    forgetter = Forgetter(
        store,
        blobs,
        MemoryBus(),
        lambda _: Keeping(None, None, None),
        NightCopies(folder / "nightly"),
        SystemClock(),
        config,
    )

    def work() -> None:
        while not stop.wait(0.05):
            apply_erasures(store, SystemClock(), 1e6)
            forgetter.run_once()

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
        store.close()


def test_a_person_is_erased_and_the_search_by_their_own_looks_finds_nothing(folder: Path) -> None:
    (folder / "nightly" / WORK).mkdir(parents=True)
    with others_at_work(folder):
        told = sightline(folder, "erase", "1", "--why", "case 7", "--by", "anna", "--yes", "--wait", "20").output
    assert "1 tracklets, 1 crops, 1 vectors" in told and "nothing is left" in told
    assert "finds 0 of them; the most alike who is left is" in told
    assert "anna" in (listed := sightline(folder, "receipts").output) and "case 7" in listed
    recorded = sightline(folder, "audit", "list").output
    assert recorded.count("erasure") == 2 and recorded.count("person 1") == 2 and recorded.count("case 7") == 2
    assert list(folder.glob("blobs/*/*/*")) == [] and not (folder / "nightly" / WORK).exists()
    with pytest.raises(InvalidQuery, match="no person 1"):
        sightline(folder, "erase", "1", "--why", "again")


def test_a_dry_run_and_a_no_remove_nothing(folder: Path) -> None:
    assert "Nothing was removed" in sightline(folder, "erase", "1", "--why", "case 7", "--dry-run").output
    assert sightline(folder, "erase", "1", "--why", "case 7", typed="n\n").exit_code == 1
    assert "Nobody was erased" in sightline(folder, "receipts").output


def test_without_matcher_the_request_stays_and_the_exit_code_says_so(folder: Path) -> None:
    result = sightline(folder, "erase", "1", "--why", "case 7", "--yes", "--wait", "0")
    assert result.exit_code == 1 and "waits for the matcher" in result.output


def test_crops_are_sealed_after_the_fact_and_with_another_key(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("cryptography", reason="the extra [encryption] is missing")
    old, new = (base64.b64encode(bytes([number] * 32)).decode() for number in (1, 2))
    (file,) = folder.glob("blobs/*/*/*")
    for keys in (old, f"{new}\n{old}", new):
        monkeypatch.setenv("SIGHTLINE_BLOB_KEYS", keys)
        assert "1 crops are stored" in sightline(folder, "reseal").output
        assert b"person 1" not in file.read_bytes()
    assert sightline(folder, "audit", "list").output.count("resealing") == 3


def test_what_is_due_is_removed_once(folder: Path, redis_server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REDIS_URL", redis_server)
    monkeypatch.setenv("SIGHTLINE_RETENTION__CROPS_DAYS", "1")
    sightline(folder, "retain", "--once")
    assert list(folder.glob("blobs/*/*/*")) == []
    store = SqlStore(f"sqlite:///{folder / 'sightline.db'}")
    assert store.counts().tracklets == 0  # of 1970
    store.close()


@pytest.fixture
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with EmbeddedRedis(tmp_path_factory.mktemp("redis")) as started:
        yield started.url
