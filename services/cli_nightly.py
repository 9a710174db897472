"""The command `sightline nightly`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

console = Console()


def nightly(
    config: Annotated[
        Path | None, typer.Option("-c", "--config", help="YAML file; see deploy/cameras.example.yaml")
    ] = None,
    data_dir: Annotated[Path | None, typer.Option("--data-dir", help="Where everything is kept [default: var]")] = None,
    schedule: Annotated[
        str | None, typer.Option(help='Keep running, a night at each of these moments, as "0 2 * * *" in local time')
    ] = None,
    once: Annotated[bool, typer.Option("--once", help="One night now, whatever schedule the settings have")] = False,
    days: Annotated[float | None, typer.Option(help="Learn from so many last days of the archive")] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only say what there is to learn from and the gates")
    ] = False,
    metrics_port: Annotated[int | None, typer.Option("--metrics-port", help="With a schedule; 0 for none")] = None,
) -> None:
    """Learn from the site's own tracklets, and let the result serve if it passes every gate. For cron, or by itself."""
    from pipeline.adapters.clock import SystemClock
    from services.nightly import commands
    from services.nightly.training import site_fine_tune
    from services.settings import load

    overrides: dict[str, Any] = {"nightly": {}}
    if data_dir is not None:
        overrides["data_dir"] = data_dir
    if metrics_port is not None:
        overrides["metrics_port"] = metrics_port
    if schedule is not None:
        overrides["nightly"]["schedule"] = schedule
    if days is not None:
        overrides["nightly"]["days"] = days
    settings = load(config, overrides)
    fine_tune = site_fine_tune(settings, SystemClock())
    if dry_run:
        commands.show_plan(settings, fine_tune, console)
    elif once or settings.nightly.schedule is None:
        raise typer.Exit(commands.run_once(settings, fine_tune, console))
    else:
        commands.keep_running(settings, fine_tune, settings.nightly.schedule)
