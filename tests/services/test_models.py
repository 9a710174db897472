"""Which model serves, as the command line changes it and as services see it."""

from __future__ import annotations

import json
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import httpx
import pytest
from typer.testing import CliRunner, Result

from pipeline.adapters.store import SqlStore, upgrade
from pipeline.contracts import GlobalId
from pipeline.decisions import Decision
from pipeline.errors import ConfigurationError
from pipeline.kept import Coverage
from reid_models.bundle import save_bundle
from reid_models.encoder import PersonEncoder, person_cnn_architecture
from reid_models.manifest import DEFAULT_BUNDLE, WEIGHTS, Training, read_manifest
from reid_models.publishing import assemble
from reid_models.vocabulary import Vocabulary
from services.cli import app
from services.models import models_in_use, progress
from services.runtime import model_source
from services.settings import Settings, changed
from tests.fakes import crop, embedding, tracklet

SHIPPED = read_manifest(DEFAULT_BUNDLE).digest


def sightline(folder: Path, *words: str) -> Result:
    return CliRunner().invoke(app, [*words, "--data-dir", str(folder)])


def flat(text: str) -> str:
    return " ".join(text.split())


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A second real bundle: a tiny tower that was never trained."""
    words = ("a", "man", "red")
    encoder = PersonEncoder(person_cnn_architecture("person_cnn_tiny", (64, 32), len(words) + 4)).eval()
    training = Training(description="not trained", data_digest="none")
    made = assemble("tiny", date(2026, 1, 2), encoder, Vocabulary(words), training, "Apache-2.0", (64, 32))
    folder = tmp_path_factory.mktemp("made") / "tiny"
    save_bundle(folder, made.encoder, made.manifest)
    return folder


def test_a_bundle_folder_is_promoted_and_wanted_from_then_on(tmp_path: Path, other: Path) -> None:
    settings, digest = Settings(data_dir=tmp_path), read_manifest(other).digest
    assert models_in_use(settings).wanted == SHIPPED
    done = sightline(tmp_path, "models", "promote", str(other), "--reason", "a try")
    assert done.exit_code == 0 and f"{digest} is wanted. It serves when Sightline is started." in done.output
    assert models_in_use(settings).wanted == digest
    assert Path(model_source(settings)).parent == tmp_path / "models"
    fixed = changed(settings, {"embedding": {"model": "sightline-small"}})
    assert models_in_use(fixed).wanted == SHIPPED


def test_a_rollback_restores_what_served_before_and_then_there_is_none(tmp_path: Path, other: Path) -> None:
    sightline(tmp_path, "models", "promote", str(other))
    done = sightline(tmp_path, "models", "rollback")
    assert done.exit_code == 0 and SHIPPED in done.output
    again = sightline(tmp_path, "models", "rollback")
    assert isinstance(again.exception, ConfigurationError) and "nothing served before" in str(again.exception)


def test_the_list_marks_what_serves(tmp_path: Path, other: Path) -> None:
    sightline(tmp_path, "models", "promote", str(other))
    listed = json.loads(sightline(tmp_path, "models", "list", "--json").output)
    assert {model["digest"]: model["is_serving"] for model in listed} == {
        SHIPPED: False,
        read_manifest(other).digest: True,
    }
    assert "serving" in sightline(tmp_path, "models", "list").output


def test_a_model_is_shown_with_its_history(tmp_path: Path, other: Path) -> None:
    sightline(tmp_path, "models", "promote", str(other), "--reason", "a try")
    shown = sightline(tmp_path, "models", "show", read_manifest(other).digest[:5]).output
    assert "a try" in shown and "64 x 32 px" in shown


def test_a_damaged_bundle_is_refused_before_the_pointer_changes(tmp_path: Path, other: Path) -> None:
    damaged = tmp_path / "damaged"
    shutil.copytree(other, damaged)
    content = bytearray((damaged / WEIGHTS).read_bytes())
    content[-1] ^= 0xFF
    (damaged / WEIGHTS).write_bytes(content)
    done = sightline(tmp_path, "models", "promote", str(damaged))
    assert isinstance(done.exception, ConfigurationError)
    assert model_source(Settings(data_dir=tmp_path)) == str(DEFAULT_BUNDLE)


@pytest.fixture
def running(tmp_path: Path) -> Iterator[SqlStore]:
    """The database of a site where the shipped model serves and two people are archived."""
    upgrade(url := Settings(data_dir=tmp_path).database)
    store = SqlStore(url)
    store.switch_model(SHIPPED, 0, 1.0, "first")
    for track_id in (1, 2):
        store.archive_tracklet(tracklet(track_id, crop(b"jpeg")))
        seen = embedding(track_id=track_id, digest=SHIPPED)
        store.commit_decisions([Decision(seen, GlobalId(track_id), True, 0.9, "test")], 1.0)
    yield store
    store.close()


def test_a_running_site_is_told_what_happens_next_and_how_far_it_is(
    tmp_path: Path, other: Path, running: SqlStore
) -> None:
    digest = read_manifest(other).digest
    done = sightline(tmp_path, "models", "promote", str(other))
    assert f"2 archived tracklets are embedded again first, while Sightline runs; until then {SHIPPED} serves" in (
        flat(done.output)
    )
    running.add_vectors([embedding(track_id=1, digest=digest)])
    listed = flat(sightline(tmp_path, "models", "list").output)
    assert f"{digest} takes over from {SHIPPED} when the archive is ready: re-embedding 50 %, 1 of 2." in listed
    states = {
        model["digest"]: (model["is_serving"], model["is_wanted"], model["coverage"])
        for model in json.loads(sightline(tmp_path, "models", "list", "--json").output)
    }
    assert states == {
        SHIPPED: (True, False, None),
        digest: (False, True, {"covered": 1, "expected": 2, "failed": 0}),
    }
    running.add_vectors([embedding(track_id=2, digest=digest)])
    assert "takes over within seconds" in sightline(tmp_path, "models", "promote", digest).output
    running.switch_model(digest, 1, 2.0, "")
    assert "It serves already." in sightline(tmp_path, "models", "promote", digest).output
    assert "takes over within seconds" in sightline(tmp_path, "models", "rollback").output


def test_a_promotion_that_no_service_follows_is_told(
    tmp_path: Path, other: Path, running: SqlStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SIGHTLINE_EMBEDDING__MODEL", "sightline-small")
    assert "No service follows it" in sightline(tmp_path, "models", "promote", str(other)).output


@pytest.mark.parametrize(
    ("coverage", "told"),
    [
        (Coverage(1234, 2870, 0), "re-embedding 42 %, 1,234 of 2,870"),
        (Coverage(1999, 2000, 3), "re-embedding 99 %, 1,999 of 2,000; 3 cannot be embedded"),
        (Coverage(0, 0, 0), "re-embedding 100 %, 0 of 0"),
    ],
)
def test_progress_is_told_in_a_line(coverage: Coverage, told: str) -> None:
    assert progress(coverage) == told


# --- nightly ------------------------------


def test_a_night_without_an_archive_ends_well_with_its_reason(tmp_path: Path) -> None:
    done = sightline(tmp_path, "nightly")
    assert done.exit_code == 0, done.output
    assert "skipped" in done.output and "no track" in done.output
    report = json.loads((tmp_path / "nightly" / "latest.json").read_text())
    assert report["outcome"] == "skipped"
    assert 'sightline_night_outcome{outcome="skipped"} 1.0' in (tmp_path / "nightly" / "metrics.prom").read_text()


def test_a_dry_run_says_what_would_be_learnt_from_and_writes_no_report(tmp_path: Path) -> None:
    done = sightline(tmp_path, "nightly", "--dry-run", "--days", "3")
    assert done.exit_code == 0, done.output
    assert "last 3 days" in done.output and "would be skipped" in done.output
    assert not (tmp_path / "nightly").exists()


def test_a_schedule_keeps_running_shows_metrics_of_the_last_night_and_ends_on_request(tmp_path: Path) -> None:
    sightline(tmp_path, "nightly")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    words = ["nightly", "--schedule", "0 0 1 1 *", "--data-dir", str(tmp_path), "--metrics-port", str(port)]
    command = [sys.executable, "-m", "services.cli", *words]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2]) as running:
        assert running.stderr is not None
        assert any("next night begins" in line for line in running.stderr)
        shown = httpx.get(f"http://127.0.0.1:{port}/metrics").text
        running.terminate()
    assert 'sightline_night_outcome{outcome="skipped"} 1.0' in shown
    assert running.returncode == 128 + signal.SIGTERM


@pytest.mark.parametrize(
    ("words", "environment", "told"),
    [
        (["--schedule", "at night"], {}, r"0 2 \* \* \*"),
        ([], {"SIGHTLINE_EMBEDDING__MODEL": "sightline-small"}, "models promote"),
    ],
)
def test_settings_with_which_no_night_can_work_are_refused_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], environment: dict[str, str], told: str
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    done = sightline(tmp_path, "nightly", *words)
    assert isinstance(done.exception, ConfigurationError)
    with pytest.raises(ConfigurationError, match=told):
        raise done.exception
