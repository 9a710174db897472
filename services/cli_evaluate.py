"""The commands `sightline evaluate …`: what to measure on, and where the figures go."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from services import cli_train

app = typer.Typer(help="Measure on your own data: tables, or plain numbers with --json FILE.", no_args_is_help=True)
app.command("recipe", epilog=cli_train.KEYS)(cli_train.evaluate)
console = Console()

VideoOption = Annotated[Path, typer.Option(help="A video file")]
TruthOption = Annotated[Path, typer.Option(help="Ground truth in MOT format")]
ScaleOption = Annotated[float, typer.Option(help="Truth pixels times this are video pixels")]
DetectorFileOption = Annotated[Path | None, typer.Option(help="Detector file")]
AllLinesOption = Annotated[bool, typer.Option("--all-lines", help="Also count lines of the truth with 0 in column 7")]
DataOption = Annotated[Path, typer.Option(help="Folder or zip in the Market-1501 layout")]
ModelOption = Annotated[str, typer.Option(help="Bundle, open_clip name or file")]
JsonOption = Annotated[Path | None, typer.Option("--json", help="Also write plain numbers to this file")]


@app.command("tracking")
def tracking(
    video: VideoOption,
    truth: TruthOption,
    scale: ScaleOption = 1.0,
    detector: str = "auto",
    model: DetectorFileOption = None,
    tracker: str = "bytetrack",
    all_lines: AllLinesOption = False,
    json_file: JsonOption = None,
) -> None:
    """MOTA and IDF1 of detector and tracker on one video."""
    from services.evaluation import commands

    commands.tracking(video, truth, scale, detector, model, tracker, all_lines).show(console, json_file)


@app.command("detector")
def detector(
    video: VideoOption,
    truth: TruthOption,
    scale: ScaleOption = 1.0,
    detector: str = "auto",
    model: DetectorFileOption = None,
    all_lines: AllLinesOption = False,
    json_file: JsonOption = None,
) -> None:
    """Precision, recall and F1 of a detector at IoU 0.5."""
    from services.evaluation import commands

    commands.detection(video, truth, scale, detector, model, all_lines).show(console, json_file)


@app.command("images")
def images(
    data: DataOption,
    model: ModelOption = "sightline-small",
    re_ranking: Annotated[
        bool, typer.Option("--re-ranking", help="Also after k-reciprocal re-ranking, which reads the whole gallery")
    ] = False,
    json_file: JsonOption = None,
) -> None:
    """Image to image: mAP, mINP and rank-k across cameras."""
    from services.evaluation import commands

    commands.images(data, model, re_ranking).show(console, json_file)


@app.command("text")
def text(
    data: DataOption,
    captions: Annotated[Path, typer.Option(help="Captions as JSON")],
    model: ModelOption = "sightline-small",
    json_file: JsonOption = None,
) -> None:
    """Sentence to image: rank-k, mAP and mINP."""
    from services.evaluation import commands

    commands.text(data, captions, model).show(console, json_file)


@app.command("search")
def search(
    data: DataOption,
    captions: Annotated[Path, typer.Option(help="Captions as JSON")],
    attributes: Annotated[Path, typer.Option(help="Coded attributes as JSON, in the coding of Market-1501-attribute")],
    model: ModelOption = "sightline-small",
    plot: Annotated[Path | None, typer.Option(help="PNG to write: what was said against what was true")] = None,
    keep: Annotated[
        bool, typer.Option("--keep", help="Keep the fitted curve in the bundle; a running API reads it at its start")
    ] = False,
    json_file: JsonOption = None,
) -> None:
    """The search as people use it: ranks, denied things, absent people, and whether a confidence is true."""
    from services.evaluation import commands

    commands.search(data, captions, attributes, model, plot, keep).show(console, json_file)


@app.command("identity")
def identity(
    data: Annotated[Path, typer.Option(help="Folder or zip in the Market-1501 layout: replayed as a timeline")],
    model: ModelOption = "sightline-small",
    budget: Annotated[float, typer.Option(help="The share of joins that may be wrong", min=0.001, max=0.5)] = 0.1,
    distractors: Annotated[
        bool, typer.Option("--distractors", help="Also replay the training people; for a model not trained on them")
    ] = False,
    references: Annotated[
        bool, typer.Option("--references", help="Also an offline oracle and a naive matcher, tuned on the truth")
    ] = False,
    json_file: JsonOption = None,
) -> None:
    """Cross-camera identities by the matcher, in real time order: IDF1, wrong joins, revisions."""
    from services.evaluation import commands

    commands.identity(data, model, budget, distractors, references).show(console, json_file)
