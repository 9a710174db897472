"""What is made of a bundle's image tower for this machine, named by digest, and where it is kept. No torch here."""

from __future__ import annotations

import hashlib
import importlib.metadata
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from pipeline.errors import ConfigurationError
from pipeline.runtimes.machine import cache_folder
from pipeline.runtimes.runtime import Precision
from reid_models.manifest import INT8_RANGES, Manifest, read_manifest

PIXELS, OUTPUTS = "pixels", ("appearance", "language")  # the exported network's own names


@dataclass(frozen=True, slots=True)
class Artefacts:
    """The files of one bundle. Those in `folder` may be deleted at any time; `export` and `quantise` make them again.

    `ranges` says how far each activation reaches, measured on tracklets; only with it there is an int8 network.
    """

    bundle: Path
    folder: Path

    @property
    def network(self) -> Path:
        """The image tower in ONNX form: pixels (N, H, W, 3) uint8 → both unit vectors, in float32."""
        return self.folder / f"tower-{importlib.metadata.version('torch')}.onnx"

    @property
    def ranges(self) -> Path | None:
        """Measured on this site's own tracklets if somebody did that, else those that the bundle brings along."""
        places = (self.own_ranges, self.bundle / INT8_RANGES)
        return next((place for place in places if place.is_file()), None)

    @property
    def own_ranges(self) -> Path:
        return self.folder / INT8_RANGES

    def network_in(self, precision: Precision) -> Path:
        """The file for a precision; int8 has one of its own. Raises `ConfigurationError` where it cannot be made."""
        if precision != "int8":
            return self.network
        if self.ranges is None:
            raise ConfigurationError(
                "int8 is not calibrated for this model; run `sightline models quantise` on tracklets or other crops"
            )
        name = hashlib.sha256(self.ranges.read_bytes()).hexdigest()[:8]
        return self.network.with_name(f"{self.network.stem}-int8-{name}.onnx")


def artefacts_of(bundle: Path, manifest: Manifest | None = None) -> Artefacts:
    """The places of a bundle's files; raises as `read_manifest`."""
    known = manifest or read_manifest(bundle)
    return Artefacts(bundle, cache_folder() / "encoders" / known.digest)


def made_whole(path: Path, make: Callable[[Path], None]) -> Path:
    """`path`, made by `make` at another place and moved there: no other process ever sees half of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{os.getpid()}-{path.name}")
    try:
        make(beside)
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)
    return path
