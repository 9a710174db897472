"""What `sightline evaluate …` measures: settings as words and paths in, a table or plain numbers out."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.console import Console
from rich.progress import Progress as BarOfTerminal
from rich.table import Table

from pipeline.contracts import F32, Detections, Embeddings, Frame, Image
from pipeline.errors import ConfigurationError
from pipeline.interfaces import Detector
from services.detection import open_detector, open_tracker

if TYPE_CHECKING:
    from reid_models.benchmarks import ScoredEncoder

Progress = Callable[[float], None]  # hears shares from 0 to 1

_IMAGES_AT_ONCE = 64  # as many as the encoder takes in one pass


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


def tracking(
    video: Path, truth: Path, scale: float, detector: str, model: Path | None, tracker: str, counts_ignored: bool
) -> Report:
    from services.evaluation.tracking import evaluate_tracking

    with _progress("Following") as progress:
        found_by = _ToldDetector(open_detector(detector, model), frames_of(video), progress)
        score = evaluate_tracking(video, truth, found_by, open_tracker(tracker), scale, counts_ignored)
    return Report(f"{video.name}: {model.name if model else detector}, {tracker}", asdict(score))


def detection(
    video: Path, truth: Path, scale: float, detector: str, model: Path | None, counts_ignored: bool
) -> Report:
    from services.evaluation.detector import evaluate_detector

    with _progress("Detecting") as progress:
        found_by = _ToldDetector(open_detector(detector, model), frames_of(video), progress)
        score = evaluate_detector(video, truth, found_by, scale, counts_ignored=counts_ignored)
    return Report(f"{video.name}: {model.name if model else detector}", asdict(score))


def images(data: Path, model: str, re_ranked: bool = False) -> Report:
    from reid_models.benchmarks import embed_set, image_report
    from reid_models.inference import load_encoder
    from reid_models.re_ranking import ReRankingConfig

    with _progress("Embedding") as progress:
        embedded = embed_set(_ToldEncoder(load_encoder(model), _images_in(data), progress), data)
    figures: dict[str, Any] = asdict(image_report(embedded))
    if re_ranked:
        found = asdict(image_report(embedded, ReRankingConfig()))
        figures |= {f"re_ranked_{name}": value for name, value in found.items() if isinstance(value, float)}
    return Report(f"{data.name}: {model}, image to image", figures)


def text(data: Path, captions: Path, model: str) -> Report:
    from reid_models.benchmarks import evaluate_text
    from reid_models.inference import load_encoder

    with _progress("Embedding") as progress:
        encoder = _ToldEncoder(load_encoder(model), _images_in(data), progress)
        return Report(f"{data.name}: {model}, text to image", asdict(evaluate_text(encoder, data, captions)))


def search(data: Path, captions: Path, attributes: Path, model: str, plot: Path | None, is_kept: bool) -> Report:
    from reid_models.inference import load_encoder
    from reid_models.manifest import WordCurve, bundle_folder, keep_word_curve
    from services.evaluation.search import evaluate_search, searched_samples
    from services.evaluation.search_plot import plot_reliability

    folder = bundle_folder(model)
    if is_kept and folder is None:
        raise ConfigurationError(f"{model} is no bundle, so it has no manifest to keep a curve; import it first")
    with _progress("Embedding") as progress:
        encoder = _ToldEncoder(load_encoder(model), len(searched_samples(data)), progress)
        scores = evaluate_search(encoder, data, captions, attributes)
    if plot is not None:
        plot_reliability(plot, scores.reliability, f"{data.name}: {model}")
    if is_kept and folder is not None:
        curve = {name: getattr(scores.curve, name) for name in WordCurve.model_fields if name != "measured_on"}
        measured_on = f"{data.name}: {scores.figures['people'] - scores.figures['judged_people']} people"
        keep_word_curve(folder, WordCurve(**curve, measured_on=measured_on))
    return Report(f"{data.name}: {model}, search by words", scores.figures)


def identity(
    data: Path, model: str, budget: float, with_distractors: bool = False, has_references: bool = False
) -> Report:
    from pipeline.matching.people import MemoryConfig
    from reid_models.inference import load_encoder
    from services.evaluation.identity_replay import evaluate_identity
    from services.evaluation.market_replay import market_replay
    from services.matcher import prior_of

    with _progress("Replaying") as progress:
        replayed = market_replay(data, with_distractors=with_distractors)
        encoder = load_encoder(model)
        memory = MemoryConfig(false_match_budget=budget, prior=prior_of(encoder.manifest))
        figures = evaluate_identity(replayed, encoder, memory, has_references, progress)
    return Report(f"{data.name}: {model}, replayed in time order", figures)


def frames_of(video: Path) -> int:
    """The number of frames that the file itself gives; 0 where it gives none, or is no video."""
    import av

    try:
        with av.open(str(video)) as container:
            return container.streams.video[0].frames
    except (av.FFmpegError, IndexError, OSError):
        return 0  # the evaluation opens it as well, and tells what is wrong


def _images_in(data: Path) -> int:
    from reid_models.datasets.market1501 import read_query_and_gallery

    parts = read_query_and_gallery(data)
    return len(parts.query) + len(parts.gallery)


class _ToldEncoder:
    """An encoder that tells after each batch which share of `images` is done."""

    def __init__(self, encoder: ScoredEncoder, images: int, progress: Progress) -> None:
        self._encoder = encoder
        self._images = images
        self._progress = progress
        self._done = 0

    def embed_images(self, crops: Sequence[Image]) -> Embeddings:
        parts = []
        for start in range(0, len(crops), _IMAGES_AT_ONCE):
            batch = crops[start : start + _IMAGES_AT_ONCE]
            parts.append(self._encoder.embed_images(batch))
            self._done += len(batch)
            self._progress(self._done / self._images)
        if not parts:
            return self._encoder.embed_images(crops)
        return Embeddings(
            np.concatenate([part.appearance for part in parts]), np.concatenate([part.language for part in parts])
        )

    def embed_texts(self, sentences: Sequence[str]) -> F32:
        return self._encoder.embed_texts(sentences)


class _ToldDetector:
    """A detector that tells after each frame which share of `frames` is done; nothing if their number is not known."""

    def __init__(self, detector: Detector, frames: int, progress: Progress) -> None:
        self._detector = detector
        self._frames = frames
        self._progress = progress
        self._done = 0

    @property
    def name(self) -> str:
        return self._detector.name

    def detect(self, frames: Sequence[Frame]) -> list[Detections]:
        found = self._detector.detect(frames)
        self._done += len(frames)
        if self._frames:
            self._progress(min(1.0, self._done / self._frames))
        return found


@contextlib.contextmanager
def _progress(what: str) -> Iterator[Progress]:
    """A bar on standard error that is told shares from 0 to 1, and moves by itself until the first; for terminals."""
    bar = BarOfTerminal(console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty())
    with bar:
        task = bar.add_task(what, total=None)
        yield lambda share: bar.update(task, total=1.0, completed=share)
