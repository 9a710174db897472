"""Figures of a run in TensorBoard and MLflow, read back from what these wrote."""

from __future__ import annotations

import sys
import warnings
from pathlib import Path

import pytest

from pipeline.errors import ConfigurationError
from reid_models.tracking import MLFLOW_RUN, TrackedRun, open_tracker


def run_in(folder: Path) -> TrackedRun:
    return TrackedRun(folder / "ccafl-3", {"method": "ccafl", "precision": "float32"})


def test_tensorboard_gets_every_figure_at_its_epoch_and_goes_on_after_a_break(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard", reason="the extra `tensorboard` is not installed")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    target = f"tensorboard:{tmp_path / 'events'}"
    first = open_tracker(target, run_in(tmp_path))
    first.report("prompts", 1, {"contrastive": 2.0})
    second = open_tracker(target, run_in(tmp_path))
    second.report("prompts", 2, {"contrastive": 1.5})
    second.close({"rank_1": 0.25})
    found = EventAccumulator(str(tmp_path / "events" / "ccafl-3")).Reload()
    assert sorted((event.step, event.value) for event in found.Scalars("prompts/contrastive")) == [(1, 2.0), (2, 1.5)]
    assert [(event.step, event.value) for event in found.Scalars("result/rank_1")] == [(2, 0.25)]
    assert "method: ccafl" in str(found.Tensors("configuration/text_summary")[0].tensor_proto)


def test_mlflow_keeps_one_run_over_a_break(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("mlflow", reason="the extra `mlflow` is not installed")
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # of MLflow about its own file store
        from mlflow.tracking import MlflowClient

        target = f"mlflow:{(tmp_path / 'mlruns').as_uri()}"
        first = open_tracker(target, run_in(tmp_path))
        first.report("prompts", 1, {"contrastive": 2.0})
        second = open_tracker(target, run_in(tmp_path))
        second.report("prompts", 2, {"contrastive": 1.5})
        second.close({"rank_1": 0.25})
        client = MlflowClient(tracking_uri=target.removeprefix("mlflow:"))
        number = (tmp_path / "ccafl-3" / MLFLOW_RUN).read_text().strip()
        history = client.get_metric_history(number, "prompts/contrastive")
        found = client.get_run(number)
    assert [(point.step, point.value) for point in history] == [(1, 2.0), (2, 1.5)]
    assert (found.info.run_name, found.info.status) == ("ccafl-3", "FINISHED")
    assert found.data.metrics["result/rank_1"] == 0.25
    assert "method: ccafl" in found.data.tags["configuration"]


@pytest.mark.parametrize("target", ["wandb:x", "tensorboard", "tensorboard:", ""])
def test_an_unknown_kind_is_told_with_the_known_ones(target: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="expected one of tensorboard:ADDRESS, mlflow:ADDRESS"):
        open_tracker(target, run_in(tmp_path))


@pytest.mark.parametrize(("kind", "module"), [("tensorboard", "torch.utils.tensorboard"), ("mlflow", "mlflow")])
def test_a_library_that_is_not_installed_is_named_with_its_extra(
    kind: str, module: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [loaded for loaded in sys.modules if loaded == module or loaded.startswith(f"{module}.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, module, None)  # as if it were not there
    with pytest.raises(ConfigurationError, match=rf"pip install 'sightline\[{kind}\]'"):
        open_tracker(f"{kind}:somewhere", run_in(tmp_path))
