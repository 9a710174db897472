"""`sightline models bench`: every runtime and precision of a model as a table, a plot and JSON."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image, ImageDraw, ImageFont
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from pipeline.errors import ConfigurationError
from services.encoders import trial_config
from services.probe_crops import probe_crops
from services.runtime import model_source, open_registry
from services.settings import Settings

if TYPE_CHECKING:
    from reid_models.manifest import Manifest
    from reid_models.serving.benching import Figures

_STYLE: dict[str, Any] = {"title_justify": "left", "box": None, "header_style": "bold"}
_WIDTH_PX, _ROW_PX, _MARGIN_PX = 1000, 44, 24
_LABEL_PX, _NOTE_PX = 190, 330  # columns left and right of the bars
_INK, _FAINT, _GOOD, _BAD = (30, 34, 42), (120, 126, 138), (46, 125, 110), (200, 204, 212)


@dataclass(frozen=True, slots=True)
class ModelBench:
    """What is measured. `model` is the beginning of a digest, a bundle's folder or name; None: the wanted model."""

    model: str | None = None
    data: Path | None = None  # in the Market-1501 layout
    captions: Path | None = None
    duration_s: float = 3.0


def bench_model(
    settings: Settings, wanted: ModelBench, heard: Callable[[Figures], None]
) -> tuple[Manifest, list[Figures]]:
    """Measure every candidate that the settings permit; `heard` is told of each as soon as it is done.

    Raises `ConfigurationError` for a model that is no bundle.
    """
    from reid_models.manifest import read_manifest
    from reid_models.serving.benching import BenchConfig, run_bench

    bundle = _bundle(settings, wanted.model)
    permitted = trial_config(settings, is_thorough=True)
    config = BenchConfig(
        device=permitted.device,
        threads=permitted.threads,
        full_batch=permitted.full_batch,
        candidates=permitted.candidates,
        duration_s=wanted.duration_s,
        data=wanted.data,
        captions=wanted.captions,
    )
    found = []
    for figures in run_bench(bundle, config, probe_crops):
        heard(figures)
        found.append(figures)
    return read_manifest(bundle), found


def print_bench(manifest: Manifest, found: Sequence[Figures], console: Console) -> None:
    """Speeds, then accuracy where it was measured, then why some may not serve."""
    size = manifest.input
    speeds = Table(title=f"{manifest.name}, {size.height_px} x {size.width_px} px", **_STYLE)
    speeds.add_column("", no_wrap=True)
    for column in ("crops/s", "x torch", "one, ms\np50 / p95", "batch, ms\np50 / p95", "cosine"):
        speeds.add_column(column, justify="right", no_wrap=True)
    slow = found[0].crops_per_s
    for one in found:
        speeds.add_row(
            str(one.candidate),
            _told(one.crops_per_s, "{:.0f}"),
            _told(one.crops_per_s / slow if one.crops_per_s and slow else None, "{:.2f}"),
            *(f"{1e3 * part.median_s:.0f} / {1e3 * part.p95_s:.0f}" if part else "" for part in (one.single, one.full)),
            _told(one.similarity, "{:.5f}"),
            style="dim" if one.problem else "",
        )
    console.print(speeds)
    if any(one.image_rank_1 is not None for one in found):
        accuracy = Table("", "mAP", "rank-1", "caption to person, rank-1", **_STYLE)
        for one in found:
            shares = (one.image_mean_average_precision, one.image_rank_1, one.caption_person_rank_1)
            accuracy.add_row(str(one.candidate), *(_told(share, "{:.4f}") for share in shares))
        console.print(accuracy)
    for one in found:
        if one.problem:
            console.print(f"{one.candidate} may not serve: {escape(one.problem)}", soft_wrap=True)


def write_json(path: Path, manifest: Manifest, found: Sequence[Figures]) -> None:
    """The plain figures."""
    content = {"model": manifest.name, "digest": manifest.digest, "candidates": [one.model_dump() for one in found]}
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def plot_bench(path: Path, manifest: Manifest, found: Sequence[Figures]) -> None:
    """Bars of crops per second, the fastest first, as PNG; pale ones may not serve."""
    rows = sorted((one for one in found if one.crops_per_s), key=lambda one: -(one.crops_per_s or 0))
    if not rows:
        raise ConfigurationError("no runtime could be measured, so there is nothing to plot; the table tells why")
    size = (_WIDTH_PX, 2 * _MARGIN_PX + _ROW_PX * (len(rows) + 1))
    picture = Image.new("RGB", size, "white")
    draw = ImageDraw.Draw(picture)
    large, small = ImageFont.load_default(18), ImageFont.load_default(14)
    draw.text((_MARGIN_PX, _MARGIN_PX), f"{manifest.name}: crops per second", _INK, large)
    longest_px = _WIDTH_PX - 2 * _MARGIN_PX - _LABEL_PX - _NOTE_PX
    most = rows[0].crops_per_s or 1.0
    for number, one in enumerate(rows, 1):
        top = _MARGIN_PX + number * _ROW_PX
        speed = one.crops_per_s or 0.0
        left, right = _MARGIN_PX + _LABEL_PX, _MARGIN_PX + _LABEL_PX + longest_px * speed / most
        draw.text((_MARGIN_PX, top + 8), str(one.candidate), _INK, small)
        draw.rectangle((left, top + 4, right, top + _ROW_PX - 12), _BAD if one.problem else _GOOD)
        draw.text((right + 10, top + 8), f"{speed:.0f}   {_note(one)}", _INK if not one.problem else _FAINT, small)
    picture.save(path, "PNG")


def _note(one: Figures) -> str:
    parts = [f"{1e3 * one.single.median_s:.1f} ms for one"] if one.single else []
    parts += [] if one.similarity is None else [f"cosine {one.similarity:.4f}"]
    parts += [] if one.image_mean_average_precision is None else [f"mAP {one.image_mean_average_precision:.3f}"]
    return ", ".join([*parts, *(["refused"] if one.problem else [])])


def _told(figure: float | None, form: str) -> str:
    return "" if figure is None else form.format(figure)


def _bundle(settings: Settings, model: str | None) -> Path:
    """The bundle's folder. Raises `ConfigurationError` for a model that is none."""
    from reid_models.manifest import bundle_folder

    named = model_source(settings) if model is None else model
    folder = bundle_folder(named)
    if folder is not None:
        return folder
    if model is not None and set(model) <= set("0123456789abcdef"):
        return open_registry(settings).find(model).folder
    raise ConfigurationError(
        f"{named} is no bundle; expected the beginning of a digest, a folder or 'sightline-small': make one with "
        f"`sightline models import {named}`"
    )
