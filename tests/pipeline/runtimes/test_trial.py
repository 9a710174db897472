from __future__ import annotations

import logging
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.runtimes.machine import CACHE_VARIABLE
from pipeline.runtimes.runtime import PRECISIONS, Precision
from pipeline.runtimes.trial import (
    LEAST_SIMILARITY,
    Outcome,
    Trial,
    accuracy_problem,
    parity_problem,
    ranked,
    read_trial,
    trial_once,
)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "cache"))


speeds = st.one_of(st.none(), st.floats(1.0, 1e4))
outcomes = st.lists(
    st.builds(
        Outcome,
        runtime=st.sampled_from(["torch", "openvino", "onnxruntime"]),
        precision=st.sampled_from(PRECISIONS),
        problem=st.sampled_from(["", "", "broken"]),
        crops_per_s=speeds,
    ),
    max_size=8,
)


@given(outcomes)
def test_what_serves_is_right_and_nearly_the_fastest(found: list[Outcome]) -> None:
    chosen = Trial(outcomes=tuple(found)).chosen
    fit = [outcome.crops_per_s for outcome in found if not outcome.problem and outcome.crops_per_s]
    if chosen is None:
        assert not fit
    else:
        assert not chosen.problem and chosen.crops_per_s is not None
        assert chosen.crops_per_s >= 0.97 * max(fit)


@given(outcomes)
def test_the_ranking_holds_each_fit_outcome_once(found: list[Outcome]) -> None:
    fit = [outcome for outcome in found if not outcome.problem and outcome.crops_per_s]
    assert sorted(map(repr, ranked(found))) == sorted(map(repr, fit))


def outcome(precision: Precision, crops_per_s: float) -> Outcome:
    return Outcome(runtime="openvino", precision=precision, crops_per_s=crops_per_s)


def test_of_two_about_as_fast_the_more_exact_serves() -> None:
    nearly, clearly = outcome("bf16", 99.0), outcome("bf16", 90.0)
    int8 = outcome("int8", 100.0)
    assert Trial(outcomes=(int8, nearly)).chosen == nearly
    assert Trial(outcomes=(int8, clearly)).chosen == int8


@given(st.sampled_from(PRECISIONS), st.floats(-1.0, 1.0))
def test_vectors_are_admitted_from_the_least_similarity_on(precision: Precision, similarity: float) -> None:
    assert (parity_problem(precision, similarity) == "") == (similarity >= LEAST_SIMILARITY[precision])


def test_a_vector_that_is_no_number_is_refused() -> None:
    assert parity_problem("int8", float("nan"))


def test_half_a_point_of_accuracy_may_be_lost() -> None:
    assert accuracy_problem(0.7451, 0.75) == ""
    assert "0.7449" in accuracy_problem(0.7449, 0.75)


def test_a_kept_trial_is_read_back(tmp_path: Path) -> None:
    trial = Trial(outcomes=(outcome("fp32", 10.0), Outcome(runtime="torch", precision="bf16", problem="no")))
    assert trial_once(tmp_path / "deep" / "trial.json", lambda: trial) == trial
    assert read_trial(tmp_path / "deep" / "trial.json") == trial
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["trial.json"]


def test_of_two_who_start_together_one_makes_the_trial(tmp_path: Path) -> None:
    both, made = Barrier(2), []

    def make() -> Trial:
        made.append(1)
        return Trial(outcomes=(outcome("fp32", 10.0),))

    def start(_: int) -> Trial:
        both.wait()
        return trial_once(tmp_path / "trial.json", make)

    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(start, range(2))
    assert first == second and made == [1]


def test_a_trial_whose_reference_failed_is_made_again(tmp_path: Path) -> None:
    failed = Trial(outcomes=(Outcome(runtime="torch", precision="fp32", problem="took too long"),))
    assert trial_once(tmp_path / "trial.json", lambda: failed) == failed
    better = Trial(outcomes=(outcome("fp32", 10.0),))
    assert trial_once(tmp_path / "trial.json", lambda: better) == better


@pytest.mark.parametrize("content", [b"", b"{", b'{"outcomes": 3}', b'{"outcomes": [{"runtime": "abacus"}]}', b"\xff"])
def test_a_damaged_trial_counts_as_none(tmp_path: Path, content: bytes, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "trial.json").write_bytes(content)
    with caplog.at_level(logging.WARNING):
        assert read_trial(tmp_path / "trial.json") is None
    assert "measured anew" in caplog.text
    assert read_trial(tmp_path / "missing.json") is None
