"""The command `sightline`. Every command reads settings, calls one function, and prints."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from pipeline.errors import ConfigurationError, SightlineError
from services import (
    cli_accounts,
    cli_alerts,
    cli_audit,
    cli_backup,
    cli_correct,
    cli_detectors,
    cli_evaluate,
    cli_forget,
    cli_models,
    cli_nightly,
    cli_train,
)
from services.cli_evaluate import JsonOption
from services.cli_options import ConfigOption, DataDirOption
from services.settings import Settings, load, shown

app = typer.Typer(
    name="sightline",
    help="Follow people across cameras, and ask for them in words.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)
dead = typer.Typer(help="Messages that were set aside: look at them, send them again.", no_args_is_help=True)
app.add_typer(cli_accounts.app, name="accounts")
app.add_typer(cli_alerts.app, name="alerts")
app.add_typer(cli_audit.app, name="audit")
app.add_typer(cli_correct.app, name="correct")
app.add_typer(cli_evaluate.app, name="evaluate")
app.add_typer(cli_models.app, name="models")
app.add_typer(dead, name="dead")
app.command("backup")(cli_backup.backup)
app.command("erase")(cli_forget.erase)
app.command("explain")(cli_correct.explain)
app.command("import-detector")(cli_detectors.import_detector)
app.command("nightly")(cli_nightly.nightly)
app.command("receipts")(cli_forget.receipts)
app.command("reseal")(cli_forget.reseal)
app.command("restore")(cli_backup.restore)
app.command("retain")(cli_forget.retain)
app.command("train", epilog=cli_train.KEYS)(cli_train.train)

console = Console()

CameraOption = Annotated[list[str] | None, typer.Option("--camera", metavar="ID=ADDRESS", help="May be repeated")]
PortOption = Annotated[int | None, typer.Option("--metrics-port", help="Prometheus metrics; 0 for none")]


def main() -> None:
    """Run the command; errors become one message on standard error and an exit code: 2 configuration, 1 the rest."""
    try:
        app()
    except SightlineError as error:
        Console(stderr=True).print(f"[bold red]sightline:[/] {_escaped(str(error))}", soft_wrap=True)
        sys.exit(2 if isinstance(error, ConfigurationError) else 1)


# --- running ----------------------------------------------------------------------------------------------------------


@app.command()
def up(
    config: ConfigOption = None,
    camera: CameraOption = None,
    data_dir: DataDirOption = None,
    port: Annotated[int | None, typer.Option(help="Port of the page; 0 for any free one")] = None,
    detector: Annotated[str | None, typer.Option(help="auto, motion, person-nano, or a model file or folder")] = None,
) -> None:
    """Start the whole system on this machine. Ctrl-C stops it in order."""
    from services.console import watch

    settings = _settings(config, camera, data_dir, port=port, detector=detector)
    raise typer.Exit(watch(settings, console))


@app.command()
def demo(
    duration: Annotated[
        float | None, typer.Option(help="End after so many seconds [default: 60 without a terminal]")
    ] = None,
    json_file: JsonOption = None,
    cameras: Annotated[int, typer.Option(min=2, max=8)] = 3,
    people: Annotated[int, typer.Option(min=2, max=200)] = 10,
    seed: int = 7,
    port: Annotated[int, typer.Option(help="Port of the page; 0 for any free one")] = 0,
    data_dir: Annotated[Path, typer.Option("--data-dir", help="Emptied at the start")] = Path("var/demo"),
) -> None:
    """Run the real system on simulated cameras, ask three questions, and compare with the truth."""
    from services.demo import DemoPlan, run_demo

    plan = DemoPlan(cameras=cameras, people=people, seed=seed, port=port, data_dir=data_dir, duration_s=duration)
    raise typer.Exit(run_demo(plan, console, json_file))


@app.command()
def camera(
    config: ConfigOption = None,
    camera: CameraOption = None,
    only: Annotated[list[str] | None, typer.Option(help="Host only these cameras of the file")] = None,
    data_dir: DataDirOption = None,
    metrics_port: PortOption = None,
) -> None:
    """Detect and follow people on one or many cameras."""
    from services.camera import run

    run(_settings(config, camera, data_dir, metrics_port=metrics_port), only)


@app.command()
def embed(config: ConfigOption = None, data_dir: DataDirOption = None, metrics_port: PortOption = None) -> None:
    """Turn crops into embeddings."""
    from services.embedder import run

    run(_settings(config, None, data_dir, metrics_port=metrics_port))


@app.command()
def reembed(config: ConfigOption = None, data_dir: DataDirOption = None, metrics_port: PortOption = None) -> None:
    """Make up missing vectors of archived people, in the background: after a change of models, and after a gap."""
    from services.reembedding import run

    run(_settings(config, None, data_dir, metrics_port=metrics_port))


@app.command()
def match(config: ConfigOption = None, data_dir: DataDirOption = None, metrics_port: PortOption = None) -> None:
    """Give every tracklet its global identity."""
    from services.matcher import run

    run(_settings(config, None, data_dir, metrics_port=metrics_port))


@app.command()
def watch(config: ConfigOption = None, data_dir: DataDirOption = None, metrics_port: PortOption = None) -> None:
    """Raise the alerts of standing queries, and tell the webhooks."""
    from services.watcher import run

    run(_settings(config, None, data_dir, metrics_port=metrics_port))


@app.command()
def archive(config: ConfigOption = None, data_dir: DataDirOption = None, metrics_port: PortOption = None) -> None:
    """Keep the best crops of every tracklet."""
    from services.archiver import run

    run(_settings(config, None, data_dir, metrics_port=metrics_port))


@app.command()
def api(
    config: ConfigOption = None,
    data_dir: DataDirOption = None,
    port: Annotated[int | None, typer.Option(help="Port of the page; 0 for any free one")] = None,
    metrics_port: PortOption = None,
) -> None:
    """Serve the HTTP API and the page."""
    from services.api.main import run

    run(_settings(config, None, data_dir, port=port, metrics_port=metrics_port))


# --- asking -----------------------------------------------------------------------------------------------------------


@app.command()
def query(
    sentence: Annotated[str, typer.Argument(help='For example "woman in a red coat"')],
    config: ConfigOption = None,
    camera: Annotated[list[str] | None, typer.Option("--camera", help="Only these cameras")] = None,
    since: Annotated[str | None, typer.Option(help="14:00, 2026-05-01T14:00, or 2h for two hours ago")] = None,
    until: Annotated[str | None, typer.Option(help="As --since")] = None,
    limit: Annotated[int, typer.Option(min=1, max=100)] = 10,
    weak: Annotated[
        bool, typer.Option("--weak", help="Also the closest who are no confident match, marked so")
    ] = False,
    reason: Annotated[str, typer.Option(help="Why; kept in the audit log, and required where the site wants it")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="For machines")] = False,
    data_dir: DataDirOption = None,
) -> None:
    """Ask for people in words: who, when first and last seen, and by which route."""
    from services.console import print_query
    from services.query import query_words

    settings = _settings(config, None, data_dir)
    with console.status("Asking…") if console.is_terminal and not as_json else _nothing():
        answer = query_words(
            settings,
            sentence,
            cameras=camera or [],
            since=since,
            until=until,
            limit=limit,
            with_weak=weak,
            reason=reason,
        )
    if as_json:
        print_json(answer.model_dump(mode="json"))
    else:
        print_query(answer, console)


@app.command()
def doctor(config: ConfigOption = None, camera: CameraOption = None, data_dir: DataDirOption = None) -> None:
    """Say what is installed, which accelerator and model are used, and whether Redis, database and cameras answer."""
    from services.doctor import examine

    raise typer.Exit(0 if examine(_settings(config, camera, data_dir), console) else 1)


@app.command("settings")
def show_settings(config: ConfigOption = None, camera: CameraOption = None, data_dir: DataDirOption = None) -> None:
    """Print the effective settings without secrets, as YAML."""
    import yaml

    console.print(yaml.safe_dump(shown(_settings(config, camera, data_dir)), sort_keys=False), markup=False, end="")


@app.command()
def simulate(
    out: Annotated[Path, typer.Option(help="Folder to write to")],
    cameras: Annotated[int, typer.Option(min=2, max=8)] = 3,
    people: Annotated[int, typer.Option(min=1)] = 12,
    duration: Annotated[float, typer.Option(help="Seconds of video")] = 60.0,
    seed: int = 1,
    crops: Annotated[
        bool, typer.Option("--crops", help="Also person crops in the Market-1501 layout, with captions")
    ] = False,
) -> None:
    """Write videos of a simulated site with perfect ground truth."""
    from services.simulate import write_site

    write_site(out, cameras=cameras, people=people, duration_s=duration, seed=seed, with_crops=crops, console=console)


# --- dead letters -----------------------------------------------------------------------------------------------------


@dead.command("list")
def dead_list(config: ConfigOption = None, data_dir: DataDirOption = None, limit: int = 50) -> None:
    """Messages that were set aside, newest first, with the reason."""
    from services.console import print_dead_letters
    from services.dead import list_dead

    print_dead_letters(list_dead(_settings(config, None, data_dir), limit), console)


@dead.command("replay")
def dead_replay(
    entry: Annotated[list[str] | None, typer.Argument(help="Entry ids; none means all")] = None,
    config: ConfigOption = None,
    data_dir: DataDirOption = None,
) -> None:
    """Send messages again that were set aside."""
    from pipeline.audit import AuditAction
    from services.audited import DEAD_SENT_AGAIN, letters_named, record_at_terminal
    from services.dead import replay_dead

    settings, chosen = _settings(config, None, data_dir), entry or []
    record_at_terminal(settings, AuditAction.OPERATION, DEAD_SENT_AGAIN, letters_named(chosen))
    console.print(f"{replay_dead(settings, chosen)} messages sent again")


# --- private ----------------------------------------------------------------------------------------------------------


def _settings(
    config: Path | None,
    cameras: list[str] | None,
    data_dir: Path | None,
    port: int | None = None,
    metrics_port: int | None = None,
    detector: str | None = None,
) -> Settings:
    overrides: dict[str, Any] = {}
    if cameras:
        overrides["cameras"] = [_camera(text) for text in cameras]
    if data_dir is not None:
        overrides["data_dir"] = data_dir
    if port is not None:
        overrides["api"] = {"port": port}
    if metrics_port is not None:
        overrides["metrics_port"] = metrics_port
    if detector is not None:
        overrides["tracking"] = _detector(detector)
    return load(config, overrides)


def _detector(text: str) -> dict[str, str | None]:
    """A model's file or a detector's name, instead of whatever the file of settings says."""
    from services.detection import WITHOUT_MODEL

    if Path(text).exists():
        return {"detector": "auto", "detector_model": text}
    return {"detector": text} | ({"detector_model": None} if text in WITHOUT_MODEL else {})


def _camera(text: str) -> dict[str, str]:
    name, found, address = text.partition("=")
    if not found or not address:
        raise ConfigurationError("--camera expects ID=ADDRESS, for example --camera lobby=rtsp://host/stream")
    return {"id": name, "address": address}


def _escaped(text: str) -> str:
    from rich.markup import escape

    return escape(text)


def print_json(value: Any) -> None:
    """Plain JSON on standard output, never wrapped or coloured."""
    sys.stdout.write(json.dumps(value, indent=2) + "\n")


class _nothing:
    def __enter__(self) -> None: ...

    def __exit__(self, *_: object) -> None: ...


if __name__ == "__main__":
    main()
