"""The commands `sightline models import`, `bench` and `quantise`: bring a model, and see what it costs here."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from pipeline.errors import ConfigurationError
from services.cli_options import ConfigOption, DataDirOption, parsed_size, settings_of

console = Console()


def import_(
    source: Annotated[
        str, typer.Argument(help="ViT-B-16/openai, ViT-B-16/FILE, hf-hub:owner/model, local-dir:FOLDER, or a bundle")
    ],
    name: Annotated[str | None, typer.Option(help="What it is called here [default: as the source]")] = None,
    image_size: Annotated[
        str | None, typer.Option(metavar="HxW", help="As 256x128; positions are resized [default: the model's]")
    ] = None,
    licence: Annotated[str | None, typer.Option(help="What its publisher allows [default: unknown]")] = None,
    calibrate: Annotated[
        Path | None,
        typer.Option(metavar="DATA", help="Folder or zip in the Market-1501 layout, of people it does not know"),
    ] = None,
    captions: Annotated[
        Path | None, typer.Option(help="Sentences about them as JSON [default: captions.json in DATA]")
    ] = None,
    config: ConfigOption = None,
    data_dir: DataDirOption = None,
) -> None:
    """Make a model that others trained into a bundle of this site. It serves once it is promoted."""
    from pipeline.audit import AuditAction
    from services.audited import record_at_terminal
    from services.model_import import ModelImport, import_model, print_import
    from services.runtime import open_registry

    if captions is not None and calibrate is None:
        raise ConfigurationError("--captions is given without pictures; expected --calibrate DATA beside it")
    size = None if image_size is None else parsed_size(image_size)
    settings = settings_of(config, data_dir)
    registry = open_registry(settings)
    wanted = ModelImport(source, name, size, licence, calibrate, captions)
    record_at_terminal(settings, AuditAction.OPERATION, "model imported", {"source": source})
    with console.status(f"Importing {source}…"):
        manifest = import_model(registry, wanted)
    print_import(manifest, console)


def bench(
    model: Annotated[
        str | None,
        typer.Argument(help="Beginning of a digest, or a bundle's folder or name [default: the wanted model]"),
    ] = None,
    data: Annotated[Path | None, typer.Option(help="Folder or zip in the Market-1501 layout: accuracy too")] = None,
    captions: Annotated[Path | None, typer.Option(help="Sentences about its people as JSON")] = None,
    plot: Annotated[Path, typer.Option(help="PNG to write")] = Path("models-bench.png"),
    json_file: Annotated[Path | None, typer.Option("--json", help="Also write plain numbers to this file")] = None,
    duration: Annotated[float, typer.Option(min=0.1, help="Seconds for each speed")] = 3.0,
    config: ConfigOption = None,
    data_dir: DataDirOption = None,
) -> None:
    """Measure every runtime and precision of a model here: crops per second, latency, accuracy."""
    from services.model_bench import ModelBench, bench_model, plot_bench, print_bench, write_json

    if captions is not None and data is None:
        raise ConfigurationError("--captions is given without pictures; expected --data DATA beside it")
    settings = settings_of(config, data_dir)
    with console.status("Measuring torch fp32…") as status:
        manifest, found = bench_model(
            settings,
            ModelBench(model, data, captions, duration),
            lambda figures: status.update(f"Measured {figures.candidate}, going on…"),
        )
    print_bench(manifest, found, console)
    plot_bench(plot, manifest, found)
    console.print(f"plotted in {plot}", markup=False, highlight=False)
    if json_file is not None:
        write_json(json_file, manifest, found)


def quantise(
    model: Annotated[str | None, typer.Argument(help="A bundle's folder or name [default: the wanted model]")] = None,
    crops: Annotated[
        Path | None, typer.Option(help="Folder or zip of pictures of people [default: the archive's tracklets]")
    ] = None,
    within: Annotated[str, typer.Option(help="Only pictures whose path holds this")] = "",
    into_bundle: Annotated[bool, typer.Option(help="Keep it beside the bundle, for every machine")] = False,
    config: ConfigOption = None,
    data_dir: DataDirOption = None,
) -> None:
    """Calibrate int8, which is the fastest on most CPUs. It serves wherever it then proves right."""
    from pipeline.audit import AuditAction
    from services.audited import record_at_terminal
    from services.quantise import Quantisation, print_quantisation
    from services.quantise import quantise as calibrate

    settings = settings_of(config, data_dir)
    record_at_terminal(settings, AuditAction.OPERATION, "model quantised", {"model": model or "the wanted one"})
    with console.status("Calibrating int8 and trying it…"):
        trial = calibrate(settings, Quantisation(model, crops, within, into_bundle))
    print_quantisation(trial, console)
