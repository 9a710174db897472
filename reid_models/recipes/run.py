"""A recipe from files to figures: read, build, train, evaluate, and keep what came out."""

from __future__ import annotations

import copy
import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path
from typing import Any

import torch

from pipeline.errors import ConfigurationError
from pipeline.yaml_files import YamlFile
from reid_models import distributed
from reid_models.bundle import save_bundle
from reid_models.checkpoints import CHECKPOINT
from reid_models.inference import chosen_device
from reid_models.manifest import Training
from reid_models.publishing import assemble
from reid_models.re_ranking import ReRankingConfig
from reid_models.recipes.evaluation import ImageTest, TestSetting, TextTest, evaluate, evaluate_re_ranked, read_tests
from reid_models.recipes.images import kept_images
from reid_models.recipes.methods import METHODS, Built, Ingredients, method_config
from reid_models.recipes.schema import Recipe, as_yaml
from reid_models.recipes.sources import TrainingSamples, read_training
from reid_models.recipes.towers import is_scratch, open_towers
from reid_models.tracking import TrackedRun, open_tracker
from reid_models.trainer import Figures, Run, TrainerConfig, train

log = logging.getLogger(__name__)

RESULTS, EFFECTIVE, BUNDLE, CACHE = "results.json", "recipe.yaml", "bundle", "images"


@dataclass(frozen=True, slots=True, eq=False)
class Experiment:
    """A recipe with its data read and its method built."""

    name: str
    recipe: Recipe  # with located sources
    data: TrainingSamples
    tests: Sequence[ImageTest | TextTest]
    built: Built
    setting: TestSetting
    configuration: Mapping[str, Any]  # everything that decides about the weights, except seed and data

    @property
    def epochs(self) -> int:
        return sum(stage.epochs for stage in self.built.method.stages)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a training came to. `metrics` is None until the last epoch is done."""

    epochs_done: int
    epochs: int
    metrics: Figures | None
    bundle: Path | None
    no_bundle_because: str | None


def open_experiment(name: str, recipe: Recipe, file: YamlFile | None, folder: Path) -> Experiment:
    """Read data, open towers, build the method; `recipe` has located sources. What is cheap to find wrong comes first.

    Raises `ConfigurationError` for settings, data sets and weights that are wrong or missing.
    """
    device = chosen_device(recipe.device)
    config = method_config(recipe, file, device.type)
    distributed.join(device.type)
    data, tests = read_training(recipe.data, recipe.method), read_tests(recipe)
    towers = open_towers(recipe.encoder, data.captions, recipe.seed)
    towers.encoder.to(device)
    stored = recipe.encoder.stored_size or recipe.encoder.image_size
    images = kept_images(data.samples, stored, folder / CACHE)
    built = METHODS[recipe.method].build(Ingredients(recipe, config, towers, data, images))
    built.method.modules.to(device)
    setting = TestSetting(recipe.encoder.image_size, stored, device.type, recipe.precision, folder / CACHE)
    configuration = {
        "method": recipe.method,
        "encoder": recipe.encoder.model_dump(mode="json"),
        "images": recipe.data.images,
        "domains": recipe.data.domains,
        # A run may go on on another device.
        "settings": asdict(method_config(recipe, file, device="any")),
        "precision": recipe.precision,
        "accumulation": recipe.accumulation,
        "gradient_norm": recipe.gradient_norm,
    }
    return Experiment(name, recipe, data, tests, built, setting, configuration)


def run_experiment(experiment: Experiment, folder: Path, today: date, stop_after_epochs: int | None = None) -> Outcome:
    """Train, from the last checkpoint in `folder` if there is one; evaluate, and write results and bundle there.

    Raises `ConfigurationError` for a checkpoint of another configuration, seed or data set.
    """
    recipe = experiment.recipe
    is_main = distributed.is_main()
    tracker = None
    if recipe.tracking is not None and is_main:
        tracker = open_tracker(recipe.tracking, TrackedRun(folder, experiment.configuration))
    done = 0

    def report(stage: str, epochs_done: int, figures: Figures) -> None:
        nonlocal done
        done = epochs_done
        if tracker is not None:
            tracker.report(stage, epochs_done, figures)

    def measure() -> Figures:
        return evaluate(experiment.built, experiment.tests, experiment.setting)

    config = TrainerConfig(
        recipe.seed, experiment.setting.device, recipe.precision, recipe.accumulation, recipe.gradient_norm,
        recipe.evaluation.every_epochs, stop_after_epochs,
    )  # fmt: skip
    run = Run(folder, experiment.configuration, experiment.data.digest, measure, report)
    metrics = train(experiment.built.method, config, run)
    if stop_after_epochs is not None and stop_after_epochs < experiment.epochs:
        return Outcome(done or stop_after_epochs, experiment.epochs, None, None, None)
    if tracker is not None:
        tracker.close(metrics)
    bundle = None
    refusal = no_bundle_because(recipe)
    if is_main:
        if refusal is None:
            bundle = _save_bundle(experiment, folder / BUNDLE, today, metrics)
        (folder / EFFECTIVE).write_text(as_yaml(recipe), encoding="utf-8")
        _write_results(experiment, folder, metrics, bundle)
    return Outcome(experiment.epochs, experiment.epochs, metrics, bundle, refusal)


def evaluate_run(experiment: Experiment, folder: Path, re_ranking: ReRankingConfig | None) -> Figures:
    """The scores of the checkpoint in `folder`; those after re-ranking have names that begin with `re_ranked`.

    Raises `ConfigurationError` if there is none, or it is of another configuration.
    """
    if not (folder / CHECKPOINT).exists():
        raise ConfigurationError(f"{folder} has no {CHECKPOINT}; train there first: `sightline train`, --out {folder}")
    recipe = experiment.recipe
    config = TrainerConfig(recipe.seed, experiment.setting.device, recipe.precision, stop_after_epochs=0)
    train(experiment.built.method, config, Run(folder, experiment.configuration, experiment.data.digest))
    metrics = dict(evaluate(experiment.built, experiment.tests, experiment.setting))
    if re_ranking is not None:
        found = evaluate_re_ranked(experiment.built, experiment.tests, experiment.setting, re_ranking)
        metrics |= {f"re_ranked_{name}": value for name, value in found.items()}
    return metrics


def no_bundle_because(recipe: Recipe) -> str | None:
    """Why the encoder cannot serve; None: it can."""
    if is_scratch(recipe.encoder.source) and not METHODS[recipe.method].teaches_text:
        return (
            f"{recipe.method} never teaches its text tower, which here has random weights and could answer no sentence"
        )
    return None


def _save_bundle(experiment: Experiment, folder: Path, today: date, metrics: Figures) -> Path:
    recipe, towers = experiment.recipe, experiment.built.towers
    encoder = copy.deepcopy(towers.encoder).to(torch.device("cpu")).eval()
    readers = ", ".join(source.reader for source in recipe.data.train)
    bundle = assemble(
        experiment.name,
        today,
        encoder,
        towers.vocabulary,
        Training(
            description=f"{recipe.title}; {len(experiment.data.samples)} images of {readers}",
            data_digest=experiment.data.digest,
        ),
        f"that of the weights {recipe.encoder.source} and of the images ({readers}), which may allow research only",
        recipe.encoder.image_size,
    )
    rounded = {name: round(value, 4) for name, value in metrics.items()}
    save_bundle(folder, bundle.encoder, bundle.manifest.model_copy(update={"metrics": rounded}))
    return folder


def _write_results(experiment: Experiment, folder: Path, metrics: Figures, bundle: Path | None) -> None:
    recipe = experiment.recipe
    results = {
        "recipe": experiment.name,
        "title": recipe.title,
        "seed": recipe.seed,
        "data_digest": experiment.data.digest,
        "metrics": dict(metrics),
        "published_by_others": None if recipe.expected is None else recipe.expected.model_dump(mode="json"),
        "configuration": experiment.configuration,
        "bundle": None if bundle is None else str(bundle),
    }
    (folder / RESULTS).write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
