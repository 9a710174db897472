"""`sightline evaluate search`: how well words find people, how often "no confident match" is right, and whether a
confidence means what it says.

Curves are fitted on one half of the people and judged on the other, each half searched by itself. Ranking has little to
fit, so it is measured among all.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipeline.contracts import F32, F64, CameraId, TrackletId
from pipeline.errors import ConfigurationError
from pipeline.search.query import Candidate, Rows, centre, rank
from pipeline.search.reliability import expected_calibration_error
from pipeline.search.text_calibration import TextCalibration
from reid_models.benchmarks import ScoredEncoder
from reid_models.datasets.captions import read_attributes, read_captions
from reid_models.datasets.market1501 import read_query_and_gallery
from reid_models.datasets.sample import read_image
from services.evaluation.search_devices import DEVICES, EVERYTHING, WAYS_TO_DENY, Embed
from services.evaluation.search_fit import (
    Found,
    ask_all,
    confidence,
    fit_text_calibration,
    part_of,
    seen_pairs,
)
from services.evaluation.search_questions import THINGS, Coded, Kind, Question, attribute_questions, caption_questions

SPLIT, SEED, EACH = "val", 7, 6
FALSE_ANSWER_SHARE = 0.05  # of questions about somebody who is not there: so many may be answered all the same


@dataclass(frozen=True, slots=True)
class SearchScores:
    """Figures by name, the curve that was fitted, and what was said and true on the half that was judged."""

    figures: Mapping[str, float | int]
    curve: TextCalibration
    confidences: F64
    is_right: F64
    weights: F64


def evaluate_search(encoder: ScoredEncoder, data: Path, captions: Path, attributes: Path) -> SearchScores:
    """Raises `ConfigurationError` where the files describe none of the people in the pictures."""
    rows = tracklet_rows(encoder, data)
    people = sorted(set(rows.global_ids.tolist()))
    coded = {who: codes for who, codes in read_attributes(attributes, SPLIT).items() if who in set(people)}
    written = [caption for caption in read_captions(captions, SPLIT) if caption.identity in set(people)]
    if len(coded) < len(people) or not written:
        raise ConfigurationError(
            f"of {len(people)} people in {data} {len(coded)} have attributes and {len(written)} captions are theirs; "
            "expected attributes of all and captions of some: do the files belong together?"
        )
    rng = np.random.default_rng(SEED)
    questions = caption_questions(written) + attribute_questions(coded, EACH, rng)
    halves = [frozenset(half.tolist()) for half in np.array_split(rng.permutation(people), 2)]
    embed = _Remembered(encoder)
    curve = fit_text_calibration(part_of(rows, questions, halves[0]), coded, embed, FALSE_ANSWER_SHARE)
    judged = ask_all(part_of(rows, questions, halves[1]), embed, curve)
    fits, words, is_right, weights = seen_pairs(judged)
    confidences = np.array([curve.asked(int(w)).judged(fits[i : i + 1])[0][0] for i, w in enumerate(words)])
    figures: dict[str, float | int] = dict(_rankings(rows, questions, coded, embed, curve))
    for kind in Kind:
        figures |= {
            f"{kind}_{name}": value
            for name, value in _decisions([each for each in judged if each.question.kind is kind], curve).items()
        }
    figures |= {
        "expected_calibration_error": expected_calibration_error(confidences, is_right, weights),
        "people": len(people),
        "judged_people": len(halves[1]),
        "questions": len(questions),
        "judged_questions": len(judged),
    }
    return SearchScores(figures, curve, confidences, is_right, weights)


def tracklet_rows(encoder: ScoredEncoder, data: Path) -> Rows:
    """The images of `data` as the search would hold them: one row for each person, camera and sequence."""
    parts = read_query_and_gallery(data)
    samples = [sample for sample in (*parts.query, *parts.gallery) if sample.identity > 0]
    vectors = encoder.embed_images([read_image(sample) for sample in samples]).language
    members: dict[tuple[int, str], list[int]] = {}
    for place, sample in enumerate(samples):
        # 0002_c1s1_000451_03.jpg: identity, camera and sequence, frame, box
        members.setdefault((sample.identity, sample.file_name.rsplit("_", 2)[0]), []).append(place)
    stays = sorted(members)
    return Rows(
        vectors=np.stack([centre(vectors[members[stay]]) for stay in stays]),
        global_ids=np.array([identity for identity, _ in stays], np.int64),
        cameras=np.zeros(len(stays), np.int64),
        started_at=np.zeros(len(stays)),
        ended_at=np.ones(len(stays)),
        tracklet_ids=[TrackletId(name) for _, name in stays],
        camera_ids=(CameraId("any"),),
    )


class _Remembered:
    """An encoder's sentences, each embedded once."""

    def __init__(self, encoder: ScoredEncoder) -> None:
        self._encoder = encoder
        self._vectors: dict[str, F32] = {}

    def __call__(self, sentences: Sequence[str]) -> F32:
        new = [sentence for sentence in dict.fromkeys(sentences) if sentence not in self._vectors]
        if new:
            self._vectors.update(zip(new, self._encoder.embed_texts(new), strict=True))
        return np.array([self._vectors[sentence] for sentence in sentences], np.float32).reshape(len(sentences), -1)


def _rankings(
    rows: Rows, questions: Sequence[Question], coded: Mapping[int, Coded], embed: Embed, curve: TextCalibration
) -> dict[str, float]:
    """Rank-1, rank-5 and mean average precision of each kind of question, with everything and in each plainer way."""
    figures: dict[str, float] = {}
    for name, device in {**DEVICES, **WAYS_TO_DENY}.items():
        prefix = "" if name == EVERYTHING else f"{name}_"
        for kind in Kind if name in DEVICES else (Kind.NEGATION,):
            own = [each for each in questions if each.kind is kind]
            ranked = [(each, rank(device(each.text, embed, curve), rows)) for each in own]
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


def _decisions(found: Sequence[Found], curve: TextCalibration) -> dict[str, float]:
    """How often an absent person is answered with somebody, and how many of the right first answers are kept."""
    false = [_is_answered(each, each.seen(False), curve) for each in found if each.seen(False)]
    right = [each for each in found if each.seen(True)[0].global_id in each.question.right]
    kept = [_is_answered(each, each.seen(True), curve) for each in right]
    fits, words, is_right, weights = seen_pairs(found)
    said = np.array([curve.asked(int(w)).judged(fits[i : i + 1])[0][0] for i, w in enumerate(words)])
    return {
        "false_answer_share": float(np.mean(false)),
        "recall_kept": float(np.mean(kept)),
        "expected_calibration_error": expected_calibration_error(said, is_right, weights),
    }


def _is_answered(found: Found, seen: Sequence[Candidate], curve: TextCalibration) -> bool:
    return confidence(seen[0], found.words, curve) >= curve.least


def _has(coded: Mapping[int, Coded], question: Question, candidate: Candidate) -> bool:
    name, code = THINGS[question.denied]
    return coded[candidate.global_id].get(name) == code


def _average_precision(hits: np.ndarray[tuple[int], np.dtype[np.bool_]]) -> float:
    precision = np.cumsum(hits) / np.arange(1, len(hits) + 1)
    return float(precision[hits].mean())
