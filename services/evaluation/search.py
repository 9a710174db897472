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

from pipeline.contracts import F32, CameraId, TrackletId
from pipeline.errors import ConfigurationError
from pipeline.search.query import Rows, centre
from pipeline.search.reliability import Bin, expected_calibration_error, reliability
from pipeline.search.text_calibration import TextCalibration
from reid_models.benchmarks import ScoredEncoder
from reid_models.datasets.captions import read_attributes, read_captions
from reid_models.datasets.market1501 import read_query_and_gallery
from reid_models.datasets.sample import DISTRACTOR, ImageSample, read_image
from services.evaluation.search_devices import ALL_WAYS, EVERYTHING, rankings
from services.evaluation.search_fit import (
    Found,
    ask_all,
    confidence,
    confidences,
    fit_text_calibration,
    part_of,
    seen_pairs,
)
from services.evaluation.search_questions import Kind, attribute_questions, caption_questions

SPLIT, SEED, EACH = "val", 7, 6


@dataclass(frozen=True, slots=True)
class SearchScores:
    """Figures by name, the curve that was fitted, and what was said and true on the half that was judged."""

    figures: Mapping[str, float | int]
    curve: TextCalibration
    reliability: Sequence[Bin]


def evaluate_search(encoder: ScoredEncoder, data: Path, captions: Path, attributes: Path) -> SearchScores:
    """On the query and gallery images of `data` and what the files say of them, split `val`."""
    samples = searched_samples(data)
    vectors = encoder.embed_images([read_image(sample) for sample in samples]).language
    return score_search(encoder, tracklet_rows(samples, vectors), captions, attributes)


def score_search(
    encoder: ScoredEncoder, rows: Rows, captions: Path, attributes: Path, *, each: int = EACH, compares: bool = True
) -> SearchScores:
    """`each` attribute questions about everybody; `compares` also ranks in plainer ways.

    Raises `ConfigurationError` where the files do not describe the people of `rows`."""
    people = sorted(set(rows.global_ids.tolist()))
    coded = {who: codes for who, codes in read_attributes(attributes, SPLIT).items() if who in set(people)}
    written = [caption for caption in read_captions(captions, SPLIT) if caption.identity in set(people)]
    if len(coded) < len(people) or not written:
        raise ConfigurationError(
            f"of {len(people)} people {len(coded)} have attributes in {attributes}, and {len(written)} captions in "
            f"{captions} are theirs; expected attributes of all and captions of some: do the files belong together?"
        )
    rng = np.random.default_rng(SEED)
    questions = caption_questions(written) + attribute_questions(coded, each, rng)
    halves = [frozenset(half.tolist()) for half in np.array_split(rng.permutation(people), 2)]
    embed = _Remembered(encoder)
    curve = fit_text_calibration(part_of(rows, questions, halves[0]), coded, embed)
    judged = ask_all(part_of(rows, questions, halves[1]), embed, curve)
    fits, words, is_right, weights = seen_pairs(judged)
    said = confidences(fits, words, curve)
    figures = rankings(rows, questions, coded, embed, curve, ALL_WAYS if compares else (EVERYTHING,))
    for kind in Kind:
        own = _decisions([each for each in judged if each.question.kind is kind], curve)
        figures |= {f"{kind}_{name}": value for name, value in own.items()}
    figures |= {
        "expected_calibration_error": expected_calibration_error(said, is_right, weights),
        "people": len(people),
        "judged_people": len(halves[1]),
        "questions": len(questions),
        "judged_questions": len(judged),
    }
    return SearchScores(figures, curve, reliability(said, is_right, weights))


def searched_samples(data: Path) -> list[ImageSample]:
    """The images of all people of `data`, without distractors."""
    parts = read_query_and_gallery(data)
    return [sample for sample in (*parts.query, *parts.gallery) if sample.identity > DISTRACTOR]


def tracklet_rows(samples: Sequence[ImageSample], vectors: F32) -> Rows:
    """Images and their vectors (N, L) as the search would hold them: a row for each person, camera and sequence."""
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


def _decisions(found: Sequence[Found], curve: TextCalibration) -> dict[str, float]:
    """How often an absent person is answered with somebody, how many of the right first answers are kept, and what it
    would cost to keep four of five."""
    tops = np.array([confidence(seen[0], each.words, curve) for each in found if (seen := each.seen(False))])
    firsts = [(each.seen(True)[0], each) for each in found]
    right = np.array([confidence(first, e.words, curve) for first, e in firsts if first.global_id in e.question.right])
    fits, words, is_right, weights = seen_pairs(found)
    said = confidences(fits, words, curve)
    return {
        "false_answer_share": float((tops >= curve.least).mean()),
        "recall_kept": float((right >= curve.least).mean()),
        "false_answer_share_at_recall_80": float((tops >= np.quantile(right, 0.2)).mean()),
        "expected_calibration_error": expected_calibration_error(said, is_right, weights),
    }
