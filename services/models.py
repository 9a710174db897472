"""Which model serves, changed by hand: what `sightline models …` does."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from pipeline.interfaces import Clock
from reid_models.bundle import load_bundle
from reid_models.registry import Model, Registry

RESTART = "Services that run keep their model; restart them together (embed, match and api, or `up`) to change it."
_SHOWN_METRICS = 8


def promote(registry: Registry, chosen: str, reason: str, clock: Clock) -> Model:
    """Let a model serve: one of the registry by the beginning of its digest, or a bundle folder, which is copied.

    Raises `ConfigurationError` before anything changes if it is damaged.
    """
    folder = Path(chosen)
    if folder.is_dir():
        digest = load_bundle(folder).manifest.digest
        registry.add(folder)
    else:
        model = registry.find(chosen)
        digest = load_bundle(model.folder).manifest.digest
    registry.promote(digest, clock.now(), reason)
    return registry.find(digest)


def print_models(models: Sequence[Model], console: Console) -> None:
    table = Table("", "digest", "name", "made", "last promoted", box=None, header_style="bold")
    for model in models:
        manifest = model.manifest
        mark = "[green]serving[/]" if model.is_serving else ""
        table.add_row(mark, manifest.digest, escape(manifest.name), manifest.created, _told(model.promoted_at))
    console.print(table)


def print_model(model: Model, registry: Registry, console: Console) -> None:
    """What is known of one model, and every change that concerned it."""
    manifest, size = model.manifest, model.manifest.input
    rows = {
        "digest": manifest.digest,
        "name": manifest.name,
        "serves": "yes" if model.is_serving else "no",
        "folder": str(model.folder),
        "input": f"{size.height_px} x {size.width_px} px",
        "vectors": f"appearance {manifest.appearance_width}, language {manifest.language_width}",
        "trained on": manifest.training.description,
        "calibrated on": manifest.calibration.measured_on if manifest.calibration else "nothing",
        "licence": manifest.licence,
    }
    table = Table(box=None, show_header=False)
    for name, value in rows.items():
        table.add_row(f"[bold]{name}[/]", escape(value))
    for name, figure in list(manifest.metrics.items())[:_SHOWN_METRICS]:
        table.add_row(escape(name), f"{figure:.4f}")
    for change in registry.changes():
        if change.digest == manifest.digest:
            table.add_row(f"[bold]{change.kind.value}[/]", escape(f"{_told(change.changed_at)}: {change.reason}"))
    console.print(table)


def _told(moment_at: float | None) -> str:
    return "" if moment_at is None else datetime.fromtimestamp(moment_at, UTC).strftime("%Y-%m-%d %H:%M UTC")
