"""The commands `sightline models …`: which models there are, which one serves, and the way back."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from services import cli_model_work

if TYPE_CHECKING:
    from reid_models.registry import Model, Registry

app = typer.Typer(help="The models of this site: look at them, let one serve, go back.", no_args_is_help=True)
app.command("import")(cli_model_work.import_)
console = Console()

ConfigOption = Annotated[Path | None, typer.Option("-c", "--config", help="YAML file; see deploy/cameras.example.yaml")]
DataOption = Annotated[Path | None, typer.Option("--data-dir", help="Where everything is kept [default: var]")]
JsonOption = Annotated[bool, typer.Option("--json", help="For machines")]
ReasonOption = Annotated[str, typer.Option(help="For the history")]


@app.command("list")
def list_models(config: ConfigOption = None, data_dir: DataOption = None, as_json: JsonOption = False) -> None:
    """Every model, the serving one marked."""
    models = _registry(config, data_dir).models()
    if as_json:
        sys.stdout.write(json.dumps([_plain(model) for model in models], indent=2) + "\n")
        return
    from services.models import print_models

    print_models(models, console)


@app.command("show")
def show(
    digest: Annotated[str, typer.Argument(help="The beginning of a digest")],
    config: ConfigOption = None,
    data_dir: DataOption = None,
) -> None:
    """What is known of one model."""
    from services.models import print_model

    registry = _registry(config, data_dir)
    print_model(registry.find(digest), registry, console)


@app.command("promote")
def promote(
    model: Annotated[str, typer.Argument(help="The beginning of a digest, or a bundle folder")],
    config: ConfigOption = None,
    data_dir: DataOption = None,
    reason: ReasonOption = "by hand",
) -> None:
    """Let a model serve, whatever the gates said."""
    from pipeline.adapters.clock import SystemClock
    from services import models

    chosen = models.promote(_registry(config, data_dir), model, reason, SystemClock())
    console.print(f"{chosen.manifest.name} {chosen.manifest.digest} serves. {models.RESTART}", soft_wrap=True)


@app.command("rollback")
def rollback(config: ConfigOption = None, data_dir: DataOption = None, reason: ReasonOption = "by hand") -> None:
    """Let the model serve that served before."""
    from pipeline.adapters.clock import SystemClock
    from reid_models.manifest import read_manifest
    from services import models

    manifest = read_manifest(_registry(config, data_dir).rollback(SystemClock().now(), reason))
    console.print(f"{manifest.name} {manifest.digest} serves again. {models.RESTART}", soft_wrap=True)


def _registry(config: Path | None, data_dir: Path | None) -> Registry:
    from services.runtime import open_registry
    from services.settings import load

    return open_registry(load(config, {} if data_dir is None else {"data_dir": data_dir}))


def _plain(model: Model) -> dict[str, object]:
    return {
        "digest": model.manifest.digest,
        "name": model.manifest.name,
        "created": model.manifest.created,
        "folder": str(model.folder),
        "is_serving": model.is_serving,
        "promoted_at": model.promoted_at,
        "metrics": model.manifest.metrics,
    }
