"""One night, from archive to pointer. Whatever happens ends in a report; only a kill leaves work for the next run.

The verdict is on disk before the pointer changes, so a run that was killed in between carries it out and no more.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Protocol

from pipeline.adapters.folder_lock import hold_folder
from pipeline.contracts import TrackletId
from pipeline.errors import ConfigurationError, SightlineError
from pipeline.interfaces import Blobs, Clock
from reid_models.benchmarks import ScoredEncoder
from reid_models.datasets.tracklet_export import TrackletExport
from reid_models.datasets.tracklets import TrackedSamples
from reid_models.manifest import MANIFEST, Calibration, measured_anew, read_manifest
from reid_models.probe import Probe, examine, probe_digest
from reid_models.promotion import Figures, GateConfig, Verdict, judge
from reid_models.registry import Registry
from services.nightly.archive import ArchiveStore, NightRules, copied, judge_tracks, offered, survey, too_little
from services.nightly.copies import LOCK, WORK
from services.nightly.plan import NightPlan, continued, fresh_plan, read_plan
from services.nightly.report import NightReport, Outcome, Survey, gate_rows, read_report, replace_text, write_report

log = logging.getLogger(__name__)

PLAN, DECIDED, FROZEN, COPY = "plan.json", "decided.json", "probe-digest.txt", "tracklets"


class FineTune(Protocol):
    """Learning from a site: CCAFL in production, a changed copy in tests."""

    def __call__(self, bundle: Path, tracks: TrackedSamples, work: Path) -> Path:
        """The folder of a candidate bundle, below `work`. Called again with the same after a kill, it goes on."""


@dataclass(frozen=True, slots=True)
class NightConfig:
    """What a night is made of; see `NightlySettings`."""

    days: float
    training: str  # names everything that decides about the training
    probe: Probe | None = None
    gates: GateConfig = field(default_factory=GateConfig)
    rules: NightRules = field(default_factory=NightRules)
    kept_candidates: int = 3
    attempts: int = 3
    resume_within_s: float = 12 * 3600.0


@dataclass(frozen=True, slots=True)
class NightTools:
    """What a night works with. `folder` is its own."""

    store: ArchiveStore
    blobs: Blobs
    registry: Registry
    fine_tune: FineTune
    open_encoder: Callable[[Path], ScoredEncoder]
    clock: Clock
    folder: Path
    record: Callable[
        [str, str], None
    ]  # the digest of a model that is about to be promoted, and why: into the audit log


@dataclass(frozen=True, slots=True)
class _Measured:
    figures: Figures
    calibration: Calibration | None


def is_unfinished(folder: Path) -> bool:
    """Whether a killed night left work behind."""
    return (folder / WORK / PLAN).exists()


def run_night(tools: NightTools, config: NightConfig) -> NightReport:
    """Learn, judge, and promote or refuse. Raises `ConfigurationError` while another run is at work."""
    with hold_folder(tools.folder, LOCK, "one night at a time: wait for it, or stop process {pid}"):
        work = tools.folder / WORK
        plan = _begin(tools, config, work)
        report = read_report(work / DECIDED) or _guarded(partial(_decide, tools, config, plan, work), plan, tools.clock)
        replace_text(work / DECIDED, report.model_dump_json())
        if report.outcome is Outcome.PROMOTED:
            report = _guarded(partial(_promote, tools, report), plan, tools.clock)
        document = write_report(tools.folder, report)
        tools.registry.remove_unused(config.kept_candidates)
        # Crops of people do not stay behind in a second place.
        shutil.rmtree(work)
        log.info("night %s ended: %s; see %s", report.night, report.outcome.value, document)
        return report


def look_ahead(tools: NightTools, config: NightConfig) -> tuple[Survey, str | None]:
    """What a night beginning now would learn from, and why it would be skipped; changes nothing."""
    plan = _fresh(tools, config)
    found = survey(offered(tools.store, plan.since_at, plan.until_at, config.rules), config.rules)
    return found, too_little(found, config.rules)


def _fresh(tools: NightTools, config: NightConfig) -> NightPlan:
    serving = read_manifest(tools.registry.wanted()).digest
    # How long is resumed and how much is kept decides nothing about the result.
    deciding = replace(config, attempts=0, resume_within_s=0.0, kept_candidates=0)
    return fresh_plan(tools.clock.now(), config.days, serving, repr(deciding))


def _begin(tools: NightTools, config: NightConfig, work: Path) -> NightPlan:
    """Go on with what a killed run left, or begin anew in an empty folder."""
    found, fresh = read_plan(work / PLAN), _fresh(tools, config)
    decided = read_report(work / DECIDED)
    plan = continued(found, fresh, config.resume_within_s)
    if _has_learnt_from_erased(tools, work):
        log.warning("somebody whom the killed night learnt from was erased; it is begun anew")
        found, plan = None, fresh
    if found is not None and decided is not None:
        plan = found  # it only has to be carried out, however long ago that was
    elif plan is fresh:
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir(parents=True)
    else:
        log.warning("night %s was killed; attempt %d goes on with it", plan.night, plan.attempts)
    replace_text(work / PLAN, plan.model_dump_json())
    return plan


def _has_learnt_from_erased(tools: NightTools, work: Path) -> bool:
    """Whether the copy of a night holds somebody who was erased since it was made; one that cannot be read may."""
    if not (work / COPY).exists():
        return False
    try:
        records = TrackletExport(work / COPY).records
    except ConfigurationError as error:
        log.warning("the copy of a killed night is of no use: %s", error)
        return True
    return bool(tools.store.erased([TrackletId(record.tracklet_id) for record in records]))


def _guarded(step: Callable[[], NightReport], plan: NightPlan, clock: Clock) -> NightReport:
    """What a step reports, or a report of its failure."""
    try:
        return step()
    except SightlineError as error:
        reason = str(error)
        log.error("night %s failed: %s", plan.night, reason)
    except Exception as error:
        # Training and evaluation are large: whatever breaks in them must end in the report and leave the pointer alone.
        log.exception("night %s failed", plan.night)
        reason = f"{type(error).__name__}: {error}"
    return _report(plan, clock, Outcome.FAILED, reason)


def _decide(tools: NightTools, config: NightConfig, plan: NightPlan, work: Path) -> NightReport:
    if plan.attempts > config.attempts:
        reason = f"the run was killed {config.attempts} times; too little memory, or stopped by its surroundings?"
        return _report(plan, tools.clock, Outcome.FAILED, reason)
    records = offered(tools.store, plan.since_at, plan.until_at, config.rules)
    found = survey(records, config.rules)
    lack = too_little(found, config.rules)
    if lack is not None:
        return _report(plan, tools.clock, Outcome.SKIPPED, lack, survey=found)
    digest = None if config.probe is None else _frozen(config.probe, tools.folder / FROZEN)
    tracks = copied(records, tools.blobs, work / COPY, config.rules)
    serving = tools.registry.wanted()
    before = _measure(tools, config, serving, tracks.held_out)
    log.info("night %s learns from %d tracks of %d cameras", plan.night, found.training_tracks, found.cameras)
    candidate = tools.fine_tune(serving, tracks.train, work / "training")
    candidate_digest = read_manifest(candidate).digest
    told = partial(_report, plan, tools.clock, survey=found, probe_digest=digest, candidate_digest=candidate_digest)
    if candidate_digest == plan.serving_digest:
        return told(Outcome.REFUSED, "the training changed nothing: the candidate is the serving model")
    after = _measure(tools, config, candidate, tracks.held_out)
    if _has_learnt_from_erased(tools, work):
        return told(Outcome.REFUSED, "somebody whom it learnt from was erased meanwhile; the candidate is thrown away")
    verdict = judge(before.figures, after.figures, config.gates)
    _keep(tools.registry, candidate, after)
    if read_manifest(tools.registry.wanted()).digest != plan.serving_digest:
        reason = "another model was promoted by hand meanwhile, and the candidate was not compared with it"
        return told(Outcome.REFUSED, reason, verdict=verdict)
    if verdict.is_promoted:
        return told(Outcome.PROMOTED, f"every gate is passed; {verdict.gates[0]}", verdict=verdict)
    return told(Outcome.REFUSED, *verdict.reasons, verdict=verdict)


def _frozen(probe: Probe, path: Path) -> str:
    """The digest of the probe set, which is the one of its first use. Raises `ConfigurationError` if it changed."""
    digest = probe_digest(probe)
    if not path.exists():
        replace_text(path, digest + "\n")
    frozen = path.read_text(encoding="utf-8").strip()
    if frozen != digest:
        raise ConfigurationError(
            f"the probe set {probe.images} has digest {digest}, but {frozen} was frozen at its first use, and nights "
            f"are compared on the same images only; put it back, or delete {path} to begin with the new one"
        )
    return digest


def _measure(tools: NightTools, config: NightConfig, bundle: Path, held_out: TrackedSamples) -> _Measured:
    encoder = tools.open_encoder(bundle)
    precision = judge_tracks(encoder, held_out)
    if config.probe is None:
        return _Measured(Figures(tracks_mean_average_precision=precision), None)
    probed = examine(encoder, config.probe)
    return _Measured(replace(probed.figures, tracks_mean_average_precision=precision), probed.calibration)


def _keep(registry: Registry, candidate: Path, measured: _Measured) -> None:
    """Add the candidate to the registry with its figures, and calibrated on the probe set where that has captions."""
    figures = measured.figures
    named = {
        "probe_image_mean_average_precision": figures.image_mean_average_precision,
        "probe_text_rank_1": figures.text_rank_1,
        "held_out_tracks_mean_average_precision": figures.tracks_mean_average_precision,
    }
    manifest = read_manifest(candidate)
    update = {
        "metrics": {name: round(figure, 4) for name, figure in named.items() if figure is not None},
        "calibration": measured_anew(manifest.calibration, measured.calibration),
    }
    replace_text(candidate / MANIFEST, manifest.model_copy(update=update).model_dump_json(indent=1) + "\n")
    registry.add(candidate)


def _promote(tools: NightTools, report: NightReport) -> NightReport:
    """Change the pointer, once: an operator may have gone back since a run was killed between this and its end."""
    mark = f"night {report.night}: "
    if not any(change.reason.startswith(mark) for change in tools.registry.changes()):
        digest, reason = str(report.candidate_digest), mark + report.reasons[0]
        tools.record(digest, reason)
        tools.registry.promote(digest, report.ended_at, reason)
    return report


def _report(
    plan: NightPlan,
    clock: Clock,
    outcome: Outcome,
    *reasons: str,
    survey: Survey | None = None,
    verdict: Verdict | None = None,
    probe_digest: str | None = None,
    candidate_digest: str | None = None,
) -> NightReport:
    return NightReport(
        night=plan.night,
        outcome=outcome,
        reasons=reasons,
        started_at=plan.started_at,
        ended_at=clock.now(),
        since_at=plan.since_at,
        until_at=plan.until_at,
        attempts=plan.attempts,
        serving_digest=plan.serving_digest,
        candidate_digest=candidate_digest,
        probe_digest=probe_digest,
        survey=survey,
        gates=gate_rows(verdict) if verdict else (),
        remarks=verdict.remarks if verdict else (),
    )
