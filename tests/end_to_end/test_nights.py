"""A site whose look is foreign to the shipped model: night after night the model grows into it, by the gates alone."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from datetime import UTC, datetime
from pathlib import Path

import cv2
import numpy as np
import pytest

from pipeline.adapters.blobs import FsBlobs
from pipeline.adapters.simulation.crops import write_reid_dataset
from pipeline.adapters.store import SqlStore, upgrade
from pipeline.contracts import Image, TrackletCrops
from reid_models.datasets.tracklets import TrackedSamples
from reid_models.fine_tuning import FineTuneConfig, fine_tune
from reid_models.inference import load_encoder
from reid_models.manifest import DEFAULT_BUNDLE, read_manifest
from reid_models.probe import find_probe
from reid_models.registry import Registry
from services.nightly.night import NightConfig, NightTools, run_night
from services.nightly.report import NightReport, Outcome
from tests.fakes import HandClock, crop

NOW = 1_780_000_000.0
DAY_S = 86400.0
NIGHT_SEEDS, PROBE_SEED = (1201, 1202), 1300  # nothing was developed on them
PEOPLE_A_DAY = 50
PROBE_PEOPLE = 100  # fewer tell one point of text rank-1 from chance even less
# What each camera of this site does to red, green and blue: evening lamp, daylight tube, a greenish one.
CASTS = np.array([(1.09, 0.91, 0.79), (0.79, 0.94, 1.11), (0.89, 1.06, 0.87)])
TRAINING = FineTuneConfig()

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1500)]


def foreign(image: Image, camera: int) -> Image:
    """The same picture in the light of this site, which is also darker in its middle tones."""
    lit = np.clip(image * CASTS[camera], 0, 255) / 255
    return np.asarray(255 * lit**1.2, np.uint8)


def simulate(folder: Path, seed: int, people: int, images: int, held_out: float) -> Path:
    """Crops and captions of people nobody has seen before, in the light of this site."""
    write_reid_dataset(folder, [seed], people, cameras=3, images_per_visit=images, held_out=held_out)
    for path in folder.rglob("*.jpg"):
        picture = np.asarray(cv2.imread(str(path)), np.uint8)[..., ::-1]
        cv2.imwrite(str(path), foreign(picture, camera_of(path))[..., ::-1])
    return folder


def camera_of(path: Path) -> int:
    return int(re.findall(r"_c(\d)", path.name)[0]) - 1


def archive(store: SqlStore, blobs: FsBlobs, folder: Path, day: int) -> None:
    """One visit of a person before a camera is one track; everybody walks in groups of six."""
    visits = defaultdict(list)
    for path in sorted((folder / "bounding_box_train").iterdir()):
        visits[camera_of(path), int(path.name[:4])].append(path.read_bytes())
    for (camera, person), pictures in visits.items():
        started_at = NOW + day * DAY_S - 6 * 3600.0 + 20.0 * (person // 6)
        crops = tuple(crop(picture) for picture in pictures)
        for picture in pictures:
            blobs.put(picture)
        store.archive_tracklet(
            TrackletCrops(
                camera_id=f"camera-{camera}",
                boot_id=f"day-{day}",
                track_id=person,
                sequence=0,
                started_at=started_at,
                ended_at=started_at + 8.0,
                sent_at=started_at + 8.0,
                detections=len(crops),
                is_last=True,
                crops=crops,
            )
        )


def learn(bundle: Path, tracks: TrackedSamples, work: Path) -> Path:
    return fine_tune(bundle, tracks, work, TRAINING, datetime.fromtimestamp(NOW, UTC).date())


def test_night_after_night_quality_rises_on_a_site_whose_look_is_foreign(tmp_path: Path) -> None:
    upgrade(url := f"sqlite:///{tmp_path / 'sightline.db'}")
    store, blobs, clock = SqlStore(url), FsBlobs(str(tmp_path / "blobs")), HandClock(NOW)
    probe = find_probe(simulate(tmp_path / "probe", PROBE_SEED, PROBE_PEOPLE, 2, held_out=1.0), None)
    registry = Registry(tmp_path / "models")
    tools = NightTools(
        store,
        blobs,
        registry,
        learn,
        lambda bundle: load_encoder(bundle, "cpu"),
        clock,
        tmp_path / "nightly",
        lambda digest, reason: None,
    )
    config = NightConfig(days=1.0, training=repr(TRAINING), probe=probe)
    figures = []  # of the serving model, before the first night and after each
    for night, seed in enumerate(NIGHT_SEEDS):
        archive(store, blobs, simulate(tmp_path / f"day-{night}", seed, PEOPLE_A_DAY, 4, held_out=0.0), night)
        report = run_night(tools, config)
        assert report.outcome is Outcome.PROMOTED, report.reasons
        assert report.survey is not None and report.survey.cameras == 3
        before, after = probe_figures(report)
        assert figures[-1:] in ([], [before]), "a night begins with what the last one promoted"
        figures += [after] if figures else [before, after]
        clock.sleep(DAY_S)
    images, texts = np.array(figures).T
    assert np.all(np.diff(images) >= config.gates.least_gain), images
    assert np.all(np.diff(texts) >= -config.gates.largest_text_loss), texts
    reports = sorted((tmp_path / "nightly" / "reports").glob("*.json"))
    assert [json.loads(path.read_text())["outcome"] for path in reports] == ["promoted"] * len(NIGHT_SEEDS)
    for _ in NIGHT_SEEDS:
        registry.rollback(clock.now(), "back to the beginning")
    assert read_manifest(registry.wanted()) == read_manifest(DEFAULT_BUNDLE)
    store.close()


def probe_figures(report: NightReport) -> list[tuple[float, float]]:
    """Image mAP and text rank-1 on the probe set, of the serving model and of the candidate."""
    rows = {row.subject: row for row in report.gates}
    image, text = rows["probe image mAP"], rows["probe text rank-1"]
    assert image.candidate is not None and text.candidate is not None
    return [(image.serving, text.serving), (image.candidate, text.candidate)]
