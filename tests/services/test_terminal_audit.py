"""What operators change at the terminal is recorded before it is done, under the user of the machine."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from pipeline.adapters.memory_bus import MemoryBus
from pipeline.audit import AuditEntry
from pipeline.camera.yolo import Layout
from pipeline.errors import Unavailable
from reid_models.manifest import DEFAULT_BUNDLE, read_manifest
from services.audited import terminal_user
from services.cli import app
from services.runtime import open_accounts
from services.settings import Settings
from tests.tiny_detectors import write_detector

SHIPPED = read_manifest(DEFAULT_BUNDLE).digest


@pytest.fixture(autouse=True)
def bus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.dead.open_bus", lambda settings: MemoryBus())


def recorded(folder: Path) -> list[AuditEntry]:
    accounts, audit = open_accounts(Settings(data_dir=folder))
    try:
        return list(audit.entries())
    finally:
        accounts.close()


@pytest.mark.parametrize(
    ("words", "subject", "detail"),
    [
        (["dead", "replay"], "dead letters sent again", {"entries": "all"}),
        (["dead", "replay", "1-0"], "dead letters sent again", {"entries": ["1-0"]}),
        (
            ["models", "promote", str(DEFAULT_BUNDLE), "--reason", "case 7"],
            f"model {SHIPPED} promoted",
            {"reason": "case 7"},
        ),
        (["models", "rollback"], "model rolled back", {"reason": "by hand"}),
        (["models", "import", "nowhere.pt"], "model imported", {"source": "nowhere.pt"}),
        (["models", "quantise", "nowhere"], "model quantised", {"model": "nowhere"}),
    ],
)
def test_what_an_operator_changes_is_recorded(
    tmp_path: Path, words: list[str], subject: str, detail: dict[str, object]
) -> None:
    CliRunner().invoke(app, [*words, "--data-dir", str(tmp_path)])
    [entry] = recorded(tmp_path)
    assert (entry.actor, entry.action, entry.subject) == (terminal_user(), "operation", subject)
    assert json.loads(entry.detail) == detail


def test_a_detector_is_recorded_before_it_is_written_and_one_that_is_refused_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = write_detector(tmp_path / "tiny.onnx", Layout.YOLOV8)
    words = ["import-detector", str(file), "--data-dir", str(tmp_path / "site")]
    CliRunner().invoke(app, ["import-detector", "nowhere.onnx", *words[2:]])
    with monkeypatch.context() as patched:
        patched.setattr("services.audited.record_at_terminal", away)
        assert isinstance(CliRunner().invoke(app, words).exception, Unavailable)
    assert not (tmp_path / "site").exists()
    assert CliRunner().invoke(app, words).exit_code == 0
    [entry] = recorded(tmp_path / "site")
    assert (entry.action, entry.subject) == ("operation", "detector imported")
    assert json.loads(entry.detail) == {"source": str(file)}


def away(*_: object) -> None:
    raise Unavailable("the database is away")


def test_what_cannot_be_recorded_is_not_done(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.audited.record_at_terminal", away)
    done = CliRunner().invoke(app, ["models", "promote", str(DEFAULT_BUNDLE), "--data-dir", str(tmp_path)])
    assert isinstance(done.exception, Unavailable)
    assert not list((tmp_path / "models").glob("*"))
