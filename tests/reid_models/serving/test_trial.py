"""Trials of the tiny tower in real child processes; what a wrong runtime gives is put in by hand."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.contracts import Embeddings
from pipeline.runtimes.runtime import Batch
from pipeline.runtimes.trial import Candidate, Outcome, Trial
from reid_models.inference import load_encoder
from reid_models.serving import measuring, trial
from reid_models.serving.measuring import Measured, Task, passes_of
from reid_models.serving.pixels import U8
from reid_models.serving.trial import REFERENCE, TrialConfig, kept_trial, least_similarity, run_trial, usual_candidates

CONFIG = TrialConfig(threads=1, full_batch=8, duration_s=0.02)
FP32 = Candidate("openvino", "fp32")


@pytest.fixture
def in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Measure here instead of in children, which take seconds to load torch."""

    def run(task: Task, path: Path) -> str:
        measuring.main(task)
        return ""

    monkeypatch.setattr(measuring.signal, "alarm", lambda _: 0)
    monkeypatch.setattr(measuring, "_run", run)


def test_a_trial_measures_the_right_and_reports_the_failing(bundle_folder: Path, crops: U8) -> None:
    broken = Candidate("onnxruntime", "bf16")  # which it refuses
    found = run_trial(bundle_folder, replace(CONFIG, candidates=(FP32, broken)), lambda *_: crops[:16])
    reference, openvino, failed = found.outcomes
    assert reference.candidate == REFERENCE and not reference.problem
    assert openvino.similarity is not None and openvino.similarity > 0.9999
    assert openvino.crops_per_s and openvino.latency_s and not openvino.problem
    assert failed.problem.startswith("onnxruntime computes in the precision of the file, and bf16 is asked for")
    assert found.chosen in (reference, openvino)


def test_a_candidate_that_takes_too_long_is_a_row(bundle_folder: Path, crops: U8) -> None:
    found = run_trial(bundle_folder, replace(CONFIG, limit_s=0.3, candidates=(FP32,)), lambda *_: crops[:4])
    assert [outcome.problem for outcome in found.outcomes] == ["took longer than 0.3 s"] * 2
    assert found.chosen is None


def test_a_trial_is_made_once_and_again_when_its_result_is_damaged_or_the_threads_change(
    bundle_folder: Path, crops: U8, in_this_process: None
) -> None:
    sizes: list[tuple[int, int]] = []

    def probe(height_px: int, width_px: int) -> U8:
        sizes.append((height_px, width_px))
        return crops[:8]

    first = kept_trial(bundle_folder, CONFIG, probe)
    assert kept_trial(bundle_folder, CONFIG, probe) == first
    assert sizes == [(64, 32)]
    (kept,) = trial.artefacts_of(bundle_folder).folder.glob("trial-*.json")
    kept.write_text("{")
    assert kept_trial(bundle_folder, CONFIG, probe).outcomes[0].candidate == REFERENCE
    kept_trial(bundle_folder, replace(CONFIG, threads=2), probe)
    assert len(sizes) == 3


def test_what_is_not_installed_is_a_row(
    bundle_folder: Path, crops: U8, in_this_process: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(measuring, "is_installed", lambda runtime: runtime == "torch")
    found = run_trial(bundle_folder, replace(CONFIG, candidates=(FP32,)), lambda *_: crops[:4])
    assert found.outcomes[1].problem == "is not installed"


class WrongRuntime:
    """The right vectors, spoilt: as a runtime would give them that mixes up rows or computes too coarsely."""

    name, precision, input_shape = "openvino", "bf16", (None, 64, 32, 3)

    def __init__(self, right: measuring.ServedEncoder, wrong: str) -> None:
        self._right = right.images
        self._wrong = wrong

    def run(self, batch: Batch) -> tuple[np.ndarray, ...]:
        appearance, language = self._right.run(batch)
        if self._wrong == "permutes rows":
            return np.roll(appearance, 1, axis=0), np.roll(language, 1, axis=0)
        if self._wrong == "spoils one crop":
            appearance[-1] = -appearance[-1]
            return appearance, language
        if self._wrong == "gives no number":
            language[0] = np.nan
            return appearance, language
        if self._wrong == "swaps the colours":
            return self._right.run(np.ascontiguousarray(batch[..., ::-1]))
        noise = np.random.default_rng(0).normal(0, 0.1 / np.sqrt(language.shape[1]), language.shape)
        return appearance, (language + noise).astype(np.float32)


@pytest.mark.parametrize(
    "wrong", ["permutes rows", "spoils one crop", "gives no number", "swaps the colours", "computes coarsely"]
)
def test_a_wrong_runtime_is_refused_however_fast_it_is(
    bundle_folder: Path, crops: U8, wrong: str, in_this_process: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = load_encoder(bundle_folder, "cpu")

    def open_wrong(bundle: Path, candidate: Candidate, options: object) -> measuring.ServedEncoder:
        images = right.images if candidate == REFERENCE else WrongRuntime(right, wrong)
        return measuring.ServedEncoder(right.manifest, images, lambda: right.embed_texts)

    monkeypatch.setattr(measuring, "open_served", open_wrong)
    found = run_trial(
        bundle_folder, replace(CONFIG, candidates=(Candidate("openvino", "bf16"),)), lambda *_: crops[:16]
    )
    assert "cosine" in found.outcomes[1].problem
    assert found.chosen == found.outcomes[0]


def test_a_candidate_that_loses_accuracy_does_not_serve(
    bundle_folder: Path, crops: U8, monkeypatch: pytest.MonkeyPatch
) -> None:
    accuracies = {REFERENCE: 0.80, Candidate("openvino", "int8"): 0.79, Candidate("openvino", "bf16"): 0.797}
    speeds = {REFERENCE: 10.0, Candidate("openvino", "int8"): 90.0, Candidate("openvino", "bf16"): 40.0}
    validated: list[Candidate] = []

    def measured(bench: object, candidate: Candidate, data: Path | None = None) -> tuple[Measured, Embeddings]:
        if data is not None:
            validated.append(candidate)
        passes = passes_of([1 / speeds[candidate]])
        accuracy = accuracies[candidate] if data is not None else None
        eye = np.eye(2, dtype=np.float32)
        return Measured(single=passes, full=passes, image_mean_average_precision=accuracy), Embeddings(eye, eye)

    monkeypatch.setattr(measuring.Bench, "measure", measured)
    candidates = (Candidate("openvino", "bf16"), Candidate("openvino", "int8"))
    config = replace(CONFIG, candidates=candidates, validation=Path("images.zip"))
    found = run_trial(bundle_folder, config, lambda *_: crops[:4])
    assert validated == [REFERENCE, Candidate("openvino", "int8"), Candidate("openvino", "bf16")]
    assert "mAP 0.7900" in found.outcomes[2].problem
    assert found.chosen is not None and found.chosen.candidate == Candidate("openvino", "bf16")
    thorough = run_trial(bundle_folder, replace(config, validates_all=True), lambda *_: crops[:4])
    assert [bool(outcome.problem) for outcome in thorough.outcomes] == [False, False, True]


@given(st.permutations(range(4)))
def test_only_rows_in_their_order_are_similar(order: list[int]) -> None:
    vectors = np.eye(4, dtype=np.float32)
    found = least_similarity(Embeddings(vectors[order], vectors), Embeddings(vectors, vectors))
    assert found == (1.0 if order == [0, 1, 2, 3] else 0.0)


def test_candidates_are_distinct_and_the_reference_is_not_among_them() -> None:
    for device, is_thorough in itertools.product(("cpu", "cuda"), (False, True)):
        found = usual_candidates(device, is_thorough)  # type: ignore[arg-type]
        assert len(set(found)) == len(found) and REFERENCE not in found


def test_the_choice_survives_the_way_through_a_file() -> None:
    outcome = Outcome(runtime="openvino", precision="int8", crops_per_s=3.0, similarity=0.995)
    assert Trial.model_validate_json(Trial(outcomes=(outcome,)).model_dump_json()).chosen == outcome
