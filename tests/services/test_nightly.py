"""A night ends in a report whatever happens, and the pointer changes at most once, whole, and for a reason."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from pipeline.adapters.blobs import MemoryBlobs
from pipeline.adapters.store import SqlStore
from pipeline.contracts import F32, Embeddings, Image, TrackletCrops
from pipeline.errors import ConfigurationError, Unavailable
from pipeline.interfaces import Blobs
from reid_models.datasets.tracklets import TrackedSamples
from reid_models.manifest import DEFAULT_BUNDLE, MANIFEST, WEIGHTS, read_manifest
from reid_models.probe import find_probe
from reid_models.registry import Registry
from services.nightly.archive import NightRules
from services.nightly.night import NightConfig, NightTools, is_unfinished, look_ahead, run_night
from services.nightly.report import NightReport, Outcome, markdown, read_report
from services.nightly.schedule import keep_nights, next_due
from tests.fakes import HandClock, crop, jpeg

NOW = 1_700_000_000.0
SHIPPED = read_manifest(DEFAULT_BUNDLE).digest
COLOURS = {
    "red": (200, 30, 40),
    "green": (30, 160, 60),
    "blue": (40, 60, 200),
    "yellow": (230, 210, 40),
    "white": (225, 225, 225),
    "black": (25, 25, 28),
}
DIGESTS = {"better": "b" * 16, "worse": "a" * 16}
BLUR = {"sightline-small": 150.0, "better": 0.0, "worse": 400.0}  # how badly each model sees colours


@dataclass
class Eye:
    """An encoder by mean colour, which a worse model sees through noise."""

    blur: float

    def embed_images(self, crops: Sequence[Image]) -> Embeddings:
        rng = np.random.default_rng(len(crops))
        colours = np.stack([image.reshape(-1, 3).mean(axis=0) for image in crops]) - 110.0
        seen = unit(colours + rng.normal(0, self.blur, colours.shape))
        return Embeddings(seen, seen)

    def embed_texts(self, sentences: Sequence[str]) -> F32:
        return unit(np.array([COLOURS[sentence.rsplit(maxsplit=1)[-1]] for sentence in sentences]) - 110.0)


def unit(vectors: np.ndarray) -> F32:
    lengths: F32 = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / lengths, np.float32)


@dataclass
class Learner:
    """A training that makes a model of the given name out of nothing; `breaks` is raised instead."""

    name: str = "better"
    breaks: Exception | None = None
    meanwhile: Callable[[], object] = lambda: None
    taught: list[int] = field(default_factory=list)

    def __call__(self, bundle: Path, tracks: TrackedSamples, work: Path) -> Path:
        self.taught.append(len(np.unique(tracks.pieces)))
        self.meanwhile()
        if self.breaks is not None:
            raise self.breaks
        return make_bundle(work / "candidate", self.name, DIGESTS.get(self.name, SHIPPED))


def make_bundle(folder: Path, name: str, digest: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    manifest = json.loads((DEFAULT_BUNDLE / MANIFEST).read_text()) | {"digest": digest, "name": name}
    (folder / MANIFEST).write_text(json.dumps(manifest))
    (folder / WEIGHTS).write_bytes(b"weights")
    return folder


def picture(rng: np.random.Generator, colour: tuple[int, int, int]) -> bytes:
    return jpeg(np.clip(rng.normal(colour, 12, (32, 16, 3)), 0, 255).astype(np.uint8))


Archive = tuple[SqlStore, Blobs]


def filled(archive: Archive, cameras: Sequence[str] = ("gate", "hall"), tracks: int = 24) -> Archive:
    """People of all colours pass each camera six at a time, in two tracklets of one crop each, shortly before `NOW`."""
    store, blobs = archive
    rng, colours = np.random.default_rng(5), list(COLOURS.values())
    for camera in cameras:
        for number in range(tracks):
            for sequence in range(2):
                started_at = NOW - 3600.0 + 10.0 * (number // 6) + 4.0 * sequence
                crops = (crop(picture(rng, colours[number % 6])),)
                for each in crops:
                    blobs.put(each.jpeg)
                store.archive_tracklet(
                    TrackletCrops(
                        camera_id=camera,
                        boot_id="b1",
                        track_id=number,
                        sequence=sequence,
                        started_at=started_at,
                        ended_at=started_at + 4.0,
                        sent_at=started_at + 4.0,
                        detections=8,
                        is_last=sequence == 1,
                        crops=crops,
                    )
                )
    return archive


@pytest.fixture(scope="module")
def archive() -> Archive:
    """One full archive for all, which nights only read."""
    return filled((SqlStore.in_memory(), MemoryBlobs()))


@pytest.fixture
def probe(tmp_path: Path) -> Path:
    """Six labelled people in two cameras, with captions."""
    rng, captions = np.random.default_rng(1), []
    for identity, (name, colour) in enumerate(COLOURS.items(), start=1):
        for camera in (1, 2):
            for box in range(3):
                part = tmp_path / "probe" / ("query" if box == 0 else "bounding_box_test")
                part.mkdir(parents=True, exist_ok=True)
                file = f"{identity:04d}_c{camera}s1_{box:06d}_01.jpg"
                (part / file).write_bytes(picture(rng, colour))
                record = {
                    "image": file,
                    "identity": f"{identity:04d}",
                    "split": "val",
                    "captions": [f"a man in {name}"],
                }
                captions.append(record)
    (tmp_path / "probe" / "captions.json").write_text(json.dumps(captions))
    return tmp_path / "probe"


def tools_of(folder: Path, archive: Archive) -> NightTools:
    """A site whose shipped model serves, and a training that betters it."""
    return NightTools(
        store=archive[0],
        blobs=archive[1],
        registry=Registry(folder / "models"),
        fine_tune=Learner(),
        open_encoder=lambda bundle: Eye(BLUR[read_manifest(bundle).name]),
        clock=HandClock(NOW),
        folder=folder / "nightly",
    )


@pytest.fixture
def full(tmp_path: Path, archive: Archive) -> NightTools:
    return tools_of(tmp_path, archive)


@pytest.fixture
def config(probe: Path) -> NightConfig:
    return NightConfig(days=1.0, training="test", probe=find_probe(probe, None))


def serving(tools: NightTools) -> str:
    return read_manifest(tools.registry.serving()).digest


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


def test_a_promoted_model_is_calibrated_on_the_probe_set(full: NightTools, config: NightConfig) -> None:
    run_night(full, config)
    manifest = read_manifest(full.registry.serving())
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


# --- killed runs ------------------------------


class Killed(BaseException):
    """What a kill looks like from inside a process that is not one."""


def kill_in(learner: Learner) -> Learner:
    def die() -> None:
        raise Killed

    learner.meanwhile = die
    return learner


def test_a_killed_night_goes_on_with_the_same_span_and_name(full: NightTools, config: NightConfig) -> None:
    with pytest.raises(Killed):
        run_night(replace(full, fine_tune=kill_in(Learner())), config)
    assert is_unfinished(full.folder)
    full.clock.sleep(600.0)
    report = run_night(full, config)
    assert (report.outcome, report.attempts, report.until_at) == (Outcome.PROMOTED, 2, NOW)
    assert not is_unfinished(full.folder)


def test_a_night_that_was_killed_long_ago_or_for_another_model_is_begun_anew(
    full: NightTools, config: NightConfig
) -> None:
    with pytest.raises(Killed):
        run_night(replace(full, fine_tune=kill_in(Learner())), config)
    (full.folder / "work" / "training").mkdir()
    (full.folder / "work" / "training" / "old").touch()
    full.clock.sleep(13 * 3600.0)

    def look() -> None:
        assert not (full.folder / "work" / "training").exists()

    report = run_night(replace(full, fine_tune=Learner(meanwhile=look)), config)
    assert (report.outcome, report.attempts) == (Outcome.PROMOTED, 1)


def test_a_night_that_is_killed_again_and_again_is_given_up(full: NightTools, config: NightConfig) -> None:
    for _ in range(3):
        with pytest.raises(Killed):
            run_night(replace(full, fine_tune=kill_in(Learner())), config)
    report = run_night(full, config)
    assert report.outcome is Outcome.FAILED
    assert "killed 3 times" in report.reasons[0]
    assert run_night(full, config).outcome is Outcome.PROMOTED


class Dying(Registry):
    """Dies just before or just after the pointer changes."""

    def __init__(self, folder: Path, changes_first: bool) -> None:
        super().__init__(folder)
        self._changes_first = changes_first

    def promote(self, digest: str, changed_at: float, reason: str) -> None:
        if self._changes_first:
            super().promote(digest, changed_at, reason)
        raise Killed


@pytest.mark.parametrize("changes_first", [False, True])
def test_a_verdict_outlives_a_kill_around_the_promotion_and_is_carried_out_once(
    full: NightTools, config: NightConfig, changes_first: bool
) -> None:
    with pytest.raises(Killed):
        run_night(replace(full, registry=Dying(full.folder.parent / "models", changes_first)), config)
    learner = Learner("worse")
    report = run_night(replace(full, fine_tune=learner), config)
    assert (report.outcome, report.candidate_digest) == (Outcome.PROMOTED, DIGESTS["better"])
    assert learner.taught == []
    assert serving(full) == DIGESTS["better"]
    assert len(full.registry.changes()) == 1


def test_who_went_back_after_a_killed_promotion_is_not_overruled(full: NightTools, config: NightConfig) -> None:
    with pytest.raises(Killed):
        run_night(replace(full, registry=Dying(full.folder.parent / "models", True)), config)
    full.registry.rollback(NOW, "by hand")
    run_night(full, config)
    assert serving(full) == SHIPPED


NIGHTS_WITHOUT_END = """
import sys
from pathlib import Path
sys.path[:0] = [sys.argv[2]]
from importlib.util import module_from_spec, spec_from_file_location
spec = spec_from_file_location("test_nightly", sys.argv[3])
module = module_from_spec(spec)
sys.modules["test_nightly"] = module
spec.loader.exec_module(module)
module.nights_without_end(Path(sys.argv[1]))
"""


def nights_without_end(folder: Path) -> None:
    """Promote and go back by turns until killed."""
    tools = tools_of(folder, filled((SqlStore.in_memory(), MemoryBlobs()), tracks=12))
    probe = find_probe(folder / "probe", None)
    config = NightConfig(days=1.0, training="test", probe=probe, attempts=1000, rules=NightRules(least_tracks=10))
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    while True:
        run_night(tools, config)
        if tools.registry.changes() and tools.registry.serving() != DEFAULT_BUNDLE:
            tools.registry.rollback(NOW, "by turns")
        tools.clock.sleep(1.0)


def test_kill_9_at_any_moment_leaves_a_whole_pointer_and_a_night_that_goes_on(
    full: NightTools, config: NightConfig, tmp_path: Path
) -> None:
    root = str(Path(__file__).parents[2])
    rng = np.random.default_rng(7)
    for _ in range(6):
        child = subprocess.Popen(
            [sys.executable, "-c", NIGHTS_WITHOUT_END, str(tmp_path), root, __file__],
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": root},
        )
        with child:
            assert child.stdout is not None and child.stdout.readline() == b"ready\n"
            with pytest.raises(subprocess.TimeoutExpired):
                child.wait(rng.uniform(0.0, 0.4))
            child.kill()
        assert child.returncode == -signal.SIGKILL
        assert serving(full) in (SHIPPED, DIGESTS["better"])
    full.clock.sleep(60.0)
    report = run_night(full, config)
    assert report.outcome in (Outcome.PROMOTED, Outcome.REFUSED)  # refused where the better model serves already


def test_two_nights_at_once_are_refused_with_the_process_that_holds_it(full: NightTools, config: NightConfig) -> None:
    met: list[ConfigurationError] = []

    def meanwhile() -> None:
        with pytest.raises(ConfigurationError, match=f"process {os.getpid()} already holds") as error:
            run_night(full, config)
        met.append(error.value)

    assert run_night(replace(full, fine_tune=Learner(meanwhile=meanwhile)), config).outcome is Outcome.PROMOTED
    assert len(met) == 1


# --- when ------------------------------


class EnoughNights(Exception):
    """Ends the loop of the test."""


def test_nights_begin_when_the_clock_says_so_and_missed_ones_are_left_out() -> None:
    clock, began = HandClock(NOW), []  # 14 November 2023, 22:13:20 UTC

    def night() -> None:
        began.append(clock.now())
        clock.sleep(30 * 3600.0 if len(began) == 1 else 60.0)
        if len(began) == 3:
            raise EnoughNights

    with pytest.raises(EnoughNights):
        keep_nights("0 2 * * *", clock, UTC, night)
    assert np.diff(began).tolist() == [2 * 86400.0, 86400.0]
    assert began[0] % 86400.0 == 2 * 3600.0


def test_a_schedule_means_the_clock_on_the_wall() -> None:
    summer, winter = 1_752_000_000.0, 1_768_000_000.0
    zone = ZoneInfo("Europe/Berlin")
    assert [next_due("0 2 * * *", at, zone) % 86400.0 for at in (summer, winter)] == [0.0, 3600.0]


@pytest.mark.parametrize("schedule", ["at night", "0 25 * * *", "0 0 30 2 *", ""])
def test_a_schedule_that_means_no_moment_is_refused_with_an_example(schedule: str) -> None:
    with pytest.raises(ConfigurationError, match=r"0 2 \* \* \*"):
        next_due(schedule, NOW, UTC)


def test_a_report_survives_its_own_file(full: NightTools, config: NightConfig) -> None:
    report = run_night(replace(full, fine_tune=Learner("worse")), config)
    assert NightReport.model_validate_json((full.folder / "reports" / f"{report.night}.json").read_text()) == report
