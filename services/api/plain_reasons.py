"""Why a tracklet belongs to its person, for people who know neither log-odds nor calibrations. Pure.

The numbers behind it are told by `sightline explain` and the API.
"""

from __future__ import annotations

from pipeline.adapters.explanations import Explanation, Reasoned
from pipeline.decisions import CandidateEvidence, Evidence
from services.api.words import duration_in_words, share_in_words
from services.corrections import CUT, Told, correction_in_words

_LOOKS = ((3.0, "very alike"), (0.0, "rather alike"), (-3.0, "rather different"))  # from these log-odds on
_TELLING = 0.5  # log-odds of a walk; nearer to 0 it says next to nothing
_OTHERS = 2  # whom else it could have been, at most


def plain_reasons(found: Explanation, moment: Told) -> list[str]:
    """One sentence each: when and where it was, why it is whom, who else it could have been, and what changed since."""
    seen = found.tracklet
    told = [f"Seen at {seen.camera_id} from {moment(seen.started_at)} to {moment(seen.ended_at)}."]
    if found.decision is None:
        return [*told, "Who it is has not been decided yet."]
    told += _decision(found.decision, moment, found.is_cut)
    told += [_change(change, moment) for change in found.changes]
    told += [
        f"{law.request.made_by} said that {correction_in_words(law)} (correction {law.number}); that is law."
        for law in found.laws
    ]
    return [*told, CUT] if found.is_cut else told


def _decision(decision: Reasoned, moment: Told, is_cut: bool) -> list[str]:
    event, evidence = decision.event, decision.evidence
    told = f"At {moment(event.decided_at)} it was taken for {'somebody new, ' * event.is_new}person {event.global_id}"
    sure = f"{share_in_words(event.confidence)} sure."
    if evidence is None:  # only the first piece of a track is weighed
        return [f"{told}{', as the rest of its way past this camera was' * (not event.is_new)}: {sure}"]
    own = next((each for each in evidence.candidates if each.global_id == event.global_id), None)
    others = [each for each in evidence.candidates if each is not own]
    is_first = event.is_new and not others and not is_cut
    because = f", who {_grounds(own)}" if own else ", as nobody had been seen before" * is_first
    later = ["Later sightings may well change that."] if event.is_tentative else []
    return [f"{told}{because}: {sure}", *(_other(each, evidence) for each in others[:_OTHERS]), *later]


def _other(seen: CandidateEvidence, evidence: Evidence) -> str:
    told = f"Person {seen.global_id} {_grounds(seen)}"
    if seen.constraint is not None:
        return f"{told}, but was {seen.constraint}."
    few = f", and {share_in_words(evidence.threshold)} are needed" * (seen.probability < evidence.threshold)
    return f"{told}: only {share_in_words(seen.probability)} sure{few}."


def _change(change: Reasoned, moment: Told) -> str:
    event, evidence = change.event, change.evidence
    told = f"At {moment(event.decided_at)} it went from person {event.from_global_id} to person {event.global_id}"
    if event.confidence == 1.0 and evidence is None:  # people are as sure as that
        return f"{told}: {event.reason}."
    sure = f"{share_in_words(event.confidence)} sure."
    if evidence is None:
        return f"{told}, because some sightings of the former look and walk like somebody else: {sure}"
    seen = next(iter(evidence.candidates), None)  # none where whoever it was is erased
    apart = f", {duration_in_words(abs(seen.gap_s))} apart{_usual(seen)}" if seen and seen.gap_s is not None else ""
    alike = f", who look {_alike(seen)}{apart}" if seen else ""
    return f"{told}, because both are one{alike}: {sure}"


def _grounds(seen: CandidateEvidence) -> str:
    """`looks very alike (0.71), and had left lobby 23 s before, as people do`."""
    told = f"looks {_alike(seen)}"
    if seen.gap_s is None:
        return told
    if seen.gap_s < 0:
        return f"{told}, and was still at {seen.camera_id}{_usual(seen)}"
    return f"{told}, and had left {seen.camera_id} {duration_in_words(seen.gap_s)} before{_usual(seen)}"


def _alike(seen: CandidateEvidence) -> str:
    words = next((words for least, words in _LOOKS if seen.appearance_log_odds >= least), "different")
    return f"{words} ({seen.similarity:.2f})"


def _usual(seen: CandidateEvidence) -> str:
    odds = seen.transit_log_odds
    return ", as people do" if odds >= _TELLING else ", as few people do" if odds <= -_TELLING else ""
