"""From questions with known answers to the curve that a model's manifest keeps: what its similarities to words mean."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from pipeline.contracts import F64
from pipeline.search.query import Ask, Candidate, Filters, Rows, rank
from pipeline.search.reliability import fit_log_odds
from pipeline.search.text_calibration import FALSE_ANSWERS, TextCalibration
from pipeline.search.wording import NEUTRAL, wording
from services.evaluation.search_devices import Embed, everything
from services.evaluation.search_questions import THINGS, Coded, Kind, Question

JUDGED = 12  # candidates of a question that a curve is fitted and judged on: as many as people see
SHARES = (0.01, 0.02, FALSE_ANSWERS, 0.1, 0.2, 0.35, 0.5)  # of false answers, that an operator may choose among
START = TextCalibration(slope=20.0, intercept=0.0, per_word=0.0, thing_slope=20.0, thing_intercept=0.0, least=0.5)
_THING = "a person with {}"


@dataclass(frozen=True, slots=True)
class Part:
    """Some of the people: their tracklets, and the questions that are true of at least one of them."""

    rows: Rows
    questions: Sequence[Question]


@dataclass(frozen=True, slots=True)
class Found:
    """One question and its candidates, the best first."""

    question: Question
    words: int
    candidates: Sequence[Candidate]

    def seen(self, is_there: bool) -> Sequence[Candidate]:
        """What people see; or would see if nobody were there of whom it is true."""
        return [c for c in self.candidates if is_there or c.global_id not in self.question.right][:JUDGED]


def part_of(rows: Rows, questions: Sequence[Question], people: frozenset[int]) -> Part:
    """The part of these people."""
    kept = np.isin(rows.global_ids, sorted(people))
    own = Rows(
        vectors=rows.vectors[kept],
        global_ids=rows.global_ids[kept],
        cameras=rows.cameras[kept],
        started_at=rows.started_at[kept],
        ended_at=rows.ended_at[kept],
        tracklet_ids=[name for name, is_kept in zip(rows.tracklet_ids, kept.tolist(), strict=True) if is_kept],
        camera_ids=rows.camera_ids,
    )
    return Part(own, [replace(each, right=each.right & people) for each in questions if each.right & people])


def ask_all(part: Part, embed: Embed, curve: TextCalibration) -> list[Found]:
    """Every question as the search asks it."""
    return [
        Found(each, wording(each.text).words, rank(everything(each.text, embed, curve), part.rows).candidates)
        for each in part.questions
    ]


def fit_text_calibration(
    part: Part, coded: Mapping[int, Coded], embed: Embed, false_answers: float = FALSE_ANSWERS
) -> TextCalibration:
    """Of the highest likelihood on `part`, with everybody of whom a question is true there, and gone; each kind of
    question weighs the same. Of questions about people who are gone `false_answers` are answered."""
    slope, intercept = _fit_things(part.rows, coded, embed)
    curve = replace(START, thing_slope=slope, thing_intercept=intercept)
    found = ask_all(part, embed, curve)
    fits, words, is_right, weights = seen_pairs(found)
    inputs = np.stack([fits, np.ones_like(fits), np.log(words)], axis=1)
    start = np.array([START.slope, START.intercept, START.per_word])
    fitted = fit_log_odds(inputs, is_right, weights, start, np.full(3, 1e-4)).tolist()
    curve = replace(curve, slope=fitted[0], intercept=fitted[1], per_word=fitted[2])
    leasts = tuple((share, _least(found, curve, share)) for share in SHARES)
    return replace(curve, least=_least(found, curve, false_answers), leasts=leasts)


def seen_pairs(found: Sequence[Found]) -> tuple[F64, F64, F64, F64]:
    """(N,) fits, words, whether it is true, and weights of what people see; each kind of question weighs the same."""
    counts = {kind: sum(each.question.kind is kind for each in found) for kind in Kind}
    pairs = [
        (candidate.fit, each.words, candidate.global_id in each.question.right, 1.0 / counts[each.question.kind])
        for each in found
        for is_there in (True, False)
        for candidate in each.seen(is_there)
    ]
    fits, words, is_right, weights = np.array(pairs, np.float64).T
    return fits, words, is_right, weights * len(weights) / weights.sum()


def confidence(candidate: Candidate, words: int, curve: TextCalibration) -> float:
    """The probability that the search gives to a candidate."""
    return float(confidences(np.array([candidate.fit]), np.array([float(words)]), curve)[0])


def confidences(fits: F64, words: F64, curve: TextCalibration) -> F64:
    """(N,) the same for many."""
    return np.array([curve.asked(int(own)).judged(np.array([fit]))[0][0] for fit, own in zip(fits, words, strict=True)])


def _least(found: Sequence[Found], curve: TextCalibration, share: float) -> float:
    """Each kind of question weighs the same."""
    tops = [
        (confidence(seen[0], each.words, curve), each.question.kind) for each in found if (seen := each.seen(False))
    ]
    order = sorted(tops, reverse=True)
    counts = {kind: sum(own is kind for _, own in tops) for kind in Kind}
    kinds = sum(count > 0 for count in counts.values())
    answered = np.cumsum([1.0 / (kinds * counts[kind]) for _, kind in order])
    place = int(np.searchsorted(answered, share, side="right"))
    return order[min(place, len(order) - 1)][0] + 1e-9


def _fit_things(rows: Rows, coded: Mapping[int, Coded], embed: Embed) -> tuple[float, float]:
    """Slope and intercept of the log-odds that somebody shows a thing."""
    neutral, told, truths = embed((NEUTRAL,)), [], []
    for thing, (name, code) in THINGS.items():
        sentence = _THING.format(thing if thing == "shorts" or thing == "long hair" else f"a {thing}")
        direction = (embed((sentence,)) - neutral)[0]
        for candidate in rank(Ask.alike(direction, Filters(), START), rows).candidates:
            told.append(candidate.similarity)
            truths.append(coded[candidate.global_id].get(name) == code)
    inputs = np.stack([np.array(told), np.ones(len(told))], axis=1)
    fitted = fit_log_odds(
        inputs, np.array(truths, np.float64), np.ones(len(told)), np.array([20.0, 0.0]), np.full(2, 1e-4)
    )
    return float(fitted[0]), float(fitted[1])
