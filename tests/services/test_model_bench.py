"""`sightline models bench`: a table, a plot and JSON of a tiny model, each candidate in its own process."""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from typer.testing import CliRunner, Result

from pipeline.errors import ConfigurationError
from pipeline.runtimes.machine import CACHE_VARIABLE
from reid_models.bundle import save_bundle
from reid_models.encoder import PersonEncoder, person_cnn_architecture
from reid_models.manifest import Training
from reid_models.publishing import assemble
from reid_models.serving import measuring
from reid_models.serving.benching import Figures
from reid_models.serving.measuring import Measured, Passes, Task, main, passes_of
from reid_models.vocabulary import Vocabulary
from services.cli import app
from services.model_bench import plot_bench


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    """A bundle that was never trained."""
    words = ("a", "man", "in", "red", "blue")
    encoder = PersonEncoder(person_cnn_architecture("person_cnn_tiny", (64, 32), len(words) + 4)).eval()
    training = Training(description="not trained", data_digest="none")
    made = assemble("tiny", date(2026, 1, 2), encoder, Vocabulary(words), training, "Apache-2.0", (64, 32))
    save_bundle(tmp_path / "tiny", made.encoder, made.manifest)
    return tmp_path / "tiny"


def bench(folder: Path, *words: str) -> Result:
    files = ["--plot", str(folder / "plot.png"), "--json", str(folder / "bench.json")]
    return CliRunner().invoke(app, ["models", "bench", *words, *files, "--data-dir", str(folder / "site")])


@pytest.mark.slow
def test_speed_latency_parity_and_accuracy_are_told_and_plotted(
    tmp_path: Path, tiny: Path, people: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "cache"))
    monkeypatch.setenv("SIGHTLINE_EMBEDDING__RUNTIME", "onnxruntime")
    monkeypatch.setenv("SIGHTLINE_EMBEDDING__PRECISION", "fp32")
    done = bench(tmp_path, str(tiny), "--duration", "0.1", "--data", str(people))
    assert done.exit_code == 0, done.output
    told = json.loads((tmp_path / "bench.json").read_text())
    found = [Figures.model_validate(figures) for figures in told["candidates"]]
    assert [str(figures.candidate) for figures in found] == ["torch fp32", "onnxruntime fp32"]
    for figures in found:
        assert not figures.problem
        assert (figures.crops_per_s or 0) > 0
        assert figures.single is not None and figures.single.median_s <= figures.single.p95_s
        assert figures.image_rank_1 is not None and figures.caption_person_rank_1 is None
        assert str(figures.candidate) in done.output
    assert found[0].similarity is None and (found[1].similarity or 0) > 0.9999
    assert found[0].image_mean_average_precision == pytest.approx(found[1].image_mean_average_precision, abs=0.01)
    with Image.open(tmp_path / "plot.png") as plot:
        assert plot.format == "PNG" and len(plot.getcolors(plot.width * plot.height) or []) > 3


def test_sentences_are_scored_where_there_are_some(
    tmp_path: Path, tiny: Path, people: Path, captions: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    probe = tmp_path / "probe.npy"
    np.save(probe, np.random.default_rng(0).integers(0, 256, (3, 64, 32, 3), np.uint8))
    task = Task(
        bundle=tiny, runtime="torch", precision="fp32", device="cpu", threads=1, full_batch=2, duration_s=0.0,
        limit_s=60.0, data=people, captions=captions, probe=probe, vectors=tmp_path / "found.npz",
        measured=tmp_path / "measured.json",
    )  # fmt: skip
    monkeypatch.setattr(measuring.signal, "alarm", lambda _: 0)
    main(task)
    found = Measured.model_validate_json(task.measured.read_bytes())
    assert found.caption_person_rank_1 in (0.0, 0.25, 0.5, 0.75, 1.0)
    with np.load(task.vectors) as vectors:
        assert np.allclose(np.linalg.norm(vectors["appearance"], axis=1), 1, atol=1e-4)


def test_a_model_that_is_none_and_captions_without_pictures_are_refused(tmp_path: Path, captions: Path) -> None:
    for words, told in ((["ViT-B-16/openai"], "models import"), (["0123"], "names 0 models")):
        done = bench(tmp_path, *words)
        assert isinstance(done.exception, ConfigurationError) and told in str(done.exception)
    done = bench(tmp_path, "--captions", str(captions))
    assert isinstance(done.exception, ConfigurationError) and "--data DATA" in str(done.exception)


def test_nothing_measured_is_nothing_to_plot(tmp_path: Path, tiny: Path) -> None:
    from reid_models.manifest import read_manifest

    failed = Figures(runtime="openvino", precision="fp32", problem="is not installed")
    with pytest.raises(ConfigurationError, match="nothing to plot"):
        plot_bench(tmp_path / "plot.png", read_manifest(tiny), [failed])


@given(st.lists(st.floats(1e-4, 10), min_size=1))
def test_the_median_is_never_above_the_95th_percentile(taken_s: list[float]) -> None:
    found = passes_of(taken_s)
    assert isinstance(found, Passes)
    assert min(taken_s) <= found.median_s <= found.p95_s <= max(taken_s)
    assert min(taken_s) <= found.undisturbed_s <= found.median_s * (1 + 1e-9)
