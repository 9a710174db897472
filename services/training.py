"""What `sightline train` does between its options and the laboratory: a recipe in, a table or a model out."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table

from pipeline.errors import ConfigurationError

if TYPE_CHECKING:
    from pipeline.yaml_files import YamlFile
    from reid_models.recipes.plan import Plan
    from reid_models.recipes.schema import ExpectedFigures, Recipe
    from reid_models.recipes.stand_in import Sizes

GIB = 1 << 30
REPLACEABLE = ("path", "captions", "attributes")


@dataclass(frozen=True, slots=True)
class TrainingOrder:
    """The options that replace values of the recipe; None leaves it as it is."""

    recipe: str  # path or name
    data_dir: Path
    data: Sequence[str] = ()  # READER=PATH or READER.captions=PATH
    partial: bool = False
    encoder: str | None = None
    seed: int | None = None
    device: str | None = None
    tracking: str | None = None


def train(order: TrainingOrder, out: Path | None, stop_after_epochs: int | None, today: date, console: Console) -> None:
    """Train, evaluate, keep; prints the scores beside what others published."""
    name, recipe, file = _ready(order)
    from reid_models import distributed
    from reid_models.recipes.run import RESULTS, open_experiment, run_experiment

    folder = out or default_folder(name, recipe)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    try:
        experiment = open_experiment(name, recipe, file, folder)
        outcome = run_experiment(experiment, folder, today, stop_after_epochs)
        is_main = distributed.is_main()
    finally:
        distributed.leave()
    if not is_main:
        return
    if outcome.metrics is None:
        console.print(
            f"Stopped after {outcome.epochs_done} of {outcome.epochs} epochs; the same command without "
            f"--stop-after-epochs goes on from {folder}.",
            soft_wrap=True,
        )
        return
    show_scores(outcome.metrics, recipe.expected, recipe.title, console)
    console.print(f"Written to {folder / RESULTS}.", soft_wrap=True)
    if outcome.bundle is not None:
        console.print(f"The encoder is the bundle {outcome.bundle}.", soft_wrap=True)
    elif outcome.no_bundle_because is not None:
        console.print(f"No bundle was written: {outcome.no_bundle_because}.", soft_wrap=True)


def evaluate(order: TrainingOrder, out: Path | None, re_ranking: tuple[int, int, float] | None, console: Console) -> (
    Mapping[str, float]
):  # fmt: skip
    """Score a trained run once more; `re_ranking` is k1, k2 and the share of the original distance."""
    name, recipe, file = _ready(order)
    from reid_models.re_ranking import ReRankingConfig
    from reid_models.recipes.run import evaluate_run, open_experiment

    folder = out or default_folder(name, recipe)
    experiment = open_experiment(name, recipe, file, folder)
    metrics = evaluate_run(experiment, folder, None if re_ranking is None else ReRankingConfig(*re_ranking))
    show_scores(metrics, recipe.expected, recipe.title, console)
    return metrics


def plan(order: TrainingOrder, console: Console) -> None:
    """Say what a training would be, and what is missing for it."""
    _, recipe, file = opened(order)
    from reid_models.recipes.plan import make_plan

    with console.status("Measuring a few batches…"):
        found = make_plan(recipe, file)
    show_plan(found, console)


def opened(order: TrainingOrder) -> tuple[str, Recipe, YamlFile]:
    """Name, recipe with this machine's paths, and file. Raises `ConfigurationError` as reading a recipe does."""
    from reid_models.recipes.schema import find_recipe, load_recipe
    from reid_models.recipes.sources import with_located_sources

    path = find_recipe(order.recipe)
    overrides: dict[str, Any] = {
        key: value for key in ("seed", "device", "tracking") if (value := getattr(order, key)) is not None
    }
    if order.encoder is not None:
        overrides["encoder"] = {"source": order.encoder}
    recipe, file = load_recipe(path, overrides)
    return path.stem, with_located_sources(_with_data(recipe, order), order.data_dir), file


def _ready(order: TrainingOrder) -> tuple[str, Recipe, YamlFile]:
    """As `opened`, with data. What is missing is told before torch is loaded, which takes seconds."""
    from reid_models.recipes.sources import require_files

    name, recipe, file = opened(order)
    require_files(recipe)
    return name, recipe, file


def default_folder(name: str, recipe: Recipe) -> Path:
    return Path("runs") / f"{name}-{recipe.seed}"


def show_scores(metrics: Mapping[str, float], expected: ExpectedFigures | None, title: str, console: Console) -> None:
    """Percent, ours beside those of others."""
    table = Table("", "here", title=title, title_justify="left", box=None, header_style="bold")
    if expected is not None:
        table.add_column("published by others")
    for name, value in metrics.items():
        theirs = None if expected is None else expected.metrics.get(name)
        cells = [name.replace("_", " "), f"{100 * value:.1f}"]
        table.add_row(*cells, *([] if expected is None else ["" if theirs is None else f"{100 * theirs:.1f}"]))
    console.print(table)
    if expected is not None:
        console.print(f"Theirs: {expected.source}", soft_wrap=True)


def show_plan(found: Plan, console: Console) -> None:
    console.print(f"[bold]{found.title}[/]", soft_wrap=True)
    origin = "counted" if found.is_read else "as published, the data are not here"
    for sizes in found.sizes:
        console.print(f"Data ({origin}): {_in_words(sizes)}", soft_wrap=True)
    if not found.sizes:
        console.print("Data: not here, and nothing is known of their size, so steps and time are not known either")
    console.print(f"Parameters: {found.parameters:,}, of which {found.trained_parameters:,} learn")
    if found.stages:
        table = Table(
            "stage", "epochs", "steps each", "batch", "learns from", "passes without learning", "time", box=None
        )
        for stage in found.stages:
            passes = f"{stage.passes:,}" + (f" + {stage.sentence_passes:,} texts" if stage.sentence_passes else "")
            table.add_row(
                stage.name, str(stage.epochs), f"{stage.steps:,}", str(stage.batch), stage.kind, passes,
                duration(stage.seconds),
            )  # fmt: skip
        console.print(table)
        total = sum(found.memory_bytes.values())
        uses = ", ".join(f"{use} {value / GIB:.2f}" for use, value in found.memory_bytes.items())
        console.print(f"Memory on {found.device}: about {total / GIB:.1f} GiB ({uses})", soft_wrap=True)
        console.print(f"Images on disk, decoded: {found.image_bytes / GIB:.1f} GiB")
        console.print(
            f"Time on this {found.device}: about {duration(found.seconds)}, from a few measured batches of random "
            "weights; losses, clustering and evaluation come on top",
            soft_wrap=True,
        )
    for lack in found.missing:
        console.print(f"Missing: {lack}", soft_wrap=True, markup=False)
    console.print("Nothing is missing." if not found.missing else "", end="\n" if not found.missing else "")


def duration(seconds: float) -> str:
    """`95 s`, `12 min`, `3.5 h` or `4.2 days`."""
    for unit, length, digits in (("days", 86400.0, 1), ("h", 3600.0, 1), ("min", 60.0, 0)):
        if seconds >= 2 * length:
            return f"{seconds / length:.{digits}f} {unit}"
    return f"{seconds:.0f} s"


def _in_words(sizes: Sizes) -> str:
    parts = [f"{sizes.images:,} images", f"{sizes.identities:,} identities", f"{sizes.cameras} cameras"]
    if sizes.intra_camera_identities is not None:
        parts.append(f"{sizes.intra_camera_identities:,} identities within cameras")
    if sizes.captions:
        parts.append(f"{sizes.captions:,} captions")
    return ", ".join(parts)


def _with_data(recipe: Recipe, order: TrainingOrder) -> Recipe:
    """With the paths of `--data`, and with `--partial` on every source."""
    changes: dict[str, dict[str, Any]] = {}
    known = {source.reader for source in (*recipe.data.train, *recipe.evaluation.data)}
    for text in order.data:
        target, _, path = text.partition("=")
        reader, _, key = target.partition(".")
        key = key or "path"
        if reader not in known or key not in REPLACEABLE or not path:
            raise ConfigurationError(
                f"--data {text} is not understood; expected READER=PATH, READER.captions=PATH or "
                f"READER.attributes=PATH, where READER is one of {', '.join(sorted(known))}"
            )
        changes.setdefault(reader, {})[key] = Path(path).resolve()
    partial = {"is_part": True} if order.partial else {}

    def changed(sources: Sequence[Any]) -> tuple[Any, ...]:
        return tuple(source.model_copy(update={**partial, **changes.get(source.reader, {})}) for source in sources)

    data = recipe.data.model_copy(update={"train": changed(recipe.data.train)})
    evaluation = recipe.evaluation.model_copy(update={"data": changed(recipe.evaluation.data)})
    return recipe.model_copy(update={"data": data, "evaluation": evaluation})
