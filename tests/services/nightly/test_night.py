"""A night ends in a report whatever happens, and the pointer changes at most once, whole, and for a reason."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.adapters.blobs import MemoryBlobs
from pipeline.adapters.store import SqlStore
from pipeline.contracts import GlobalId, tracklet_parts
from pipeline.decisions import Decision
from pipeline.errors import Unavailable
from pipeline.forgetting import ErasureRequest, Found
from reid_models.manifest import read_manifest
from services.nightly.copies import NightCopies
from services.nightly.night import NightConfig, NightTools, is_unfinished, look_ahead, run_night
from services.nightly.report import NightReport, Outcome, markdown, read_report
from tests.fakes import embedding
from tests.services.nightly.small_nights import (
    DIGESTS,
    NOW,
    SHIPPED,
    Learner,
    filled,
    make_bundle,
    serving,
    tools_of,
)


def test_a_better_model_is_promoted_with_every_gate_in_the_report(full: NightTools, config: NightConfig) -> None:
    report = run_night(full, config)
    assert report.outcome is Outcome.PROMOTED
    assert serving(full) == DIGESTS["better"] == report.candidate_digest
    assert {gate.subject for gate in report.gates} >= {"probe image mAP", "probe text rank-1", "held-out tracks mAP"}
    assert all(gate.is_passed and gate.candidate is not None and gate.candidate >= gate.least for gate in report.gates)
    assert read_report(full.folder / "latest.json") == report
    document = (full.folder / "reports" / f"{report.night}.md").read_text()
    assert document == markdown(report)
    assert "probe image mAP" in document and "restart `embed`" in document
    assert not (full.folder / "work").exists()  # no crop stays in a second place


def test_a_promotion_is_recorded_before_it_is_made(full: NightTools, config: NightConfig) -> None:
    served, recorded = serving(full), []

    def record(digest: str, why: str) -> None:
        recorded.append((digest, why, serving(full)))

    report = run_night(replace(full, record=record), config)
    assert report.outcome is Outcome.PROMOTED
    assert [(digest, before) for digest, _, before in recorded] == [(report.candidate_digest, served)]
    assert recorded[0][1].startswith(f"night {report.night}: ")


def test_a_promoted_model_is_calibrated_on_the_probe_set(full: NightTools, config: NightConfig) -> None:
    run_night(full, config)
    manifest = read_manifest(full.registry.wanted())
    assert manifest.calibration is not None and "6 people of the probe set" in manifest.calibration.measured_on
    assert manifest.metrics["probe_image_mean_average_precision"] > 0.9


def test_a_worse_model_is_refused_with_the_reason_and_kept_for_a_look(full: NightTools, config: NightConfig) -> None:
    report = run_night(replace(full, fine_tune=Learner("worse")), config)
    assert report.outcome is Outcome.REFUSED
    assert any("probe image mAP" in reason for reason in report.reasons)
    assert serving(full) == SHIPPED
    assert full.registry.find(DIGESTS["worse"]).promoted_at is None


def test_a_training_that_changed_nothing_is_refused(full: NightTools, config: NightConfig) -> None:
    report = run_night(replace(full, fine_tune=Learner("same")), config)
    assert (report.outcome, report.gates) == (Outcome.REFUSED, ())
    assert full.registry.changes() == ()


def test_without_a_probe_set_held_out_tracks_decide_and_the_report_says_so(
    full: NightTools, config: NightConfig
) -> None:
    report = run_night(full, replace(config, probe=None))
    assert report.outcome is Outcome.PROMOTED
    assert [gate.subject for gate in report.gates] == ["held-out tracks mAP"]
    assert "no probe set" in markdown(report) and "text search was not measured" in markdown(report)


@pytest.mark.parametrize(
    ("cameras", "tracks", "told"),
    [
        ([], 0, "no track"),
        (["gate"], 24, "seen by 1"),
        (["gate", "hall"], 4, "too few"),
    ],
)
def test_a_night_with_too_little_to_learn_from_is_skipped(
    tmp_path: Path, config: NightConfig, cameras: list[str], tracks: int, told: str
) -> None:
    tools = tools_of(tmp_path, filled((SqlStore.in_memory(), MemoryBlobs()), cameras, tracks))
    learner = Learner()
    report = run_night(replace(tools, fine_tune=learner), config)
    assert report.outcome is Outcome.SKIPPED
    assert told in report.reasons[0]
    assert learner.taught == []
    assert serving(tools) == SHIPPED


def test_what_is_older_than_the_days_asked_for_does_not_count(full: NightTools, config: NightConfig) -> None:
    full.clock.sleep(2 * 86400.0)
    assert run_night(full, config).outcome is Outcome.SKIPPED
    assert run_night(full, replace(config, days=3.0)).outcome is Outcome.PROMOTED


def test_tracks_that_judge_do_not_teach(full: NightTools, config: NightConfig) -> None:
    learner = Learner()
    report = run_night(replace(full, fine_tune=learner), config)
    assert report.survey is not None
    assert learner.taught == [2 * report.survey.training_tracks]
    assert 0 < report.survey.held_out_tracks == 48 - report.survey.training_tracks


@pytest.mark.parametrize("breaks", [RuntimeError("a loss is no number"), Unavailable("the database does not answer")])
def test_a_training_that_breaks_ends_in_a_report_and_the_next_night_begins_anew(
    full: NightTools, config: NightConfig, breaks: Exception
) -> None:
    report = run_night(replace(full, fine_tune=Learner(breaks=breaks)), config)
    assert report.outcome is Outcome.FAILED
    assert str(breaks) in report.reasons[0]
    assert serving(full) == SHIPPED
    assert not is_unfinished(full.folder)
    assert run_night(full, config).outcome is Outcome.PROMOTED


def test_a_probe_set_that_changed_since_its_first_use_is_refused(
    full: NightTools, config: NightConfig, probe: Path
) -> None:
    first = run_night(replace(full, fine_tune=Learner("worse")), config)
    next((probe / "query").iterdir()).unlink()
    report = run_night(full, config)
    assert report.outcome is Outcome.FAILED
    assert str(first.probe_digest) in report.reasons[0] and "delete" in report.reasons[0]


def test_a_promotion_by_hand_during_the_night_is_not_overruled(full: NightTools, config: NightConfig) -> None:
    by_hand = full.registry.add(make_bundle(full.folder / "hand", "by hand", "c" * 16))
    learner = Learner(meanwhile=lambda: full.registry.promote(by_hand, NOW, "by hand"))
    report = run_night(replace(full, fine_tune=learner), config)
    assert report.outcome is Outcome.REFUSED
    assert serving(full) == by_hand


def test_crops_that_are_gone_are_left_out(tmp_path: Path, config: NightConfig) -> None:
    store, blobs = filled((SqlStore.in_memory(), MemoryBlobs()))
    for tracklet in store.archived_tracklets(0.0, NOW)[::3]:
        blobs.delete(tracklet.crops[0].blob_key)
    assert run_night(tools_of(tmp_path, (store, blobs)), config).outcome is Outcome.PROMOTED


def test_looking_ahead_changes_nothing(full: NightTools, config: NightConfig) -> None:
    found, lack = look_ahead(full, config)
    assert (found.tracklets, found.cameras, lack) == (96, 2, None)
    assert not full.folder.exists()


def test_a_report_survives_its_own_file(full: NightTools, config: NightConfig) -> None:
    report = run_night(replace(full, fine_tune=Learner("worse")), config)
    assert NightReport.model_validate_json((full.folder / "reports" / f"{report.night}.json").read_text()) == report


def test_a_model_that_learnt_from_somebody_who_was_erased_meanwhile_is_thrown_away(
    full: NightTools, config: NightConfig
) -> None:
    store = full.store
    assert isinstance(store, SqlStore)
    camera_id, _, track_id, sequence = tracklet_parts(store.archived_tracklets(0.0, 1e12)[0].tracklet_id)

    def erase() -> None:
        seen = embedding(camera_id, track_id, sequence)
        store.commit_decisions([Decision(seen, GlobalId(1), True, 0.9, "new")], 5.0)
        number = store.add_erasure(ErasureRequest(GlobalId(1), "anna", "case 7"), Found(), 6.0)
        store.erase(number, 7.0, 1e12)
        assert not NightCopies(full.folder).clear()

    report = run_night(replace(full, fine_tune=Learner("better", meanwhile=erase)), config)
    assert report.outcome is Outcome.REFUSED and "was erased meanwhile" in report.reasons[0]
    assert serving(full) == SHIPPED and full.registry.folder(DIGESTS["better"]) is None
    assert NightCopies(full.folder).clear() and not (full.folder / "work").exists()
