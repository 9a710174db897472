"""One way to say who is who for every door: the JSON endpoints and the pages keep and record the same."""

from __future__ import annotations

from pipeline.adapters.explanations import Explanation
from pipeline.audit import AuditAction
from pipeline.decisions import Correction, CorrectionKind, CorrectionRequest
from services.api.dependencies import ApiDependencies
from services.api.problems import Missing
from services.corrections import audited, explained, viewed


def add_correction(deps: ApiDependencies, request: CorrectionRequest) -> Correction:
    """Keep what somebody says; the matcher applies it within seconds. Raises `InvalidQuery`."""
    deps.record(AuditAction.CORRECTION, request.kind.value, audited(request))
    return known_correction(deps, deps.corrections.add_correction(request, deps.clock.now()))


def take_back(deps: ApiDependencies, number: int, made_by: str | None, note: str = "") -> Correction:
    """Say that a correction was wrong. Raises `InvalidQuery`."""
    return add_correction(
        deps, CorrectionRequest(CorrectionKind.UNDO, made_by=deps.maker(made_by), note=note, undoes=number)
    )


def known_correction(deps: ApiDependencies, number: int) -> Correction:
    """One correction, and what came of it. Raises `Missing`."""
    found = deps.corrections.correction(number)
    if found is None:
        raise Missing(f"there is no correction {number}", "the number of one that was made", "look at the list of them")
    return found


def explain(deps: ApiDependencies, tracklet_id: str) -> Explanation:
    """Why a tracklet belongs to its person; that it was asked is recorded. Raises `UnknownTracklet`."""
    found = explained(deps.explanations, tracklet_id)
    deps.record(AuditAction.VIEW, viewed(found))
    return found
