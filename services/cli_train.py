"""The command `sightline train`, and `sightline evaluate recipe` on what it trained."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.console import Console

console = Console()

RecipeArgument = Annotated[
    str, typer.Argument(help="A YAML file, or the name of a shipped recipe, such as ccafl_msmt17; `list` names them")
]
DataDirOption = Annotated[
    Path, typer.Option("--data-dir", envvar="SIGHTLINE_DATASETS", help="Folder of the data sets that recipes name")
]
DataOption = Annotated[
    list[str] | None,
    typer.Option(
        "--data", metavar="READER=PATH", help="Where one data set lies; READER.captions=PATH for its captions"
    ),
]
PartialOption = Annotated[bool, typer.Option("--partial", help="The data sets may be less than was published")]
EncoderOption = Annotated[
    str | None,
    typer.Option(
        help="Other towers: ViT-B-16/openai, RN50//path/to/weights.pt, scratch/person_cnn_light, scratch/RN50"
    ),
]
OutOption = Annotated[
    Path | None, typer.Option(help="Checkpoint, results and bundle; a run in it goes on (default: runs/RECIPE-SEED)")
]
DeviceOption = Annotated[Literal["auto", "cpu", "cuda"] | None, typer.Option(help="Default: the recipe's")]
SeedOption = Annotated[int | None, typer.Option(min=0, help="Default: the recipe's")]

KEYS = "\n\n".join(
    (
        "[bold]A recipe[/] is a YAML file with these keys:",
        "[bold]method[/]  clip_reid, ccafl, cpcl, clip_fgdi or small; [bold]base[/] names the published settings to "
        "begin from",
        "[bold]encoder[/]  source (ViT-B-16/openai, RN50//weights.pt, scratch/NAME), image_size, stored_size, stride, "
        "pooling, normalisation",
        "[bold]data[/]  train: a list of reader, path, options, captions, attributes, is_part; images: train or all; "
        "domains: sources or cameras",
        "[bold]settings[/]  any part of the method's configuration: epochs, batches, optimisers, augmentation, losses",
        "[bold]evaluation[/]  data as above, splits, part (test or val), every_epochs",
        "[bold]expected[/]  metrics that others published, and their source",
        "[bold]title, seed, device, precision, accumulation, gradient_norm, tracking[/]",
    )
)


def train(
    recipe: RecipeArgument,
    data_dir: DataDirOption = Path("datasets"),
    data: DataOption = None,
    out: OutOption = None,
    seed: SeedOption = None,
    device: DeviceOption = None,
    encoder: EncoderOption = None,
    partial: PartialOption = False,
    tracking: Annotated[str | None, typer.Option(help="tensorboard:FOLDER or mlflow:ADDRESS")] = None,
    stop_after_epochs: Annotated[
        int | None, typer.Option(min=1, help="End cleanly after so many epochs of all stages; the next run goes on")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only say sizes, steps, memory and time, and what is missing")
    ] = False,
) -> None:
    """Train a model by a recipe, evaluate it, and keep it. A run that was killed goes on where it stopped."""
    from services import training

    if recipe == "list":
        return _list_recipes()
    order = training.TrainingOrder(recipe, data_dir, data or (), partial, encoder, seed, device, tracking)
    if dry_run:
        return training.plan(order, console)
    from datetime import UTC, datetime

    return training.train(order, out, stop_after_epochs, datetime.now(UTC).date(), console)


def evaluate(
    recipe: RecipeArgument,
    data_dir: DataDirOption = Path("datasets"),
    data: DataOption = None,
    out: OutOption = None,
    seed: SeedOption = None,
    device: DeviceOption = None,
    encoder: EncoderOption = None,
    partial: PartialOption = False,
    re_ranking: Annotated[
        bool, typer.Option("--re-ranking", help="Also after k-reciprocal re-ranking, which reads the whole gallery")
    ] = False,
    k1: Annotated[int, typer.Option(min=1, help="Of re-ranking; CLIP-ReID takes 50 and 15")] = 20,
    k2: Annotated[int, typer.Option(min=1)] = 6,
    original_share: Annotated[float, typer.Option(min=0, max=1, help="Of re-ranking: lambda")] = 0.3,
    json_file: Annotated[Path | None, typer.Option("--json", help="Also write plain numbers to this file")] = None,
) -> None:
    """A run of `sightline train`, by the protocol of its recipe."""
    from services import training

    order = training.TrainingOrder(recipe, data_dir, data or (), partial, encoder, seed, device)
    metrics = training.evaluate(order, out, (k1, k2, original_share) if re_ranking else None, console)
    if json_file is not None:
        json_file.write_text(json.dumps(dict(metrics), indent=2) + "\n", encoding="utf-8")


def _list_recipes() -> None:
    from reid_models.recipes.schema import load_recipe, shipped_recipes

    for name, path in shipped_recipes().items():
        console.print(f"{name:28} {load_recipe(path)[0].title}", soft_wrap=True, markup=False, highlight=False)
