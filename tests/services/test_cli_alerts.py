"""`sightline alerts`, on a database in a folder."""

from __future__ import annotations

import http.server
import json
import threading
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner, Result

from pipeline.adapters.audit_store import AuditStore
from pipeline.adapters.blobs import MemoryBlobs
from pipeline.adapters.delivery_book import ATTEMPTS, DeliveryBook
from pipeline.adapters.store import SqlStore
from pipeline.adapters.watch_book import WatchBook
from pipeline.contracts import CameraId
from pipeline.errors import ConfigurationError, InvalidQuery, Unavailable
from pipeline.search.models import SearchConfig, SearchModel
from pipeline.search.watching import Watcher, WatcherConfig
from services.cli import app
from tests.fakes import DIGEST, HandClock, painted
from tests.small_site import CALIBRATION, COLOURS, NOW, WORDS, Stay, WardrobeEncoder, file_store, record

CONFIG = SearchConfig(text=WORDS, appearance=CALIBRATION)


def model(store: SqlStore) -> SearchModel:
    encoder = WardrobeEncoder()
    return SearchModel(store, encoder, CONFIG, encoder.unknown_words)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A red and a blue person were seen, and a webhook is set that nobody serves."""
    monkeypatch.setenv("COLUMNS", "250")
    monkeypatch.setattr("services.alert_desk.serving_search_model", lambda _, store: model(store))
    monkeypatch.setattr("services.alert_desk.SystemClock", lambda: HandClock(NOW))
    store = file_store(tmp_path)
    seen = [Stay(1, "lobby", 7200.0, painted(COLOURS["red"])), Stay(2, "yard", 3600.0, painted(COLOURS["blue"]))]
    record(store, MemoryBlobs(), seen)
    store.upsert_camera(CameraId("lobby"), "rtsp://host/1", NOW)
    store.switch_model(DIGEST, 0, NOW, "first")
    store.close()
    return tmp_path


def sightline(folder: Path, *arguments: str) -> str:
    result: Result = CliRunner().invoke(app, ["alerts", *arguments, "--data-dir", str(folder)])
    if result.exception is not None:
        raise result.exception
    return result.output


def recorded(folder: Path) -> list[str]:
    """The audit log, oldest first."""
    store = SqlStore(f"sqlite:///{folder / 'sightline.db'}")
    entries = list(AuditStore(store.database, HandClock(NOW)).entries())
    store.close()
    return [f"{entry.action} {entry.subject}" for entry in entries]


def passes(folder: Path, ago_s: float) -> None:
    """Somebody in red passes, and the watcher looks."""
    store = SqlStore(f"sqlite:///{folder / 'sightline.db'}")
    record(store, MemoryBlobs(), [Stay(1, "lobby", ago_s, painted(COLOURS["red"]))])
    Watcher(
        WatchBook(store.database), lambda _: model(store), HandClock(NOW), WatcherConfig(webhooks=("pager",))
    ).run_once()
    store.close()


def with_webhook(folder: Path, monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    hook = {"address": address, "secret": "0123456789abcdef", "allow_private": True}
    (folder / "settings.yaml").write_text(yaml.safe_dump({"alerts": {"webhooks": {"pager": hook}}}))
    monkeypatch.setenv("SIGHTLINE_CONFIG", str(folder / "settings.yaml"))


def test_a_question_becomes_an_alert_and_is_judged(folder: Path) -> None:
    told = sightline(folder, "add", "woman in a red coat", "--camera", "lobby", "--name", "red", "--by", "anna")
    assert "Would have raised 1 alert in the last 7 days." in told and "lobby/b1/72000/0" in told
    assert "sightline alerts on 1" in told
    assert "No alert is open" in sightline(folder, "list")
    sightline(folder, "on", "1")
    passes(folder, 600.0)
    listed = sightline(folder, "list", "--query", "1")
    assert "lobby" in listed and "red" in listed and "open" in listed
    assert "1 is acknowledged" in sightline(folder, "ack", "1")
    assert "No alert is open" in sightline(folder, "list")
    assert "stricter by 0.50 now" in sightline(folder, "false-alarm", "1")
    assert "false alarm" in sightline(folder, "list", "--all")
    queries = sightline(folder, "queries")
    assert "“woman in a red coat” at lobby" in queries and "0.50" in queries
    assert "is off" in sightline(folder, "off", "1")
    assert "are gone" in sightline(folder, "remove", "1")
    assert "No question stands" in sightline(folder, "queries")
    assert recorded(folder) == [
        "alert woman in a red coat",
        "search woman in a red coat",
        "view the list of alerts",
        "alert standing query 1",
        "view the list of alerts",
        "alert alert 1",
        "view the list of alerts",
        "alert alert 1",
        "view the list of alerts",
        *["alert standing query 1"] * 2,
    ]


def test_a_query_is_tried_again_over_other_days(folder: Path) -> None:
    sightline(folder, "add", "red coat", "--daily-budget", "1")
    assert "no alert in the last 0.01 days" in sightline(folder, "test", "1", "--days", "0.01")
    with pytest.raises(InvalidQuery, match="at most 31"):
        sightline(folder, "test", "1", "--days", "400")


def test_what_cannot_stand_is_refused_with_the_remedy(folder: Path) -> None:
    with pytest.raises(InvalidQuery, match="one of lobby"):
        sightline(folder, "add", "red coat", "--camera", "attic")
    with pytest.raises(InvalidQuery, match="does not know 'zeppelin'"):
        sightline(folder, "add", "zeppelin")
    with pytest.raises(InvalidQuery, match="sightline alerts queries"):
        sightline(folder, "on", "7")
    with pytest.raises(ConfigurationError, match="sightline up"):
        sightline(folder / "mistyped", "queries")


def test_what_was_given_up_is_shown_and_sent_again(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "No webhook is set" in sightline(folder, "webhooks", "list")
    with_webhook(folder, monkeypatch, "http://127.0.0.1:1/T0KEN")
    sightline(folder, "add", "red coat")
    sightline(folder, "on", "1")
    passes(folder, 600.0)
    store = SqlStore(f"sqlite:///{folder / 'sightline.db'}")
    book, now = DeliveryBook(store.database), NOW
    for _ in range(ATTEMPTS):
        book.note(book.due("pager", now, 1)[0], now, "status 500")
        now += 86_400.0
    told = sightline(folder, "webhooks", "list")
    assert "127.0.0.1" in told and "alert 1, given up" in told and "status 500" in told and "T0KEN" not in told
    assert sightline(folder, "webhooks", "replay") == "1 messages are sent again.\n"
    assert len(book.due("pager", 2.0 * now, 9)) == 1
    store.close()


def test_a_webhook_is_tried(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    heard = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            heard.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: object) -> None: ...

    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.handle_request)
        thread.start()
        with_webhook(folder, monkeypatch, f"http://127.0.0.1:{server.server_address[1]}/")
        assert sightline(folder, "webhooks", "test", "pager") == "pager has answered.\n"
        thread.join()
    assert heard == [{"version": 1, "kind": "test", "site": "main"}]
    with pytest.raises(Unavailable):
        sightline(folder, "webhooks", "test", "pager")
    with pytest.raises(ConfigurationError, match="one of pager"):
        sightline(folder, "webhooks", "test", "other")
