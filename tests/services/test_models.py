"""Which model serves, as the command line changes it and as services see it."""

from __future__ import annotations

import json
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Sequence
from datetime import date
from pathlib import Path

import httpx
import pytest
from typer.testing import CliRunner, Result

from pipeline.adapters.exact_gallery import ExactGallery
from pipeline.adapters.memory_bus import MemoryBus
from pipeline.adapters.store import SqlStore
from pipeline.contracts import GlobalId, StreamName, TrackletEmbedding
from pipeline.errors import ConfigurationError
from pipeline.matching.worker import MatcherConfig, MatcherWorker
from reid_models.bundle import save_bundle
from reid_models.encoder import PersonEncoder, person_cnn_architecture
from reid_models.manifest import DEFAULT_BUNDLE, WEIGHTS, Training, read_manifest
from reid_models.publishing import assemble
from reid_models.vocabulary import Vocabulary
from services.cli import app
from services.runtime import model_source, serving_manifest
from services.settings import Settings, changed
from services.up import _with_model
from tests.fakes import HandClock, embedding

SHIPPED = read_manifest(DEFAULT_BUNDLE).digest


def sightline(folder: Path, *words: str) -> Result:
    return CliRunner().invoke(app, [*words, "--data-dir", str(folder)])


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


def test_a_bundle_folder_is_promoted_and_services_read_it_at_their_start(tmp_path: Path, other: Path) -> None:
    settings, digest = Settings(data_dir=tmp_path), read_manifest(other).digest
    assert model_source(settings) == str(DEFAULT_BUNDLE)
    done = sightline(tmp_path, "models", "promote", str(other), "--reason", "a try")
    assert done.exit_code == 0 and digest in done.output and "restart" in done.output
    manifest = serving_manifest(settings)
    assert manifest is not None and manifest.digest == digest
    assert Path(model_source(settings)).parent == tmp_path / "models"
    assert serving_manifest(changed(settings, {"embedding": {"model": "sightline-small"}})) == read_manifest(
        DEFAULT_BUNDLE
    )


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


def test_a_started_group_keeps_one_model_whatever_is_promoted_meanwhile(tmp_path: Path, other: Path) -> None:
    started = _with_model(Settings(data_dir=tmp_path))
    sightline(tmp_path, "models", "promote", str(other))
    assert model_source(started) == str(DEFAULT_BUNDLE)


def test_a_promotion_and_a_rollback_leave_old_vectors_alone_and_compare_no_two_models(tmp_path: Path) -> None:
    bus, store, clock = MemoryBus(), SqlStore.in_memory(), HandClock()

    def restart_and_match(digest: str, seen: Sequence[TrackletEmbedding]) -> list[GlobalId]:
        config = MatcherConfig(model_digest=digest, block_s=0.0)
        worker = MatcherWorker(bus, store, ExactGallery, clock, config)
        bus.publish(StreamName.EMBEDDINGS, seen)
        while worker.run_once():
            pass
        found = store.assignments([each.tracklet_id for each in seen])
        return [found[each.tracklet_id] for each in seen]

    old, new = "a" * 16, "b" * 16
    first = restart_and_match(old, [embedding("gate", 1, digest=old)])
    rows = store.gallery(old, "appearance", 0, 10)[0]
    after = restart_and_match(new, [embedding("gate", 2, started_at=60.0, ended_at=64.0, digest=new)])
    assert after != first  # met as a new person once
    kept = store.gallery(old, "appearance", 0, 10)[0]
    assert (kept.tracklet_ids, kept.vectors.tolist()) == (rows.tracklet_ids, rows.vectors.tolist())
    back = restart_and_match(old, [embedding("gate", 3, started_at=120.0, ended_at=124.0, digest=old)])
    assert back == first  # known again


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
