"""int8 for a tiny model, from pictures in a folder, in a zip, and from the archive."""

from __future__ import annotations

import zipfile
from datetime import date
from pathlib import Path

import cv2
import numpy as np
import pytest

from pipeline.errors import ConfigurationError
from pipeline.runtimes.machine import CACHE_VARIABLE
from pipeline.runtimes.trial import Outcome, Trial
from reid_models.bundle import save_bundle
from reid_models.encoder import PersonEncoder, person_cnn_architecture
from reid_models.manifest import Training
from reid_models.publishing import assemble
from reid_models.serving import measuring
from reid_models.serving.artefacts import artefacts_of
from reid_models.serving.exporting import exported
from reid_models.serving.measuring import Task
from reid_models.vocabulary import Vocabulary
from services import quantise as quantising
from services.quantise import MOST_CROPS, Quantisation, pictures, quantise
from services.settings import Settings


@pytest.fixture
def bundle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A tiny bundle, exported; trials measure in this process."""
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "cache"))
    monkeypatch.setattr(measuring.signal, "alarm", lambda _: 0)

    def run(task: Task, path: Path) -> str:
        measuring.main(task.model_copy(update={"duration_s": 0.01}))
        return ""

    monkeypatch.setattr(measuring, "_run", run)
    encoder = PersonEncoder(person_cnn_architecture("person_cnn_tiny", (64, 32), 6)).eval()
    training = Training(description="not trained", data_digest="none")
    made = assemble("tiny", date(2026, 1, 2), encoder, Vocabulary(("a", "man")), training, "Apache-2.0", (64, 32))
    save_bundle(tmp_path / "tiny", made.encoder, made.manifest)
    exported(made, artefacts_of(tmp_path / "tiny"))
    return tmp_path / "tiny"


@pytest.fixture(scope="module")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A hundred blotches in two folders, and files that are no pictures."""
    folder = tmp_path_factory.mktemp("photographs")
    rng = np.random.default_rng(4)
    for number in range(100):
        place = folder / ("train" if number % 2 else "test") / f"{number:03}.png"
        place.parent.mkdir(exist_ok=True)
        coarse = rng.integers(0, 256, (5, 3, 3), np.uint8)
        cv2.imwrite(str(place), cv2.resize(coarse, (30, 60), interpolation=cv2.INTER_CUBIC))
    (folder / "train" / "readme.txt").write_text("no picture")
    (folder / "train" / "broken.png").write_bytes(b"no picture either")
    return folder


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings.model_validate(
        {"data_dir": tmp_path / "data", "embedding": {"device": "cpu", "threads": 1, "batch_crops": 8}}
    )


def test_int8_that_holds_is_kept_for_this_machine(settings: Settings, bundle: Path, photographs: Path) -> None:
    found = quantise(settings, Quantisation(str(bundle), photographs))
    assert {str(outcome.candidate) for outcome in found.outcomes if not outcome.problem} >= {"openvino int8"}
    ranges = artefacts_of(bundle).ranges()
    assert ranges is not None and ranges.crops == 75  # the other quarter judged
    assert not (bundle / "int8.json").exists()


def test_int8_for_every_machine_lies_beside_the_bundle(settings: Settings, bundle: Path, photographs: Path) -> None:
    quantise(settings, Quantisation(str(bundle), photographs, into_bundle=True))
    files = artefacts_of(bundle)
    assert (bundle / "int8.json").is_file() and not files.own_ranges.exists() and files.ranges() is not None


def test_int8_that_does_not_hold_changes_nothing(
    settings: Settings, bundle: Path, photographs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refused = Trial(outcomes=(Outcome(runtime="openvino", precision="int8", problem="cosine 0.7"),))
    monkeypatch.setattr(quantising, "run_trial", lambda *_: refused)
    own = artefacts_of(bundle).own_ranges
    for before in (None, b"what was there"):
        if before is not None:
            own.write_bytes(before)
        with pytest.raises(ConfigurationError, match=r"int8 does not hold .*openvino int8: cosine 0\.7"):
            quantise(settings, Quantisation(str(bundle), photographs))
        assert (own.read_bytes() if own.exists() else None) == before


def test_ranges_that_nobody_has_judged_are_not_kept(
    settings: Settings, bundle: Path, photographs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object) -> Trial:
        raise KeyboardInterrupt

    monkeypatch.setattr(quantising, "run_trial", interrupted)
    with pytest.raises(KeyboardInterrupt):
        quantise(settings, Quantisation(str(bundle), photographs))
    assert artefacts_of(bundle).ranges() is None


def test_a_device_without_int8_is_told_before_anything_is_measured(bundle: Path, photographs: Path) -> None:
    on_cuda = Settings.model_validate({"embedding": {"device": "cuda"}})
    with pytest.raises(ConfigurationError, match=r"set embedding\.device to cpu"):
        quantise(on_cuda, Quantisation(str(bundle), photographs))


def test_too_few_pictures_and_models_that_are_no_bundles_are_refused(
    settings: Settings, bundle: Path, photographs: Path
) -> None:
    with pytest.raises(ConfigurationError, match="50 crops are too few"):
        quantise(settings, Quantisation(str(bundle), photographs, within="train"))
    with pytest.raises(ConfigurationError, match="sightline models import"):
        quantise(settings, Quantisation("ViT-B-16/openai", photographs))
    with pytest.raises(ConfigurationError, match="0 crops are too few"):
        quantise(settings, Quantisation(str(bundle)))  # an archive in which nothing is


def test_pictures_of_a_zip_are_those_of_its_folder(photographs: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "people.zip", "w") as archive:
        for place in sorted(photographs.rglob("*.*")):
            archive.write(place, place.relative_to(photographs))
    from_folder, from_zip = pictures(photographs, "train"), pictures(tmp_path / "people.zip", "train")
    assert len(from_folder) == 50 < MOST_CROPS
    for first, second in zip(from_folder, from_zip, strict=True):
        np.testing.assert_array_equal(first, second)
    with pytest.raises(ConfigurationError, match="neither a folder nor a zip"):
        pictures(photographs / "train" / "readme.txt")
