"""A serving model learns from its site: CCAFL on the tracks of the archive, then a step back towards the old weights.

Tracks teach appearance alone, and a model that learns from them slowly forgets its words. Two things hold them: a term
that keeps language features near what the serving model says of a person on the whole (`language_keeper`), and the
candidate's weights, which are a weighted mean of serving and trained ones (Wortsman et al. 2022, WiSE-FT).
"""

from __future__ import annotations

import copy
import logging
import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from datetime import date
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from reid_models.bundle import Bundle, load_bundle, model_digest, save_bundle, stored_weights
from reid_models.datasets.sample import F32, I64, cameras_of, identities_of
from reid_models.datasets.tracklets import TrackedSamples
from reid_models.datasets.training_sets import U8, IntraCameraSet, decoded_images, digest_of_samples, intra_camera_set
from reid_models.encoder import ImageFeatures, PersonEncoder, mixed
from reid_models.extraction import extract
from reid_models.inference import chosen_precision
from reid_models.language_keeper import KeepsLanguage, LanguageWeights
from reid_models.loader import LoaderConfig
from reid_models.losses.adversarial import AdversarialConfig
from reid_models.manifest import InputFormat, Training
from reid_models.methods.ccafl import CcaflConfig, CcaflStage, InterCameraStage, ccafl
from reid_models.schedules import OptimiserConfig, Schedule
from reid_models.track_linking import LinkingConfig, link_tracks, tracks_of
from reid_models.trainer import Figures, Run, TrainerConfig, train

log = logging.getLogger(__name__)

BUNDLE = "candidate"


@dataclass(frozen=True, slots=True)
class FineTuneConfig:
    """A short course: the model has learnt to see people elsewhere, and meets only a new place."""

    seed: int = 0
    device: str = "cpu"
    prompt_epochs: int = 0  # of text prompts for every track; 0: none, and no text terms
    intra_epochs: int = 1
    inter_epochs: int = 4
    identities_per_batch: int = 16
    images_per_identity: int = 4
    most_batches_per_epoch: int = 200
    learning_rate: float = 4e-4
    pairs_per_class: float = 2.0  # which association looks at; more link people who passed one camera only
    # Of pieces of broken tracks; None: never. Models meet sites that look foreign, so better too few than wrong ones.
    linking: LinkingConfig | None = field(default_factory=lambda: LinkingConfig(5.0, 0.002))
    language: LanguageWeights = field(default_factory=LanguageWeights)  # of the terms that hold language features
    old_share: float = 0.5  # weight of the serving model in the candidate


def fine_tune(
    bundle: Path,
    tracks: TrackedSamples,
    work: Path,
    config: FineTuneConfig,
    made_on: date,
    is_time_up: Callable[[], bool] = lambda: False,
) -> Path:
    """The folder of a candidate below `work`. After a kill the same call goes on from the last epoch.

    `is_time_up` is asked after each epoch; what has been learnt by then is the candidate.
    """
    serving = load_bundle(bundle)
    learner = serving.encoder.to(config.device)
    # The spoilt pictures of a few hundred batches are no measure of what the model will see. A night that moved the
    # statistics cost the taught small model 19 points of mAP at a learning rate near zero; one that lets them rest
    # brought 30 (first night of `tests/end_to_end/test_nights.py`).
    learner.statistics_rest = True
    old_weights = copy.deepcopy(learner.state_dict())
    data = _training_set(tracks, learner, serving.manifest.input, config, work)
    digest = digest_of_samples(tracks.samples)
    method = ccafl(learner, serving.tokenize, data, _ccafl_config(config, serving, data), config.seed)
    old_language = _features(learner, lambda found: found.language, data.images, config)
    stages = [
        KeepsLanguage(stage, learner, old_language, partial(people_of, stage), config.language)
        if isinstance(stage, CcaflStage)
        else stage
        for stage in method.stages
    ]

    def report(stage: str, epochs: int, _: Figures) -> None:
        if is_time_up():
            raise _TimeIsUp(f"after {epochs} epochs, in stage {stage}")

    run = Run(work, {"bundle": serving.manifest.digest, **asdict(config)}, digest, report=report)
    try:
        train(replace(method, stages=stages), TrainerConfig(config.seed, config.device, _precision(config)), run)
    except _TimeIsUp as end:
        log.info("the time of the training was up %s", end)
    encoder = learner.cpu().eval()
    encoder.load_state_dict(mixed(old_weights, encoder.state_dict(), config.old_share))
    training = Training(description=_told(serving, tracks), data_digest=digest)
    return _stored(work / BUNDLE, serving, encoder, training, made_on)


def linked_labels(tracks: TrackedSamples, features: F32, config: LinkingConfig) -> I64:
    """(N,) the track of each crop, numbered from 0, where pieces that look like one person's are one track.

    `features` are unit vectors (N, d).
    """
    labels = np.unique(identities_of(tracks.samples), return_inverse=True)[1].reshape(-1)
    cameras = cameras_of(tracks.samples)
    pieces = tracks_of(features, labels, cameras, tracks.track_started_at, tracks.track_ended_at)
    return link_tracks(pieces, config)[labels]


def people_of(stage: CcaflStage) -> I64:
    """(N,) whom the stage at present takes for one person; a class without partner is a person of its own."""
    people = np.arange(len(stage.class_cameras), dtype=np.int64)
    if isinstance(stage, InterCameraStage):
        linked = stage.components >= 0
        people[linked] = len(people) + stage.components[linked]
    return people[stage.classes]


class _TimeIsUp(Exception):
    """No error, but the only way out of the loop."""


def _training_set(
    tracks: TrackedSamples, encoder: PersonEncoder, size: InputFormat, config: FineTuneConfig, work: Path
) -> IntraCameraSet:
    """A track is an identity of its camera, pieces of a broken one as far as the serving model puts them together."""
    images = decoded_images(tracks.samples, (size.height_px, size.width_px), work / "images")
    labels = identities_of(tracks.samples)
    if config.linking is not None:
        features = _features(encoder, lambda found: found.appearance, images, config).numpy()
        labels = linked_labels(tracks, features, config.linking)
        log.info("%d tracks behind the linking of pieces", labels.max() + 1)
    return intra_camera_set(images, cameras_of(tracks.samples), labels)


def _features(
    encoder: PersonEncoder, kind: Callable[[ImageFeatures], Tensor], images: U8, config: FineTuneConfig
) -> Tensor:
    """(N, d) unit features of all images by the encoder as it is now."""

    def encode(batch: Tensor) -> Tensor:
        return functional.normalize(kind(encoder(batch)).float(), dim=1)

    return extract(encoder, encode, images, (images.shape[1], images.shape[2]), config.device, "float32")


def _ccafl_config(config: FineTuneConfig, serving: Bundle, data: IntraCameraSet) -> CcaflConfig:
    size = (serving.manifest.input.height_px, serving.manifest.input.width_px)
    per_batch = config.identities_per_batch * config.images_per_identity
    epochs = config.intra_epochs + config.inter_epochs
    return CcaflConfig(
        loader=LoaderConfig(((0, size),)),
        identities_per_batch=config.identities_per_batch,
        images_per_identity=config.images_per_identity,
        batches_per_epoch=min(config.most_batches_per_epoch, math.ceil(len(data.images) / per_batch)),
        prompt_epochs=config.prompt_epochs,
        intra_epochs=config.intra_epochs,
        inter_epochs=config.inter_epochs,
        momentum=0.5,
        inter_update="mean",
        instance_slots=8,
        pairs_per_class=config.pairs_per_class,
        is_camera_centred=True,
        is_exclusive=True,
        text_from_epoch=config.intra_epochs,
        adversarial_epochs=(config.intra_epochs, epochs),  # late in the published course, but this one is short
        adversarial=AdversarialConfig(margin=0.3),
        classifier=OptimiserConfig(1e-3, 5e-4),
        encoder=OptimiserConfig(config.learning_rate, 5e-4, schedule=Schedule(1, 0.1, epochs=epochs, floor=0.01)),
        device=config.device,
        precision=_precision(config),
    )


def _precision(config: FineTuneConfig) -> Literal["bfloat16", "float32"]:
    return "bfloat16" if chosen_precision(torch.device(config.device)) is torch.bfloat16 else "float32"


def _told(serving: Bundle, tracks: TrackedSamples) -> str:
    people = len(np.unique(identities_of(tracks.samples)))
    return f"{serving.manifest.name} {serving.manifest.digest}, then {len(tracks.samples)} crops of {people} tracks"


def _stored(folder: Path, serving: Bundle, encoder: PersonEncoder, training: Training, made_on: date) -> Path:
    old = serving.manifest
    digest = model_digest(stored_weights(encoder), old.architecture, old.input, old.vocabulary)
    update = {"digest": digest, "created": made_on.isoformat(), "training": training, "metrics": {}}
    save_bundle(folder, encoder, old.model_copy(update=update))
    return folder
