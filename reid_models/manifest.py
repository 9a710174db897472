"""What is known of a model without its weights. No torch here: the matcher asks for digest and calibration alone."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from pipeline.errors import ConfigurationError
from pipeline.look_scores import LOOK_SCORES, LOOK_SIZES

WEIGHTS = "model.safetensors"
MANIFEST = "manifest.json"
INT8_RANGES = "int8.json"  # how far activations reach, where somebody has calibrated that; never part of the digest
DEFAULT_BUNDLE = Path(__file__).parent / "bundles" / "sightline-small"

Positive = Annotated[int, Field(ge=1)]
Finite = Annotated[float, Field(allow_inf_nan=False)]
Similarity = Annotated[float, Field(ge=-1.0, le=1.0)]
Share = Annotated[float, Field(ge=0.0, le=1.0)]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class LogisticCurve(_Part):
    """Similarity → probability: 1 / (1 + exp(-(slope * similarity + intercept)))."""

    slope: Finite
    intercept: Finite

    def probability(self, similarity: float) -> float:
        exponent = self.slope * similarity + self.intercept
        return 1.0 / (1.0 + math.exp(-max(-500.0, min(500.0, exponent))))


class StrangerLooks(_Part):
    """How alike strangers are, and what it means to be more alike: what the matcher believes before a site teaches it.

    `curves` are the log-odds that two groups of `LOOK_SIZES` images show one person, at each of `LOOK_SCORES`: their
    similarity in deviations from the mean of strangers, each camera's mean look taken away.
    """

    mean: Finite  # similarity of strangers before different cameras, as they are
    deviation: Annotated[Finite, Field(gt=0)]
    curves: tuple[tuple[Finite, ...], ...]

    @field_validator("curves")
    @classmethod
    def _fits(cls, curves: tuple[tuple[float, ...], ...]) -> tuple[tuple[float, ...], ...]:
        found = [len(curve) for curve in curves]
        if found != [len(LOOK_SCORES)] * len(LOOK_SIZES):
            raise ValueError(f"curves of {found} values; expected {len(LOOK_SIZES)} of {len(LOOK_SCORES)}")
        return curves


class WordCurve(_Part):
    """That somebody fits a description: log-odds `slope` * similarity + `intercept` + `per_word` * ln(its words); that
    somebody shows a thing: log-odds `thing_slope` * what the thing adds to anybody + `thing_intercept`.

    Measured as the search asks (`sightline evaluate search`), which the curves of single pairs are not.
    """

    slope: Finite
    intercept: Finite
    per_word: Finite
    thing_slope: Annotated[Finite, Field(gt=0)]
    thing_intercept: Finite
    least: Share  # probability below which nobody is called a match
    # Shares of questions about absent people that are answered, rising, each with the `least` that holds it
    leasts: tuple[tuple[Share, Share], ...] = ()  # none: kept by an earlier release
    measured_on: str


class Calibration(_Part):
    """What a similarity means, measured on identities that the model has not been trained on.

    The curves are fitted with right and wrong pairs weighing the same: they answer "which of the two is it", and prior
    odds are the caller's.
    """

    appearance: LogisticCurve  # that two crops of different cameras show one person
    appearance_threshold: Similarity  # recommended least similarity for "the same person"
    appearance_false_match_share: Share  # of pairs of different persons at or above that threshold
    appearance_recall: Share  # of pairs of one person at or above it
    strangers: StrangerLooks | None = None  # None: measured before this was asked for
    # None: no sentences were at hand
    language: LogisticCurve | None = None  # that a sentence was written about the person
    language_threshold: Similarity | None = None  # below it for every person, the answer is "no confident match"
    language_false_match_share: Share | None = None  # of wrong pairs of sentence and person at or above it
    words: WordCurve | None = None  # None: nobody measured the search with this model
    measured_on: str


class InputFormat(_Part):
    """How pixels become the tower's input: resize to `height_px` x `width_px`, RGB / 255, minus mean, by deviation."""

    height_px: Positive
    width_px: Positive
    mean: tuple[Finite, Finite, Finite]
    std: tuple[Finite, Finite, Finite]


class Training(_Part):
    """On what the weights were trained. `data_digest` is over the names and labels of the training images."""

    description: str
    data_digest: str


class Manifest(_Part):
    """Everything about a model except its weights."""

    format: Annotated[int, Field(ge=1, le=1)] = 1
    digest: Annotated[str, Field(pattern=r"^[0-9a-f]{16}$")]
    name: str
    created: str  # ISO date
    architecture: dict[str, Any]  # open_clip's model configuration
    input: InputFormat
    appearance_width: Positive
    language_width: Positive
    vocabulary: tuple[str, ...] | None  # None: open_clip's own tokenizer
    # In the vocabulary, but said of so few people in training that no answer should rest on them
    scarce_words: tuple[str, ...] = ()
    training: Training
    metrics: dict[str, Finite]
    calibration: Calibration | None  # None: an imported model that has not been calibrated
    licence: str


def read_manifest(folder: Path) -> Manifest:
    """Raises `ConfigurationError` if the folder is no bundle or its manifest has unknown or wrong entries."""
    path = folder / MANIFEST
    try:
        return Manifest.model_validate_json(path.read_bytes())
    except FileNotFoundError as error:
        raise ConfigurationError(
            f"{folder} has no {MANIFEST}; expected a model bundle, a folder with {MANIFEST} and {WEIGHTS}"
        ) from error
    except ValidationError as error:
        problem = error.errors(include_input=False, include_url=False)[0]
        place = ".".join(str(part) for part in problem["loc"]) or "the whole"
        raise ConfigurationError(
            f"{path}: {place}: {problem['msg']}; the bundle was damaged or made by another release"
        ) from error


def measured_anew(former: Calibration | None, found: Calibration | None) -> Calibration | None:
    """What is known of a model that went on learning: what was `found`, and what only its former self was measured for.

    A night holds sentences where they were, so the curve of the search stays nearer than that of single pairs.
    """
    if found is None or former is None or found.words is not None:
        return found or former
    return found.model_copy(update={"words": former.words})


def keep_word_curve(folder: Path, curve: WordCurve) -> None:
    """Write the curve into the manifest of a calibrated bundle. The digest, which names the weights, stays."""
    manifest = read_manifest(folder)
    if manifest.calibration is None:
        raise ConfigurationError(
            f"{folder} was never calibrated; import the model with --calibrate first, for what pictures mean"
        )
    calibration = manifest.calibration.model_copy(update={"words": curve})
    content = manifest.model_copy(update={"calibration": calibration}).model_dump_json(indent=1)
    part = folder / f"{MANIFEST}.part"
    part.write_text(content + "\n", encoding="utf-8")
    part.replace(folder / MANIFEST)


def bundle_folder(source: str | Path) -> Path | None:
    """Where the bundle lies that `source` names: a folder, or a shipped one; None for models that are no bundles."""
    places = (Path(source), DEFAULT_BUNDLE.parent / str(source))
    return next((place for place in places if str(source) and place.is_dir()), None)
