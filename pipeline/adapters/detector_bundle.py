"""A detector on disk: a folder with `model.onnx` and `manifest.json`, which says how to feed and to read the network.

`model-int8.onnx` beside them is the same network in int8, which a machine may run instead if it finds the same boxes.
The digest names the network's file together with all entries that decide about its boxes. The file is ONNX and never
pickle; `sightline import-detector` makes such a folder, and `person-nano` is one.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from pipeline.camera.yolo import InputFormat, Layout
from pipeline.errors import ConfigurationError, ModelVersionMismatch

MODEL = "model.onnx"
INT8_MODEL = "model-int8.onnx"
MANIFEST = "manifest.json"

Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{16}$")]
Size = Annotated[int, Field(ge=32, le=8192)]
Score = Annotated[float, Field(gt=0.0, lt=1.0)]


class DetectorTraining(BaseModel):
    """Where the weights come from. `data_digest` is over names and lengths of the scenes, `unknown` for others'."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    description: str
    data_digest: str


class DetectorManifest(BaseModel):
    """Everything about a detector except its network."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    format: Annotated[int, Field(ge=1, le=1)] = 1
    digest: Digest
    int8_digest: Digest | None = None  # of the file `model-int8.onnx`; None: there is none
    name: str
    created: str  # ISO date
    layout: Layout  # how the output is read
    input_height_px: Size
    input_width_px: Size
    channels: Literal["rgb", "bgr"]  # order of the planes
    scale: Annotated[float, Field(gt=0.0, le=1.0)]  # that pixels from 0 to 255 are multiplied by
    placement: Literal["centre", "corner"]  # where the picture lies when its shape is another; the rest is grey
    person_class: Annotated[int, Field(ge=0)]
    classes: Annotated[int, Field(ge=1)]
    min_score: Score  # boxes below it are left out; low on purpose: the tracker makes use of uncertain boxes
    training: DetectorTraining
    metrics: dict[str, Annotated[float, Field(allow_inf_nan=False)]]
    licence: str

    @property
    def input(self) -> InputFormat:
        return InputFormat(self.input_width_px, self.input_height_px, self.channels, self.scale, self.placement)


def detector_digest(network: bytes, manifest: DetectorManifest) -> str:
    """16 hexadecimal digits of SHA-256 over the ONNX file and what decides how it is fed and read."""
    deciding = {"layout", "input_height_px", "input_width_px", "channels", "scale", "placement", "person_class"}
    digest = hashlib.sha256(network)
    digest.update(manifest.model_dump_json(include=deciding).encode())
    return digest.hexdigest()[:16]


def save_detector(folder: Path, network: bytes, manifest: DetectorManifest) -> DetectorManifest:
    """Write both files, the manifest last: it makes the folder a bundle. Returns it with its digest filled in."""
    complete = manifest.model_copy(update={"digest": detector_digest(network, manifest), "int8_digest": None})
    folder.mkdir(parents=True, exist_ok=True)
    (folder / INT8_MODEL).unlink(missing_ok=True)  # of another network
    (folder / MODEL).write_bytes(network)
    _write_manifest(folder, complete)
    return complete


def add_int8(folder: Path, network: bytes) -> DetectorManifest:
    """Put the int8 network beside the other. Returns the manifest that names it."""
    complete = read_detector_manifest(folder).model_copy(update={"int8_digest": _digest(network)})
    (folder / INT8_MODEL).write_bytes(network)
    _write_manifest(folder, complete)
    return complete


def read_detector_manifest(folder: Path) -> DetectorManifest:
    """Raises `ConfigurationError` if the folder is no detector or its manifest has unknown or wrong entries."""
    path = folder / MANIFEST
    try:
        return DetectorManifest.model_validate_json(path.read_bytes())
    except FileNotFoundError as error:
        raise ConfigurationError(
            f"{folder} has no {MANIFEST}; expected a detector, a folder with {MANIFEST} and {MODEL}: make one with "
            "`sightline import-detector FILE`"
        ) from error
    except ValidationError as error:
        problem = error.errors(include_input=False, include_url=False)[0]
        place = ".".join(str(part) for part in problem["loc"]) or "the whole"
        raise ConfigurationError(
            f"{path}: {place}: {problem['msg']}; the detector was damaged or made by another release"
        ) from error


def verified_detector(folder: Path) -> DetectorManifest:
    """The manifest of a detector whose two files belong together. Raises as above, or `ModelVersionMismatch`."""
    manifest = read_detector_manifest(folder)
    found = [(MODEL, detector_digest(_read(folder, MODEL), manifest), manifest.digest)]
    if manifest.int8_digest is not None:
        found.append((INT8_MODEL, _digest(_read(folder, INT8_MODEL)), manifest.int8_digest))
    for name, digest, expected in found:
        if digest != expected:
            raise ModelVersionMismatch(
                f"{folder}: {name} and its description have digest {digest}, but {MANIFEST} says {expected}; "
                "one of the two files was changed: copy the whole folder again, or import the network again"
            )
    return manifest


def _read(folder: Path, name: str) -> bytes:
    try:
        return (folder / name).read_bytes()
    except FileNotFoundError as error:
        raise ConfigurationError(f"{folder} has no {name}; copy the whole folder again") from error


def _digest(network: bytes) -> str:
    return hashlib.sha256(network).hexdigest()[:16]


def _write_manifest(folder: Path, manifest: DetectorManifest) -> None:
    (folder / MANIFEST).write_text(manifest.model_dump_json(indent=1) + "\n", encoding="utf-8")
