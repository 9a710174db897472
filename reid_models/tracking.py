"""Figures of a run shown elsewhere, behind one line of a recipe: `tensorboard:runs/x` or `mlflow:http://host:5000`.

Both libraries are optional, and loaded only when they are asked for. A run that goes on goes on there too.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from pipeline.errors import ConfigurationError

Figures = Mapping[str, float]

MLFLOW_RUN = "mlflow-run.txt"  # in the run's folder: the number that MLflow gave it


@dataclass(frozen=True, slots=True)
class TrackedRun:
    """What is tracked: the run in `folder`, whose name it bears."""

    folder: Path
    configuration: Mapping[str, Any]


class Tracker(Protocol):
    """Where figures go: TensorBoard or MLflow."""

    def report(self, stage: str, epochs_done: int, figures: Figures) -> None:
        """The figures of one epoch; fits `Run.report` of the trainer. Names become `stage/name`."""

    def close(self, metrics: Figures) -> None:
        """The last evaluation; nothing comes after it."""


def open_tracker(target: str, run: TrackedRun) -> Tracker:
    """Where `target` says.

    Raises `ConfigurationError` for an unknown kind, and where the library is not installed or its server refuses.
    """
    kind, _, address = target.partition(":")
    if kind not in TRACKERS or not address:
        raise ConfigurationError(
            f"tracking is {target!r}; expected one of {', '.join(f'{known}:ADDRESS' for known in TRACKERS)}, for "
            "example tensorboard:runs/market or mlflow:http://localhost:5000"
        )
    try:
        return TRACKERS[kind](address, run)
    except ModuleNotFoundError as error:
        raise ConfigurationError(
            f"tracking by {kind} needs a library that is not installed ({error.name}); install it with "
            f"`pip install 'sightline[{kind}]'`, or take `tracking` out of the recipe"
        ) from error


class TensorBoardTracker:
    """Event files in a folder; `tensorboard --logdir FOLDER` shows them."""

    def __init__(self, address: str, run: TrackedRun) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self._writer = SummaryWriter(str(Path(address) / run.folder.name))
        self._writer.add_text("configuration", _as_text(run.configuration))
        self._last = 0

    def report(self, stage: str, epochs_done: int, figures: Figures) -> None:
        self._last = epochs_done
        for figure, value in figures.items():
            self._writer.add_scalar(f"{stage}/{figure}", value, epochs_done)
        self._writer.flush()

    def close(self, metrics: Figures) -> None:
        for figure, value in metrics.items():
            self._writer.add_scalar(f"result/{figure}", value, self._last)
        self._writer.close()


class MlflowTracker:
    """A run on an MLflow server, or in a folder or database that MLflow knows by its address."""

    def __init__(self, address: str, run: TrackedRun) -> None:
        from mlflow.exceptions import MlflowException
        from mlflow.tracking import MlflowClient

        self._last = 0
        kept = run.folder / MLFLOW_RUN
        try:
            self._client = MlflowClient(tracking_uri=address)
            if kept.exists():
                self._run = kept.read_text(encoding="utf-8").strip()
                self._client.update_run(self._run, status="RUNNING")
                return
            found = self._client.get_experiment_by_name("sightline")
            experiment = self._client.create_experiment("sightline") if found is None else found.experiment_id
            self._run = self._client.create_run(experiment, run_name=run.folder.name).info.run_id
            self._client.set_tag(self._run, "configuration", _as_text(run.configuration))
        except MlflowException as error:
            raise ConfigurationError(
                f"MLflow at {address} refuses the run ({error}); is it running, and the address right? Delete {kept} "
                "to begin a new run there"
            ) from error
        run.folder.mkdir(parents=True, exist_ok=True)
        kept.write_text(self._run + "\n", encoding="utf-8")

    def report(self, stage: str, epochs_done: int, figures: Figures) -> None:
        self._last = epochs_done
        for figure, value in figures.items():
            self._client.log_metric(self._run, f"{stage}/{figure}", value, step=epochs_done)

    def close(self, metrics: Figures) -> None:
        for figure, value in metrics.items():
            self._client.log_metric(self._run, f"result/{figure}", value, step=self._last)
        self._client.set_terminated(self._run)


TRACKERS: Mapping[str, Callable[[str, TrackedRun], Tracker]] = {
    "tensorboard": TensorBoardTracker,
    "mlflow": MlflowTracker,
}


def _as_text(configuration: Mapping[str, Any]) -> str:
    return "\n".join(f"{key}: {value}" for key, value in configuration.items())
