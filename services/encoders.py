"""Which runtime an embedder's model gets: settings → trial → encoder."""

from __future__ import annotations

import contextlib
import logging
import sys
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.errors import ConfigurationError
from pipeline.runtimes.machine import CACHE_VARIABLE, has_cuda, usable_cores
from pipeline.runtimes.networks import NETWORKS, package_of
from pipeline.runtimes.runtime import Device, RuntimeOptions
from pipeline.runtimes.trial import Candidate, Outcome, Trial, ranked
from services.probe_crops import probe_crops
from services.runtime import model_source
from services.settings import EmbeddingSettings, Settings

if TYPE_CHECKING:
    from reid_models.serving.encoder import ServedEncoder
    from reid_models.serving.trial import TrialConfig

log = logging.getLogger(__name__)

AUTO = "auto"
_PACKAGES = {"torch", *NETWORKS}


def open_crop_encoder(settings: Settings, source: str | None = None) -> ServedEncoder:
    """The model of `source`, by default the wanted one, on the fastest runtime that is right on this machine.

    The first call for a model measures that, which takes a minute at most on a usual machine; later ones read it. A
    model that is no bundle is served by torch. Raises `ConfigurationError` for a runtime that is forced and refused.
    """
    from reid_models.manifest import bundle_folder

    chosen, named = settings.embedding, source or model_source(settings)
    folder = bundle_folder(named)
    if folder is None:
        return _on_torch(chosen, named)
    from reid_models.serving.opening import open_served
    from reid_models.serving.trial import REFERENCE

    candidate = _forced(chosen)
    if candidate != REFERENCE:
        try:
            best = _permitted(encoder_trial(settings, folder), chosen)
        except OSError as error:
            log.warning("no trial of runtimes can be kept (%s); set %s to a folder to write in", error, CACHE_VARIABLE)
            return _on_torch(chosen, named)
        if best is None:
            log.warning("no runtime could be tried; torch serves %s unmeasured", named)
            return _on_torch(chosen, named)
        candidate = best.candidate
        log.info("%s serves %s: %.0f crops/s", candidate, named, best.crops_per_s)
    options = RuntimeOptions(device=device_of(chosen), threads=threads_of(chosen), full_batch=chosen.batch_crops)
    return open_served(folder, candidate, options)


def encoder_trial(settings: Settings, folder: Path) -> Trial:
    """What the candidates that the settings permit do on this machine: as it was kept, else measured now."""
    from reid_models.serving.trial import kept_trial

    return kept_trial(folder, trial_config(settings), probe_crops)


def try_runtimes(settings: Settings) -> None:
    """Make the trial that the embedder would make at its start, while nothing else uses the machine yet.

    What is wrong with the settings is left for the embedder to say.
    """
    from reid_models.manifest import bundle_folder
    from reid_models.serving.trial import REFERENCE

    with contextlib.suppress(ConfigurationError, OSError):
        folder = bundle_folder(model_source(settings))
        if folder is not None and _forced(settings.embedding) != REFERENCE:
            encoder_trial(settings, folder)


def trial_config(settings: Settings, is_thorough: bool = False) -> TrialConfig:
    """What the settings permit a trial to choose from. Raises `ConfigurationError` for a runtime without an adapter."""
    from reid_models.serving.trial import TrialConfig, usual_candidates

    chosen = settings.embedding
    forced = _forced(chosen)
    usual = usual_candidates(device_of(chosen), is_thorough or chosen.runtime != AUTO)
    return TrialConfig(
        device=device_of(chosen),
        threads=threads_of(chosen),
        full_batch=chosen.batch_crops,
        candidates=(forced,) if forced else tuple(one for one in usual if is_permitted(one, chosen)),
        validation=settings.nightly.probe,
    )


def is_permitted(candidate: Candidate, chosen: EmbeddingSettings) -> bool:
    """Whether the settings leave this candidate to be chosen."""
    return chosen.runtime in (AUTO, candidate.runtime) and chosen.precision in (AUTO, candidate.precision)


def chosen_outcome(trial: Trial, chosen: EmbeddingSettings, at_work: Collection[str] = ()) -> Outcome | None:
    """The best outcome under these settings; None when nothing may serve.

    Two runtimes in one process rob each other of the cores: those `at_work` already are preferred to a faster one.
    """
    fit = [one for one in ranked(trial.outcomes) if is_permitted(one.candidate, chosen)]
    return next((one for one in fit if package_of(one.runtime) in at_work), next(iter(fit), None))


def outcome_in_words(outcome: Outcome) -> str:
    """Speed, parity and what is wrong, in one line."""
    speed = [] if outcome.crops_per_s is None else [f"{outcome.crops_per_s:.0f} crops/s"]
    latency = [] if outcome.latency_s is None else [f"{1000 * outcome.latency_s:.1f} ms for one"]
    parity = [] if outcome.similarity is None else [f"cosine {outcome.similarity:.5f} to float32"]
    accuracy = [] if outcome.accuracy is None else [f"mAP {outcome.accuracy:.4f}"]
    refused = [f"refused: {outcome.problem}"] if outcome.problem else []
    return ", ".join([*speed, *latency, *parity, *accuracy, *refused])


def device_of(chosen: EmbeddingSettings) -> Device:
    return "cuda" if chosen.device == "cuda" or (chosen.device == AUTO and has_cuda()) else "cpu"


def threads_of(chosen: EmbeddingSettings) -> int:
    return chosen.threads or usable_cores()


def _permitted(trial: Trial, chosen: EmbeddingSettings) -> Outcome | None:
    """The best outcome under these settings. Raises `ConfigurationError` where what is forced is refused."""
    best = chosen_outcome(trial, chosen, _PACKAGES & sys.modules.keys())
    if best is None and (chosen.runtime, chosen.precision) != (AUTO, AUTO):
        told = [f"{one.candidate}: {one.problem}" for one in trial.outcomes if is_permitted(one.candidate, chosen)]
        raise ConfigurationError(
            f"embedding.runtime {chosen.runtime} with embedding.precision {chosen.precision} cannot serve "
            f"({'; '.join(told) or 'there is no such pair'}); set both to auto, or see `sightline doctor`"
        )
    return best


def _forced(chosen: EmbeddingSettings) -> Candidate | None:
    """The one candidate that the settings name; None where they leave a choice."""
    if chosen.runtime == "auto" or chosen.precision == "auto":
        return None
    return Candidate(chosen.runtime, chosen.precision)


def _on_torch(chosen: EmbeddingSettings, source: str) -> ServedEncoder:
    from reid_models.inference import load_encoder

    if chosen.runtime not in (AUTO, "torch"):
        raise ConfigurationError(
            f"{source} is no bundle, and embedding.runtime is {chosen.runtime}; make it one with "
            f"`sightline models import {source}`, or set embedding.runtime to torch"
        )
    return load_encoder(source, device=chosen.device, threads=chosen.threads or None)
