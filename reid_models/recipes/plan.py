"""What a recipe will do, before it does it: sizes, steps, parameters, memory and time, and what is missing for it.

Towers have random weights here, and data sets that are not there are stood in for by as many grey images as were
published, so that a plan needs neither.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from pipeline.yaml_files import YamlFile
from reid_models.encoder import parameter_count
from reid_models.identity_stage import IdentityStage
from reid_models.inference import chosen_device
from reid_models.methods.ccafl import CcaflStage, InterCameraStage, IntraCameraStage
from reid_models.methods.cpcl import CpclStage
from reid_models.methods.small import AppearanceStage
from reid_models.prompt_stage import PromptStage
from reid_models.recipes.costs import Costs, measure_costs
from reid_models.recipes.methods import METHODS, Built, Ingredients, method_config
from reid_models.recipes.schema import Recipe
from reid_models.recipes.sources import TrainingSamples, missing_files, read_training, sources_of
from reid_models.recipes.stand_in import Sizes, grey_images, published_sizes, sizes_of, stand_in_samples
from reid_models.recipes.towers import missing_weights, untrained_towers
from reid_models.trainer import Stage

BYTES_PER_NUMBER = 4


@dataclass(frozen=True, slots=True)
class StagePlan:
    """One stage. `batch` counts images, sentences or pairs; `passes` are images encoded without learning from them."""

    name: str
    epochs: int
    steps: int  # of an epoch
    batch: int
    kind: str  # images, prompts or pairs: what a step learns from
    passes: int  # in the whole stage
    sentence_passes: int  # likewise
    seconds: float


@dataclass(frozen=True, slots=True)
class Plan:
    """All of it. Without sizes of the data there are no stages."""

    title: str
    missing: tuple[str, ...]  # in words; empty: the training can begin
    device: str
    is_read: bool  # whether `sizes` were counted in the data; False: they are the published ones
    sizes: tuple[Sizes, ...]
    parameters: int
    trained_parameters: int
    stages: tuple[StagePlan, ...]
    memory_bytes: Mapping[str, int]  # on the device, by use
    image_bytes: int  # of all decoded images, mapped from disk
    costs: Costs | None

    @property
    def seconds(self) -> float:
        """Of towers alone: losses, clustering, evaluation and decoding come on top."""
        return sum(stage.seconds for stage in self.stages)


def make_plan(recipe: Recipe, file: YamlFile | None) -> Plan:
    """`recipe` has located sources. Raises `ConfigurationError` for what is wrong, but not for what is missing."""
    device = chosen_device(recipe.device)
    config = method_config(recipe, file, device.type)
    missing = [f"{path}: nothing is there" for path in missing_files(sources_of(recipe))]
    lack = missing_weights(recipe.encoder.source)
    missing += [] if lack is None else [lack]
    data, sizes, is_read = _data(recipe)
    towers = untrained_towers(recipe.encoder, () if data is None else data.captions, recipe.seed)
    towers.encoder.to(device)
    if data is None:
        count = parameter_count(towers.encoder)
        return Plan(recipe.title, tuple(missing), device.type, False, (), count, count, (), {}, 0, None)
    size = recipe.encoder.stored_size or recipe.encoder.image_size
    images = grey_images(len(data.identities), size)
    built = METHODS[recipe.method].build(Ingredients(recipe, config, towers, data, images))
    modules = built.method.modules.to(device)
    trained = {
        id(parameter): parameter.numel()
        for optimiser in built.method.optimisers.values()
        for _, parameter in optimiser.parameters
    }
    stages = built.method.stages
    loader = next(stage.loader for stage in stages if stage.loader is not None)
    largest = max(_batch(stage) for stage in stages if stage.loader is not None)
    costs = measure_costs(built.towers, loader, largest, device, recipe.precision)
    planned = tuple(_stage_plan(stage, data, costs) for stage in stages)
    learning = sum(trained.values())
    memory = _memory(built, data, costs, largest, learning)
    return Plan(
        recipe.title, tuple(missing), device.type, is_read, sizes, parameter_count(modules), learning, planned, memory,
        images.size, costs,
    )  # fmt: skip


def _data(recipe: Recipe) -> tuple[TrainingSamples | None, tuple[Sizes, ...], bool]:
    """Read where it is there, else stood in for; None if nothing is known of it."""
    if not missing_files(recipe.data.train):
        data = read_training(recipe.data, recipe.method)
        return data, (sizes_of(data),), True
    parts = published_sizes(recipe)
    return (None, (), False) if parts is None else (stand_in_samples(recipe, parts), tuple(parts), False)


def _stage_plan(stage: Stage, data: TrainingSamples, costs: Costs) -> StagePlan:
    images, captions = len(data.identities), len(data.captions)
    batch, steps = _batch(stage), _steps(stage)
    kind, passes, sentence_passes = "images", 0, 0
    # The loader prepares the next batch meanwhile, so the slower of the two counts.
    step_s = max(costs.image_step_s, costs.image_preparation_s)
    if isinstance(stage, PromptStage):
        kind, passes, step_s = "prompts", images, costs.prompt_step_s
    elif isinstance(stage, CcaflStage):
        passes = images * stage.epochs
    elif isinstance(stage, CpclStage):
        clusterings = stage.epochs - stage.config.warm_up_epochs if _clusters(stage) else 0
        kind, passes, sentence_passes = "pairs", images * clusterings, captions * clusterings
        step_s += costs.sentence_step_s
    seconds = stage.epochs * steps * batch * step_s + passes * costs.image_pass_s
    seconds += sentence_passes * costs.sentence_pass_s
    return StagePlan(stage.name, stage.epochs, steps, batch, kind, passes, sentence_passes, seconds)


def _steps(stage: Stage) -> int:
    """Batches of an epoch; those that are drawn after clustering are counted without it."""
    if isinstance(stage, PromptStage):
        return -(-len(stage.samples.classes) // stage.config.batch)
    if isinstance(stage, CcaflStage):
        return stage.config.batches_per_epoch
    if isinstance(stage, CpclStage):
        return len(stage.token_ids) // stage.config.batch
    return len(stage.batches(0, np.random.default_rng(0)))


def _batch(stage: Stage) -> int:
    if isinstance(stage, PromptStage | CpclStage):
        return stage.config.batch
    assert isinstance(stage, IdentityStage | CcaflStage | AppearanceStage)
    return stage.config.identities_per_batch * stage.config.images_per_identity


def _clusters(stage: CpclStage) -> bool:
    return stage.config.has_prototypes or stage.config.has_hybrid_matching


def _memory(built: Built, data: TrainingSamples, costs: Costs, batch: int, trained: int) -> dict[str, int]:
    """Bytes on the device. Weights are float32; Adam keeps two moments beside each gradient."""
    encoder = built.towers.encoder
    sentences = batch if data.captions else 0
    weights = sum(tensor.numel() * tensor.element_size() for tensor in built.method.modules.state_dict().values())
    return {
        "weights": weights,
        "gradients and moments": 3 * BYTES_PER_NUMBER * trained,
        f"activations of {batch}": round(batch * costs.image_bytes + sentences * costs.sentence_bytes),
        "features and memories": BYTES_PER_NUMBER
        * max(
            _features(stage, data, encoder.appearance_width, encoder.language_width) for stage in built.method.stages
        ),
    }


def _features(stage: Stage, data: TrainingSamples, appearance: int, language: int) -> int:
    """Numbers that a stage keeps beside the batch, mainly features of all images."""
    images = len(data.identities)
    if isinstance(stage, PromptStage):
        return images * language
    if isinstance(stage, CpclStage):
        return (images + len(data.captions)) * language if _clusters(stage) else 0
    if isinstance(stage, IntraCameraStage):
        classes = len(stage.class_cameras)
        return (images + classes * (1 + stage.config.instance_slots)) * appearance + classes * language
    if isinstance(stage, InterCameraStage):
        return (images + 2 * len(stage.class_cameras)) * appearance
    return 0
