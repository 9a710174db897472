"""Which model is wanted, which one serves and what lies between: what `sightline models …` does."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from pipeline.errors import SightlineError
from pipeline.interfaces import Clock
from pipeline.kept import Coverage
from reid_models.manifest import read_manifest
from reid_models.registry import Model, Registry
from services.settings import Settings
from services.site_models import SiteModels

SHOWN_METRICS = 8


@dataclass(frozen=True, slots=True)
class ModelsInUse:
    """What is wanted, what serves, and how much of the archive the wanted model has embedded."""

    wanted: str | None  # None: no bundle, so its digest is known only once it is loaded
    serving: str | None  # None: nothing has served yet
    coverage: Coverage | None = None  # of the wanted model; None where there is no database

    @property
    def is_changing(self) -> bool:
        return self.serving is not None and self.wanted not in (None, self.serving)


def models_in_use(settings: Settings) -> ModelsInUse:
    """Ask settings, registry and database, and change nothing; a database that is not there yet is none."""
    from pipeline.adapters.store import SqlStore

    wanted, address = SiteModels(settings).wanted(), settings.database
    file = address.removeprefix("sqlite:///")
    if file != address and not Path(file).exists():
        return ModelsInUse(wanted, None)
    try:
        store = SqlStore(address)
    except SightlineError:  # away, or of another release until services start: what is wanted can be told all the same
        return ModelsInUse(wanted, None)
    try:
        switches = store.model_switches(1)
        serving = switches[0].model_digest if switches else None
        return ModelsInUse(wanted, serving, store.coverage(wanted) if wanted else None)
    finally:
        store.close()


def digest_of(registry: Registry, chosen: str) -> str:
    """Of a model of the registry by the beginning of its digest, or of a bundle folder. Raises `ConfigurationError`."""
    folder = Path(chosen)
    return read_manifest(folder).digest if folder.is_dir() else registry.find(chosen).manifest.digest


def promote(registry: Registry, chosen: str, reason: str, clock: Clock) -> Model:
    """Ask for a model to serve: one of the registry by the beginning of its digest, or a bundle folder, to be copied.

    Raises `ConfigurationError` before anything changes if it is damaged.
    """
    from reid_models.bundle import load_bundle  # loads torch, which telling of models does not need

    folder = Path(chosen)
    if folder.is_dir():
        digest = load_bundle(folder).manifest.digest
        registry.add(folder)
    else:
        model = registry.find(chosen)
        digest = load_bundle(model.folder).manifest.digest
    registry.promote(digest, clock.now(), reason)
    return registry.find(digest)


def what_follows(digest: str, use: ModelsInUse) -> str:
    """What happens after a promotion or rollback to `digest`, in a sentence or two."""
    if use.wanted != digest:
        return (
            "No service follows it, because embedding.model names another model; set it to `serving` for the registry "
            "to count."
        )
    if use.serving is None:
        return "It serves when Sightline is started."
    if use.serving == digest:
        return "It serves already."
    todo = 0 if use.coverage is None else use.coverage.expected - use.coverage.covered
    if todo == 0:
        return "The archive has its vectors: it takes over within seconds where Sightline runs."
    return (
        f"{todo:,} archived tracklets are embedded again first, while Sightline runs; until then {use.serving} serves. "
        "`sightline models list` shows how far that is."
    )


def print_models(models: Sequence[Model], use: ModelsInUse, console: Console) -> None:
    table = Table("", "digest", "name", "made", "last promoted", box=None, header_style="bold")
    for model in models:
        manifest = model.manifest
        mark = ", ".join(marks(manifest.digest, use))
        table.add_row(
            f"[green]{mark}[/]" if mark else "",
            manifest.digest,
            escape(manifest.name),
            manifest.created,
            _told(model.promoted_at),
        )
    console.print(table)
    for line in remarks(models, use):
        console.print(line, soft_wrap=True, highlight=False)


def print_model(model: Model, registry: Registry, use: ModelsInUse, console: Console) -> None:
    """What is known of one model, and every change that concerned it."""
    manifest, size = model.manifest, model.manifest.input
    rows = {
        "digest": manifest.digest,
        "name": manifest.name,
        "state": ", ".join(marks(manifest.digest, use)) or "neither wanted nor serving",
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
    for name, figure in list(manifest.metrics.items())[:SHOWN_METRICS]:
        table.add_row(escape(name), f"{figure:.4f}")
    for change in registry.changes():
        if change.digest == manifest.digest:
            table.add_row(f"[bold]{change.kind.value}[/]", escape(f"{_told(change.changed_at)}: {change.reason}"))
    console.print(table)


def progress(coverage: Coverage) -> str:
    """`re-embedding 43 %, 1,234 of 2,870`."""
    # Rounded down, so that 100 % means all.
    told = f"re-embedding {int(100 * coverage.share)} %, {coverage.covered:,} of {coverage.expected:,}"
    return told + (f"; {coverage.failed:,} cannot be embedded" if coverage.failed else "")


def marks(digest: str, use: ModelsInUse) -> Iterator[str]:
    """`serving` and `wanted`, as far as they hold."""
    if digest == (use.serving or use.wanted):
        yield "serving"
    if digest == use.wanted and use.is_changing:
        yield "wanted"


def remarks(models: Sequence[Model], use: ModelsInUse) -> Iterator[str]:
    """What a list of the models does not show by itself, in sentences."""
    known = {model.manifest.digest for model in models}
    if use.wanted is None or use.wanted not in known:
        yield f"embedding.model names a model outside of the registry{f', {use.wanted}' if use.wanted else ''}."
    if use.serving is not None and use.serving not in known:
        yield f"{use.serving} serves, but its bundle is not here any more."
    if use.is_changing and use.coverage is not None:
        yield f"{use.wanted} takes over from {use.serving} when the archive is ready: {progress(use.coverage)}."


def _told(moment_at: float | None) -> str:
    return "" if moment_at is None else datetime.fromtimestamp(moment_at, UTC).strftime("%Y-%m-%d %H:%M UTC")
