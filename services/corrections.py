"""Corrections and explanations for people: what the API and the command line ask for, and how both put it in words."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from pipeline.adapters.explanations import Explanation, Reasoned
from pipeline.contracts import IdentityEvent, IdentityEventKind, TrackletId
from pipeline.decisions import CandidateEvidence, Correction, CorrectionKind, CorrectionRequest
from pipeline.errors import InvalidQuery
from services.api.words import share_in_words

Told = Callable[[float], str]  # a moment in words

CUT = "More than this was weighed: it tells of cameras or people that you may not see."


class CorrectionDesk(Protocol):
    """The part of the database that corrections need: `SqlStore`, in memory for tests."""

    def add_correction(self, request: CorrectionRequest, made_at: float) -> int: ...

    def correction(self, number: int) -> Correction | None: ...

    def corrections(self, limit: int) -> list[Correction]: ...


class Explanations(Protocol):
    """Why tracklets belong to their people: the database, or what somebody may see of it."""

    def explanation(self, tracklet_id: TrackletId) -> Explanation | None: ...


def explained(desk: Explanations, tracklet_id: str) -> Explanation:
    """Why a tracklet belongs to its person. Raises `UnknownTracklet`."""
    found = desk.explanation(TrackletId(tracklet_id))
    if found is None:
        raise UnknownTracklet(tracklet_id)
    return found


class UnknownTracklet(InvalidQuery):
    """No tracklet has this name."""

    def __init__(self, tracklet_id: str) -> None:
        super().__init__(
            f"there is no tracklet {tracklet_id[:200]!r}",
            "the name of a tracklet that was seen: CAMERA/BOOT/TRACK/SEQUENCE",
            "take the name from a person's route",
        )


def audited(request: CorrectionRequest) -> dict[str, Any]:
    """What the audit log keeps of a correction, for ever: of people their numbers alone. The rest stands with the
    correction, and goes with whom it is about."""
    return {
        "made_by": request.made_by,
        "persons": list(request.global_ids),
        "tracklets": len(request.tracklet_ids),
        "undoes": request.undoes,
    }


def viewed(explanation: Explanation) -> str:
    """What the audit log keeps of a look at why a tracklet is somebody's: a name tells camera and track, a number does
    not."""
    return f"a tracklet of person {explanation.tracklet.global_id}"


def correction_in_words(correction: Correction) -> str:
    """What was said, as a sentence without who and when."""
    request = correction.request
    persons, tracklets = [str(number) for number in request.global_ids], request.tracklet_ids
    if request.kind is CorrectionKind.MERGE:
        return f"persons {persons[0]} and {persons[1]} are one"
    if request.kind is CorrectionKind.SPLIT:
        return f"{_counted(len(tracklets), 'tracklet is', 'tracklets are')} not person {persons[0]}"
    if request.kind is CorrectionKind.UNDO:
        return f"correction {request.undoes} was wrong"
    verb = "show one person" if request.kind is CorrectionKind.SAME else "show two people"
    return f"{tracklets[0]} and {tracklets[1]} {verb}"


def state_in_words(correction: Correction) -> str:
    """What came of it so far."""
    if correction.applied_at is None:
        return "waits for the matcher"
    undone = f"; undone by correction {correction.undone_by}" if correction.undone_by is not None else ""
    return correction.outcome + undone


def explanation_in_words(found: Explanation, moment: Told) -> list[str]:
    """One sentence each: who it is, why, who else it could have been, what changed since, and what is law."""
    seen, decision = found.tracklet, found.decision
    where = f"{seen.tracklet_id} was seen at {seen.camera_id} from {moment(seen.started_at)} to {moment(seen.ended_at)}"
    if decision is None:
        return [f"{where}. It has no identity yet."]
    told = [f"{where}. It is person {seen.global_id}.", _decision(decision.event, moment), *_evidence(decision)]
    for change in found.changes:
        told += [_change(change.event, moment), *_evidence(change)]
    if found.is_cut:
        told.append(CUT)
    told += [
        f"Law: correction {law.number} by {law.request.made_by} says that {correction_in_words(law)}."
        for law in found.laws
    ]
    return told


def _decision(event: IdentityEvent, moment: Told) -> str:
    kind = "opened by it" if event.is_new else "given to it"
    surely = "tentative, " if event.is_tentative else ""
    return (
        f"Person {event.global_id} was {kind} at {moment(event.decided_at)} ({surely}confidence "
        f"{share_in_words(event.confidence)}): {event.reason}."
    )


def _evidence(reasoned: Reasoned) -> list[str]:
    evidence = reasoned.evidence
    if evidence is None:
        return []
    told = [_candidate(candidate) for candidate in evidence.candidates]
    is_late = reasoned.event.kind is not IdentityEventKind.ASSIGNED
    otherwise, done = ("Two people", "Persons are merged") if is_late else ("Somebody new", "A known person is joined")
    told.append(
        f"{otherwise}: probability {evidence.new_probability:.3f}. {done} from {evidence.threshold:.3f} on; by "
        f"calibration {evidence.calibration}."
    )
    return told


def _candidate(candidate: CandidateEvidence) -> str:
    terms = f"similarity {candidate.similarity:.2f} (log-odds {candidate.appearance_log_odds:+.2f})"
    if candidate.gap_s is not None:
        way = "before the end of" if candidate.gap_s < 0 else "after"
        terms += f", {abs(candidate.gap_s):.0f} s {way} the last sighting (log-odds {candidate.transit_log_odds:+.2f})"
    verdict = f"Not possible: {candidate.constraint}." if candidate.constraint else ""
    told = f"Candidate {candidate.global_id}, last seen at {candidate.camera_id}: {terms}"
    return f"{told}; probability {candidate.probability:.3f}. {verdict}".rstrip()


def _change(event: IdentityEvent, moment: Told) -> str:
    return (
        f"It went from person {event.from_global_id} to {event.global_id} at {moment(event.decided_at)} "
        f"({event.kind.value}): {event.reason}."
    )


def _counted(count: int, one: str, many: str) -> str:
    return f"{count} {one if count == 1 else many}"
