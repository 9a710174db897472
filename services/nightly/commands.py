"""`sightline nightly`: settings → archive, registry and training → one night, or one for every moment of a schedule."""

from __future__ import annotations

import logging
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

from rich.console import Console
from rich.markup import escape

from pipeline.adapters.clock import SystemClock
from pipeline.audit import AuditAction
from pipeline.errors import ConfigurationError, SightlineError
from reid_models.inference import BundleEncoder, load_encoder
from reid_models.manifest import read_manifest
from reid_models.probe import find_probe, probe_digest
from reid_models.promotion import GateConfig
from reid_models.registry import SERVING
from services.audited import promotion, record_at_terminal
from services.local_zone import local_zone
from services.nightly.archive import NightRules
from services.nightly.night import FineTune, NightConfig, NightTools, is_unfinished, look_ahead, run_night
from services.nightly.report import LATEST, NightReport, Outcome, read_report, show_metrics
from services.nightly.schedule import keep_nights, next_due
from services.runtime import configure_logging, open_blobs, open_registry, open_store, serving_metrics
from services.settings import NightlySettings, Settings

log = logging.getLogger(__name__)


def run_once(settings: Settings, fine_tune: FineTune, console: Console) -> int:
    """One night, now; the exit code is 1 for one that failed, and 0 for one that was promoted, refused or skipped.

    A killed night is gone on with.
    """
    configure_logging("nightly", settings)
    _end_on_request()
    report = run_night(tools(settings, fine_tune), night_config(settings.nightly))
    console.print(f"{report.outcome.value}: {escape('; '.join(report.reasons))}", soft_wrap=True)
    console.print(f"Report: {settings.nights / 'reports' / report.night}.md", soft_wrap=True)
    return exit_code(report)


def keep_running(settings: Settings, fine_tune: FineTune, schedule: str) -> None:
    """A night at each moment of `schedule`, until ended; first what a killed run left. Shows metrics meanwhile.

    Raises `ConfigurationError` at once for settings that can never work.
    """
    configure_logging("nightly", settings)
    _end_on_request()
    clock, zone = SystemClock(), local_zone()
    next_due(schedule, clock.now(), zone)
    nightly, config = tools(settings, fine_tune), night_config(settings.nightly)

    def night() -> None:
        try:
            run_night(nightly, config)
        except SightlineError as error:  # another run is at work, or the pointer cannot be read: perhaps not tomorrow
            log.error("no night: %s", error)

    with serving_metrics(settings.metrics_host, settings.metrics_port):
        last = read_report(settings.nights / LATEST)
        if last is not None:
            show_metrics(last)
        if is_unfinished(settings.nights):
            night()
        keep_nights(schedule, clock, zone, night)


def show_plan(settings: Settings, fine_tune: FineTune, console: Console) -> None:
    """What a night beginning now would learn from and be judged by."""
    nightly, config = tools(settings, fine_tune), night_config(settings.nightly)
    for line in _plan_lines(nightly, config):
        console.print(escape(line), soft_wrap=True, highlight=False)


def tools(settings: Settings, fine_tune: FineTune) -> NightTools:
    """Raises `ConfigurationError` where the pointer that a night changes is not the one that services follow."""
    if settings.embedding.model != SERVING:
        raise ConfigurationError(
            f"embedding.model is {settings.embedding.model!r}, so no service would follow the pointer that a night "
            f"changes; set it to {SERVING!r}, and let this model begin with `sightline models promote`"
        )

    def open_encoder(bundle: Path) -> BundleEncoder:
        return load_encoder(bundle, settings.embedding.device, settings.embedding.threads or None)

    def record(digest: str, reason: str) -> None:
        record_at_terminal(settings, AuditAction.OPERATION, promotion(digest), {"reason": reason})

    return NightTools(
        store=open_store(settings),
        blobs=open_blobs(settings),
        registry=open_registry(settings),
        fine_tune=fine_tune,
        open_encoder=open_encoder,
        clock=SystemClock(),
        folder=settings.nights,
        record=record,
    )


def night_config(chosen: NightlySettings) -> NightConfig:
    return NightConfig(
        days=chosen.days,
        training=f"budget {chosen.budget_s} s, seed {chosen.seed}",
        probe=None if chosen.probe is None else find_probe(chosen.probe, chosen.probe_captions),
        gates=GateConfig(
            least_gain=chosen.least_gain,
            largest_text_loss=chosen.largest_text_loss,
            largest_pair_loss=chosen.largest_pair_loss,
            least_pair_queries=chosen.least_pair_queries,
            largest_track_loss=chosen.largest_track_loss,
        ),
        rules=NightRules(chosen.held_out, chosen.most_held_out_tracks, chosen.least_cameras, chosen.least_tracks),
        kept_candidates=chosen.kept_candidates,
        attempts=chosen.attempts,
        resume_within_s=chosen.resume_within_s,
    )


def exit_code(report: NightReport) -> int:
    return 1 if report.outcome is Outcome.FAILED else 0


def _plan_lines(nightly: NightTools, config: NightConfig) -> Iterator[str]:
    found, lack = look_ahead(nightly, config)
    serving, gates = read_manifest(nightly.registry.wanted()), config.gates
    yield f"archive: {found.tracklets} tracklets with {found.crops} crops in the last {config.days:g} days"
    yield f"to learn from: {found.training_tracks} tracks of {found.cameras} cameras; {found.held_out_tracks} held out"
    yield f"begins from: {serving.name} {serving.digest}"
    if config.probe is None:
        yield f"judged by held-out tracks alone, mAP up by {gates.least_gain:g}: no probe set (nightly.probe)"
    else:
        yield f"judged by probe set {config.probe.images}, digest {probe_digest(config.probe)}:"
        yield f"  image mAP up by {gates.least_gain:g}; no camera pair down by more than {gates.largest_pair_loss:g}"
        yield f"  text rank-1 not down by more than {gates.largest_text_loss:g}" + (
            "" if config.probe.captions else ": not judged, there are no captions"
        )
    yield f"would be skipped: {lack}" if lack else "would run"
    if is_unfinished(nightly.folder):
        yield "a killed night left its work; the next run goes on with it"


def _end_on_request() -> None:
    """SIGTERM ends the process as Ctrl-C does, also as the first process of a container; the next run goes on."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
