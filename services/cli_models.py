"""The commands `sightline models …`: which models there are, which one shall serve, and the way back."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from services import cli_model_work
from services.cli_options import ConfigOption, DataDirOption, settings_of

if TYPE_CHECKING:
    from reid_models.registry import Model, Registry
    from services.models import ModelsInUse
    from services.settings import Settings

app = typer.Typer(help="The models of this site: look at them, let one serve, go back.", no_args_is_help=True)
app.command("import")(cli_model_work.import_)
app.command("bench")(cli_model_work.bench)
app.command("quantise")(cli_model_work.quantise)
console = Console()

JsonOption = Annotated[bool, typer.Option("--json", help="For machines")]
ReasonOption = Annotated[str, typer.Option(help="For the history")]


@app.command("list")
def list_models(config: ConfigOption = None, data_dir: DataDirOption = None, as_json: JsonOption = False) -> None:
    """Every model; which one serves, which one is wanted, and how far the change is."""
    from services.models import models_in_use, print_models

    settings = settings_of(config, data_dir)
    models, use = _registry(settings).models(), models_in_use(settings)
    if as_json:
        sys.stdout.write(json.dumps([_plain(model, use) for model in models], indent=2) + "\n")
        return
    print_models(models, use, console)


@app.command("show")
def show(
    digest: Annotated[str, typer.Argument(help="The beginning of a digest")],
    config: ConfigOption = None,
    data_dir: DataDirOption = None,
) -> None:
    """What is known of one model."""
    from services.models import models_in_use, print_model

    settings = settings_of(config, data_dir)
    registry = _registry(settings)
    print_model(registry.find(digest), registry, models_in_use(settings), console)


@app.command("promote")
def promote(
    model: Annotated[str, typer.Argument(help="The beginning of a digest, or a bundle folder")],
    config: ConfigOption = None,
    data_dir: DataDirOption = None,
    reason: ReasonOption = "by hand",
) -> None:
    """Ask for a model to serve, whatever the gates said. A running site changes over by itself."""
    from pipeline.adapters.clock import SystemClock
    from pipeline.audit import AuditAction
    from services import models
    from services.audited import promotion, record_at_terminal

    settings = settings_of(config, data_dir)
    registry = _registry(settings)
    digest = models.digest_of(registry, model)
    record_at_terminal(settings, AuditAction.OPERATION, promotion(digest), {"reason": reason})
    manifest = models.promote(registry, model, reason, SystemClock()).manifest
    follows = models.what_follows(manifest.digest, models.models_in_use(settings))
    console.print(f"{manifest.name} {manifest.digest} is wanted. {follows}", soft_wrap=True)


@app.command("rollback")
def rollback(config: ConfigOption = None, data_dir: DataDirOption = None, reason: ReasonOption = "by hand") -> None:
    """Ask for the model that was wanted before."""
    from pipeline.adapters.clock import SystemClock
    from pipeline.audit import AuditAction
    from reid_models.manifest import read_manifest
    from services import models
    from services.audited import MODEL_BEFORE_WANTED, record_at_terminal

    settings = settings_of(config, data_dir)
    record_at_terminal(settings, AuditAction.OPERATION, MODEL_BEFORE_WANTED, {"reason": reason})
    manifest = read_manifest(_registry(settings).rollback(SystemClock().now(), reason))
    follows = models.what_follows(manifest.digest, models.models_in_use(settings))
    console.print(f"{manifest.name} {manifest.digest} is wanted again. {follows}", soft_wrap=True)


def _registry(settings: Settings) -> Registry:
    from services.runtime import open_registry

    return open_registry(settings)


def _plain(model: Model, use: ModelsInUse) -> dict[str, object]:
    is_wanted = model.manifest.digest == use.wanted
    return {
        "digest": model.manifest.digest,
        "name": model.manifest.name,
        "created": model.manifest.created,
        "folder": str(model.folder),
        "is_serving": model.manifest.digest == (use.serving or use.wanted),
        "is_wanted": is_wanted,
        "coverage": asdict(use.coverage) if is_wanted and use.coverage else None,
        "promoted_at": model.promoted_at,
        "metrics": model.manifest.metrics,
    }
