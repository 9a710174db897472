"""`sightline models quantise`: int8 for a model, calibrated on crops of people, admitted only if it holds on others."""

from __future__ import annotations

import contextlib
import math
import zipfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import cv2
import numpy as np
from rich.console import Console

from pipeline.contracts import Image
from pipeline.errors import ConfigurationError
from pipeline.runtimes.trial import Trial
from reid_models.manifest import INT8_RANGES, bundle_folder, read_manifest
from reid_models.serving.artefacts import Artefacts, artefacts_of
from reid_models.serving.opening import export_if_missing
from reid_models.serving.pixels import pixel_block
from reid_models.serving.quantising import LEAST_CROPS, measure_ranges, write_ranges
from reid_models.serving.trial import TrialConfig, run_trial, usual_candidates
from services.encoders import device_of, outcome_in_words, threads_of
from services.runtime import model_source, open_blobs, open_store
from services.settings import Settings

MOST_CROPS = 512
_HELD_OUT = 4  # every so manieth part of the crops, the last ones, judges
_PICTURES = frozenset({".jpg", ".jpeg", ".png"})

Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class Quantisation:
    """What is calibrated, and on what. `crops` is a folder or zip of pictures of people; None: the site's archive."""

    source: str | None = None  # default: the wanted model
    crops: Path | None = None
    within: str = ""  # only pictures whose path holds this
    into_bundle: bool = False  # keep the ranges beside the bundle, for every machine, instead of in the cache


def quantise(settings: Settings, wanted: Quantisation) -> Trial:
    """Measure activation ranges of a model and keep them.

    Three quarters of the crops calibrate, the others judge. Ranges that were not judged right are not kept, whatever
    happens; `ConfigurationError` says where no int8 candidate is right on the others.
    """
    config = _in_int8(settings)
    named = wanted.source or model_source(settings)
    folder = bundle_folder(named)
    if folder is None:
        raise ConfigurationError(f"{named} is no bundle; make it one with `sightline models import {named}`")
    size, files = read_manifest(folder).input, artefacts_of(folder)
    images = _archived(settings) if wanted.crops is None else pictures(wanted.crops, wanted.within)
    if len(images) < 2 * LEAST_CROPS:
        raise ConfigurationError(
            f"{len(images)} crops are too few to calibrate and to judge int8; expected {2 * LEAST_CROPS} or more: "
            "give a folder of crops with --crops, or wait until the archive holds more tracklets"
        )
    block = pixel_block(images, size.height_px, size.width_px)
    held_out = len(block) // _HELD_OUT
    export_if_missing(folder, files)
    before = files.own_ranges.read_bytes() if files.own_ranges.is_file() else None
    ranges = measure_ranges(files, block[:-held_out])
    write_ranges(files.own_ranges, ranges)
    try:
        trial = run_trial(folder, config, lambda _height, _width: block[-held_out:])
        _check_int8(trial, named)
    except BaseException:  # Ctrl-C too
        _restore(files, before)
        raise
    if wanted.into_bundle:
        write_ranges(folder / INT8_RANGES, ranges)
        files.own_ranges.unlink()
    return trial


def pictures(path: Path, within: str = "") -> list[Image]:
    """Up to `MOST_CROPS` pictures of a folder or zip, spread evenly over the sorted names, RGB.

    Files that cannot be read as a picture are left out. Raises `ConfigurationError` for a path that is neither.
    """
    if path.is_dir():
        names = sorted(str(place.relative_to(path)) for place in path.rglob("*") if _is_picture(place.name))
        return _decoded((path / name).read_bytes() for name in _spread([name for name in names if within in name]))
    if not zipfile.is_zipfile(path):
        raise ConfigurationError(f"{path} is neither a folder nor a zip archive; expected pictures of people")
    with zipfile.ZipFile(path) as archive:
        names = sorted(name for name in archive.namelist() if _is_picture(name) and within in name)
        return _decoded(archive.read(name) for name in _spread(names))


def print_quantisation(trial: Trial, console: Console) -> None:
    """What int8 is worth here, on the crops that did not calibrate it."""
    for outcome in trial.outcomes:
        console.print(f"{outcome.candidate!s:18}{outcome_in_words(outcome)}", soft_wrap=True)


def _check_int8(trial: Trial, named: str) -> None:
    tried = [outcome for outcome in trial.outcomes if outcome.precision == "int8"]
    if all(outcome.problem for outcome in tried):
        told = "; ".join(f"{outcome.candidate}: {outcome.problem}" for outcome in tried)
        raise ConfigurationError(f"int8 does not hold for {named} and is not used ({told})")


def _in_int8(settings: Settings) -> TrialConfig:
    chosen = settings.embedding
    device = device_of(chosen)
    candidates = tuple(candidate for candidate in usual_candidates(device) if candidate.precision == "int8")
    if not candidates:
        raise ConfigurationError(f"nothing here serves int8 on {device}; expected a CPU: set embedding.device to cpu")
    return TrialConfig(device, threads_of(chosen), chosen.batch_crops, candidates)


def _archived(settings: Settings) -> list[Image]:
    """The best crops of the archive's tracklets, spread over all of them."""
    with contextlib.closing(open_store(settings)) as store:
        tracklets = store.archived_tracklets(-math.inf, math.inf)
    blobs = open_blobs(settings)
    contents = (blobs.get(tracklet.crops[0].blob_key) for tracklet in _spread(tracklets))
    return _decoded(content for content in contents if content is not None)


def _decoded(contents: Iterable[bytes]) -> list[Image]:
    found = []
    for content in contents:
        pixels = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR_RGB) if content else None
        if pixels is not None:
            found.append(np.asarray(pixels, np.uint8))
    return found


def _spread(items: Sequence[Item]) -> list[Item]:
    """At most `MOST_CROPS` of them, evenly over all."""
    places = np.linspace(0, len(items) - 1, min(len(items), MOST_CROPS)).astype(int)
    return [items[place] for place in places]


def _is_picture(name: str) -> bool:
    return Path(name).suffix.lower() in _PICTURES


def _restore(files: Artefacts, ranges: bytes | None) -> None:
    if ranges is None:
        files.own_ranges.unlink()
    else:
        files.own_ranges.write_bytes(ranges)
