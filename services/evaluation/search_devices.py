"""What each device of the search brings: the same questions put to the vectors in plainer and plainer ways. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from pipeline.contracts import F32, F64
from pipeline.search.query import Ask, Bools, Candidate, Filters, Rows, rank
from pipeline.search.text_calibration import TextCalibration
from pipeline.search.wording import NEUTRAL, Wording, ask_vectors, wording
from services.evaluation.search_questions import THINGS, Coded, Kind, Question

Embed = Callable[[Sequence[str]], F32]
Device = Callable[[str, Embed, TextCalibration], Ask]

EVERYTHING = "everything"


def everything(question: str, embed: Embed, curve: TextCalibration) -> Ask:
    """As the search asks."""
    return _asked(wording(question), embed, curve)


def _without_parts(question: str, embed: Embed, curve: TextCalibration) -> Ask:
    return _asked(replace(wording(question), parts=()), embed, curve)


def _as_typed(question: str, embed: Embed, curve: TextCalibration) -> Ask:
    """No templates and no parts; a denied thing stands for itself."""
    asked = wording(question)
    return _asked(replace(asked, present=(asked.text or NEUTRAL,), parts=()), embed, curve)


def _negation_in_the_sentence(question: str, embed: Embed, curve: TextCalibration) -> Ask:
    return _asked(Wording(present=(question,), words=wording(question).words), embed, curve)


def _negation_ignored(question: str, embed: Embed, curve: TextCalibration) -> Ask:
    return _asked(replace(wording(question), absent=()), embed, curve)


def _negation_subtracted(question: str, embed: Embed, curve: TextCalibration) -> Ask:
    """The thing as a direction, taken twice from the question: how it was done before."""
    return replace(everything(question, embed, curve), judge=_Linear(2.0))


# With what is done for every question, then without it; with what is done for a negation, then otherwise.
DEVICES: Mapping[str, Device] = {
    EVERYTHING: everything,
    "without_parts": _without_parts,
    "without_templates_and_parts": _as_typed,
}
WAYS_TO_DENY: Mapping[str, Device] = {
    "negation_in_the_sentence": _negation_in_the_sentence,
    "negation_ignored": _negation_ignored,
    "negation_subtracted": _negation_subtracted,
}


ALL_WAYS = (*DEVICES, *WAYS_TO_DENY)


def rankings(
    rows: Rows,
    questions: Sequence[Question],
    coded: Mapping[int, Coded],
    embed: Embed,
    curve: TextCalibration,
    ways: Sequence[str],
) -> dict[str, float]:
    """Rank-1, rank-5 and mean average precision of each kind of question, in each of these ways."""
    figures: dict[str, float] = {}
    for name in ways:
        device = DEVICES.get(name) or WAYS_TO_DENY[name]
        prefix = "" if name == EVERYTHING else f"{name}_"
        for kind in Kind if name in DEVICES else (Kind.NEGATION,):
            own = [each for each in questions if each.kind is kind]
            ranked = [(each, rank(device(each.text, embed, curve), rows).candidates) for each in own]
            hits = [np.array([c.global_id in question.right for c in found]) for question, found in ranked]
            figures |= {
                f"{prefix}{kind}_rank_1": float(np.mean([hit[0] for hit in hits])),
                f"{prefix}{kind}_rank_5": float(np.mean([hit[:5].any() for hit in hits])),
                f"{prefix}{kind}_mean_average_precision": float(np.mean([_average_precision(hit) for hit in hits])),
            }
            if kind is Kind.NEGATION:
                shown = [_has(coded, question, c) for question, found in ranked for c in found[:5]]
                figures[f"{prefix}negation_denied_among_first_5"] = float(np.mean(shown))
    return figures


@dataclass(frozen=True, slots=True)
class _Linear:
    """A `Judge` that subtracts what speaks for a thing, however little."""

    weight: float

    def fits(self, similarities: F64, things: F64, /) -> F64:
        return np.asarray(similarities - self.weight * things.sum(axis=1), np.float64)

    def judged(self, fits: F64) -> tuple[F64, Bools]:
        return np.zeros(len(fits)), np.zeros(len(fits), np.bool_)


def _asked(asked: Wording, embed: Embed, curve: TextCalibration) -> Ask:
    present, absent = ask_vectors(asked, embed(asked.sentences), embed((NEUTRAL,))[0])
    return Ask(present, absent, Filters(), curve.asked(asked.words))


def _has(coded: Mapping[int, Coded], question: Question, candidate: Candidate) -> bool:
    name, code = THINGS[question.denied]
    return coded[candidate.global_id].get(name) == code


def _average_precision(hits: np.ndarray[tuple[int], np.dtype[np.bool_]]) -> float:
    precision = np.cumsum(hits) / np.arange(1, len(hits) + 1)
    return float(precision[hits].mean())
