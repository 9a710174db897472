"""A detector that others trained, as ONNX or as a YOLO checkpoint, becomes a folder of ours: inspected, and tried."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from pipeline.adapters.detector_bundle import DetectorManifest, save_detector
from pipeline.adapters.detector_inspection import MIN_SCORE, hints_of, inspect
from pipeline.adapters.onnx_detector import OnnxDetector, OnnxDetectorConfig
from pipeline.contracts import NAME_PATTERN, CameraId, Detections, Frame, Image
from pipeline.errors import ConfigurationError
from pipeline.runtimes.networks import open_network
from pipeline.runtimes.runtime import RuntimeOptions

_CHECKPOINT = ".pt"


@dataclass(frozen=True, slots=True)
class DetectorImport:
    """What is imported, and what its file may not say."""

    file: Path  # .onnx, or .pt where Ultralytics is installed
    name: str | None = None  # default: the file's
    size_px: tuple[int, int] | None = None  # height, width, where the file leaves it open
    person_class: int | None = None
    min_score: float = MIN_SCORE
    licence: str | None = None


@dataclass(frozen=True, slots=True)
class ImportedDetector:
    """A detector that works: it found `persons` in the picture that it was tried on."""

    folder: Path
    manifest: DetectorManifest
    persons: Detections


def import_detector(
    wanted: DetectorImport, detectors: Path, picture: Image, record: Callable[[], None] = lambda: None
) -> ImportedDetector:
    """Write the detector's folder below `detectors`; one of the same name is replaced.

    `record` is called once the detector has been tried, before anything is written. Raises `ConfigurationError` before
    that for a file that is no detector of a known kind.
    """
    if not wanted.file.is_file():
        raise ConfigurationError(f"there is no file {wanted.file}; expected a detector as .onnx or .pt: check the path")
    name = wanted.name or wanted.file.stem
    if not re.fullmatch(NAME_PATTERN, name):
        raise ConfigurationError(
            f"the detector would be called {name!r}; expected letters, digits, '_', '.' and '-': give it a --name"
        )
    with tempfile.TemporaryDirectory(prefix="sightline-import-") as scratch:
        network = wanted.file
        if wanted.file.suffix == _CHECKPOINT:
            from pipeline.adapters.ultralytics_models import export_onnx

            network = export_onnx(wanted.file, Path(scratch), wanted.size_px)
        elif wanted.file.suffix != ".onnx":
            raise ConfigurationError(
                f"{wanted.file} ends in {wanted.file.suffix or 'nothing'}; expected an ONNX file, or a checkpoint of "
                "Ultralytics (.pt): export the model as ONNX"
            )
        made = Path(scratch) / "detector"
        manifest = save_detector(made, network.read_bytes(), _described(wanted, network))
        detector = OnnxDetector(made, OnnxDetectorConfig("onnxruntime"))
        (persons,) = detector.detect([Frame(CameraId("picture"), picture, 0.0, 0)])
        folder = detectors / manifest.name
        record()
        _replace(folder, made)
    return ImportedDetector(folder, manifest, persons)


def _replace(folder: Path, made: Path) -> None:
    """Put a copy of `made` in the place of `folder`, which may not exist; a worker that opens it finds one or other."""
    beside = folder.with_name(f".{folder.name}-{os.getpid()}")
    former = beside.with_name(f"{beside.name}-former")
    shutil.copytree(made, beside)
    if folder.exists():
        folder.rename(former)
    beside.rename(folder)
    if former.exists():
        shutil.rmtree(former)


def _described(wanted: DetectorImport, network: Path) -> DetectorManifest:
    hints = replace(hints_of(network), name=wanted.name or wanted.file.stem, min_score=wanted.min_score)
    if wanted.licence is not None:
        hints = replace(hints, licence=wanted.licence)
    if wanted.person_class is not None:
        hints = replace(hints, person_class=wanted.person_class)
    opened = open_network("onnxruntime", network, RuntimeOptions())
    if wanted.size_px is not None:
        height, width = wanted.size_px
        fixed = opened.input_shape[2:]
        if None not in fixed and fixed != wanted.size_px:
            raise ConfigurationError(
                f"{wanted.file} takes pictures of {fixed[0]}x{fixed[1]} pixels alone (height x width), and "
                f"{height}x{width} is asked for; leave the size out, or export the model at that size"
            )
        hints = replace(hints, open_size_px=(width, height))
    return inspect(opened, hints)
