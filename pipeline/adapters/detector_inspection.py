"""What a bare ONNX detector wants and gives: from the notes in its file, and by running it once on a blank picture."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from pipeline.adapters.detector_bundle import DetectorManifest, DetectorTraining
from pipeline.camera.yolo import YOLOX_LAYOUTS, class_count, recognise
from pipeline.errors import ConfigurationError
from pipeline.runtimes.runtime import Runtime

MIN_SCORE = 0.1  # low on purpose: the tracker makes use of uncertain boxes
UNKNOWN_LICENCE = "unknown; see the model's publisher"
_NAMES_OF_PERSONS = ("person", "pedestrian", "people", "human")
_CLASSES_OF_COCO = 80
_USUAL_SIZE_PX = (640, 640)
_NO_DIGEST = "0" * 16


@dataclass(frozen=True, slots=True)
class Hints:
    """What a network does not say itself. `class_names` are those of its file, if it holds any."""

    name: str
    open_size_px: tuple[int, int] = _USUAL_SIZE_PX  # width, height where the network leaves its input size open
    person_class: int | None = None
    class_names: Mapping[int, str] | None = None
    min_score: float = MIN_SCORE
    licence: str = UNKNOWN_LICENCE
    source: str = "unknown"


def hints_of(network: Path) -> Hints:
    """What an ONNX file says in words: Ultralytics writes task, size, classes and licence into it.

    Raises `ConfigurationError` for a file that is no ONNX, or was made for another task.
    """
    told = _told_by_file(network)
    if told.get("task", "detect") != "detect":
        raise ConfigurationError(
            f"{network} was made for the task {told['task']!r}; expected a detector, which gives boxes: use a model "
            "for detection, as yolo11n"
        )
    return Hints(
        name=network.stem,
        open_size_px=_told_size(told),
        class_names=_told_names(told),
        licence=told.get("license", UNKNOWN_LICENCE),
        source=told.get("description", network.name).strip(),
    )


def inspect(network: Runtime, hints: Hints) -> DetectorManifest:
    """The description of a detector, without its digest.

    Raises `ConfigurationError` for a network that is no detector of a known layout, or whose person class is not known.
    """
    shape = network.input_shape
    if len(shape) != 4 or shape[1] != 3:
        raise ConfigurationError(f"{hints.name} takes input {shape}; expected (batch, 3, height, width) images")
    open_width, open_height = hints.open_size_px
    size_px = (shape[3] or open_width, shape[2] or open_height)
    blank = np.zeros((shape[0] or 1, 3, size_px[1], size_px[0]), np.float32)
    try:
        output = network.run(blank)[0]
    except Exception as error:  # every runtime raises classes of its own for inputs that it does not take
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
        raise ConfigurationError(
            f"{hints.name} does not run on a float32 picture of {size_px[0]}x{size_px[1]} pixels ({reason}); expected "
            "a network exported in float32 with an input size that it can take: export it again, or give the size"
        ) from error
    try:
        layout = recognise(output, size_px)
    except ConfigurationError as error:
        raise ConfigurationError(f"{hints.name}: {error}") from error
    is_yolox = layout in YOLOX_LAYOUTS
    classes = max(class_count(output.shape, layout), len(hints.class_names or ()))
    return DetectorManifest(
        digest=_NO_DIGEST,
        name=hints.name,
        created=datetime.now(UTC).date().isoformat(),
        layout=layout,
        input_height_px=size_px[1],
        input_width_px=size_px[0],
        channels="bgr" if is_yolox else "rgb",
        scale=1.0 if is_yolox else 1 / 255,
        placement="corner" if is_yolox else "centre",
        person_class=_person_class(hints, classes),
        classes=classes,
        min_score=hints.min_score,
        training=DetectorTraining(description=f"by others, not by Sightline: {hints.source}", data_digest="unknown"),
        metrics={},
        licence=hints.licence,
    )


def _person_class(hints: Hints, classes: int) -> int:
    if hints.person_class is not None:
        if hints.person_class >= classes:
            raise ConfigurationError(
                f"{hints.name} tells {classes} classes apart, and the person class is given as {hints.person_class}; "
                f"expected 0 to {classes - 1}"
            )
        return hints.person_class
    names = hints.class_names or {}
    by_name = {name.lower(): number for number, name in names.items()}
    found = next((by_name[name] for name in _NAMES_OF_PERSONS if name in by_name), None)
    if found is not None:
        return found
    if not names and classes in (1, _CLASSES_OF_COCO):
        return 0
    known = ", ".join(f"{number} {name}" for number, name in list(names.items())[:20]) or "no names in the file"
    raise ConfigurationError(
        f"{hints.name} tells {classes} classes apart ({known}), and none is called {', '.join(_NAMES_OF_PERSONS)}; "
        "say which one is a person: `sightline import-detector FILE --person-class NUMBER`"
    )


def _told_by_file(network: Path) -> Mapping[str, str]:
    """The notes that an exporter put into an ONNX file: Ultralytics names task, size, classes and licence."""
    import onnx

    try:
        model = onnx.load(str(network), load_external_data=False)
    except Exception as error:  # protobuf raises classes of its own that share no parent
        raise ConfigurationError(f"{network} cannot be read ({error}); expected a detector in ONNX form") from error
    outside = [tensor.name for tensor in model.graph.initializer if tensor.data_location == onnx.TensorProto.EXTERNAL]
    if outside:
        raise ConfigurationError(
            f"{network} keeps {len(outside)} of its weights in another file; expected one file: export it again "
            "without external data"
        )
    return {entry.key: entry.value for entry in model.metadata_props}


def _told_size(told: Mapping[str, str]) -> tuple[int, int]:
    """(width, height) in pixels."""
    size = _literal(told.get("imgsz"))
    return (int(size[1]), int(size[0])) if isinstance(size, list) and len(size) == 2 else _USUAL_SIZE_PX


def _told_names(told: Mapping[str, str]) -> dict[int, str] | None:
    """Names that are mere numbers say nothing."""
    names = _literal(told.get("names"))
    if not isinstance(names, dict) or all(str(name).isdigit() for name in names.values()):
        return None
    return {int(number): str(name) for number, name in names.items()}


def _literal(text: str | None) -> object:
    """A value as Python writes it, without executing anything; None for any other text."""
    try:
        return None if text is None else ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return None
