"""What `sightline evaluate …` measures: settings as words and paths in, a table or plain numbers out."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from services.detection import open_detector, open_tracker


@dataclass(frozen=True, slots=True)
class Report:
    """Named figures and what they were measured on. Shares are from 0 to 1."""

    title: str
    figures: Mapping[str, Any]

    def show(self, console: Console, json_file: Path | None) -> None:
        """Print a table; write the plain figures to `json_file` where one is given."""
        table = Table("", "figure", title=self.title, title_justify="left", box=None, header_style="bold")
        for name, value in self.figures.items():
            shown = f"{value:.3f}" if isinstance(value, float) else str(value)
            table.add_row(name.replace("_", " "), shown)
        console.print(table)
        if json_file is not None:
            json_file.write_text(json.dumps(dict(self.figures), indent=2) + "\n", encoding="utf-8")


def tracking(video: Path, truth: Path, scale: float, detector: str, model: Path | None, tracker: str) -> Report:
    from services.evaluation.tracking import evaluate_tracking

    with _working("Following"):
        score = evaluate_tracking(video, truth, open_detector(detector, model), open_tracker(tracker), scale)
    return Report(f"{video.name}: {model.name if model else detector}, {tracker}", asdict(score))


def detection(video: Path, truth: Path, scale: float, detector: str, model: Path | None) -> Report:
    from services.evaluation.detector import evaluate_detector

    with _working("Detecting"):
        score = evaluate_detector(video, truth, open_detector(detector, model), scale)
    return Report(f"{video.name}: {model.name if model else detector}", asdict(score))


def images(data: Path, model: str) -> Report:
    from reid_models.benchmarks import evaluate_images
    from reid_models.inference import load_encoder

    with _working("Embedding"):
        return Report(f"{data.name}: {model}, image to image", asdict(evaluate_images(load_encoder(model), data)))


def text(data: Path, captions: Path, model: str) -> Report:
    from reid_models.benchmarks import evaluate_text
    from reid_models.inference import load_encoder

    with _working("Embedding"):
        return Report(
            f"{data.name}: {model}, text to image", asdict(evaluate_text(load_encoder(model), data, captions))
        )


def identity(data: Path, model: str, threshold: float | None) -> Report:
    from pipeline.matching.people import MemoryConfig
    from reid_models.inference import load_encoder
    from services.evaluation.identity import JudgedTracklet, embed_tracklets, run_matcher_offline, score_identities
    from services.evaluation.market_replay import market_replay
    from services.matcher import assignment
    from services.settings import MatchingSettings

    with _working("Replaying"):
        replayed = market_replay(data)
        encoder = load_encoder(model)
        embeddings = list(embed_tracklets((seen.tracklet for seen in replayed), encoder))
        rules = assignment(MatchingSettings(threshold=threshold), encoder.manifest)
        found = run_matcher_offline(embeddings, MemoryConfig(assignment=rules))
    judged = [
        JudgedTracklet(
            seen.tracklet.camera_id, seen.tracklet.detections, seen.true_id, found.get(seen.tracklet.tracklet_id)
        )
        for seen in replayed
    ]
    return Report(f"{data.name}: {model}, replayed in time order", asdict(score_identities(judged)))


def _working(what: str) -> Progress:
    """A moving bar for work of unknown length; nothing without a terminal."""
    progress = Progress(console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty())
    progress.add_task(what, total=None)
    return progress
