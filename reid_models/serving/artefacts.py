"""What is made of a bundle's image tower for this machine, named by digest, and where it is kept. No torch here."""

from __future__ import annotations

import hashlib
import importlib.metadata
import logging
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from pipeline.errors import ConfigurationError
from pipeline.runtimes.machine import cache_folder
from pipeline.runtimes.runtime import Precision
from reid_models.manifest import INT8_RANGES, Manifest, read_manifest

log = logging.getLogger(__name__)

PIXELS, OUTPUTS = "pixels", ("appearance", "language")  # the exported network's own names


class Ranges(BaseModel):
    """How far each activation of a model reaches, measured on crops: what an int8 network is made with."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    digest: str  # of the model that they were measured for
    crops: int  # on which they were measured
    activations: dict[str, Any]  # as ONNX Runtime's quantiser keeps them


@dataclass(frozen=True, slots=True)
class Artefacts:
    """The files of one bundle. Those in `folder` may be deleted at any time: all but `own_ranges` are made again."""

    bundle: Path
    digest: str
    folder: Path

    @property
    def network(self) -> Path:
        """The image tower in ONNX form: pixels (N, H, W, 3) uint8 → both unit vectors, in float32."""
        return self.folder / f"tower-{importlib.metadata.version('torch')}.onnx"

    @property
    def own_ranges(self) -> Path:
        """Where ranges lie that were measured on this machine."""
        return self.folder / INT8_RANGES

    def ranges(self) -> Ranges | None:
        """Those measured on this machine if somebody did that, else those that the bundle brings along.

        Only with them there is an int8 network. Ranges of another model (the bundle's weights have been replaced), or
        damaged ones, count as none.
        """
        found = (_read_ranges(place) for place in (self.own_ranges, self.bundle / INT8_RANGES))
        return next((ranges for ranges in found if ranges is not None and ranges.digest == self.digest), None)

    def network_in(self, precision: Precision) -> Path:
        """The file for a precision; int8 has one of its own. Raises `ConfigurationError` where it cannot be made."""
        if precision != "int8":
            return self.network
        ranges = self.ranges()
        if ranges is None:
            raise ConfigurationError(
                "int8 is not calibrated for this model; run `sightline models quantise` on tracklets or other crops"
            )
        made_with = f"{importlib.metadata.version('onnxruntime')} {ranges.model_dump_json()}"
        name = hashlib.sha256(made_with.encode()).hexdigest()[:8]
        return self.network.with_name(f"{self.network.stem}-int8-{name}.onnx")


def artefacts_of(bundle: Path, manifest: Manifest | None = None) -> Artefacts:
    """The places of a bundle's files; raises as `read_manifest`."""
    known = manifest or read_manifest(bundle)
    return Artefacts(bundle, known.digest, cache_folder() / "encoders" / known.digest)


def made_whole(path: Path, make: Callable[[Path], object]) -> Path:
    """`path`, made by `make` at another place and moved there: no other process ever sees half of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{os.getpid()}-{path.name}")
    try:
        make(beside)
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)
    return path


def _read_ranges(path: Path) -> Ranges | None:
    try:
        return Ranges.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValidationError):
        log.warning("%s cannot be read; int8 is left out until `sightline models quantise` has made it anew", path)
        return None
