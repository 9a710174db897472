"""The measuring of the search: on people whose vectors are what is coded of them, so that the answers are known."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipeline.contracts import F32, CameraId, Embeddings, TrackletId
from pipeline.contracts import Image as Pixels
from pipeline.errors import ConfigurationError
from pipeline.search.query import Rows
from pipeline.search.reliability import Bin
from reid_models.datasets.attribute_sentences import LOWER_COLOURS, UPPER_COLOURS
from reid_models.manifest import DEFAULT_BUNDLE, MANIFEST, WordCurve, keep_word_curve, measured_anew, read_manifest
from services.evaluation.search import score_search
from services.evaluation.search_fit import START, fit_text_calibration, part_of
from services.evaluation.search_plot import plot_reliability
from services.evaluation.search_questions import THINGS, Kind, attribute_questions

WORDS = (*UPPER_COLOURS, *LOWER_COLOURS, "backpack", "bag", "skirt", "shorts", "man", "woman")


def person(rng: np.random.Generator) -> dict[str, int]:
    codes = {f"up{colour}": 1 for colour in UPPER_COLOURS} | {f"down{colour}": 1 for colour in LOWER_COLOURS}
    codes[f"up{rng.choice(UPPER_COLOURS)}"] = 2
    codes[f"down{rng.choice(LOWER_COLOURS)}"] = 2
    coin = {name: int(rng.integers(1, 3)) for name in ("backpack", "bag", "clothes", "down", "up", "gender", "hair")}
    return codes | coin | {"handbag": 1, "hat": 1, "age": 2}


RNG = np.random.default_rng(4)
CODED = {number: person(RNG) for number in range(1, 41)}


class CodedEncoder:
    """Hears the words of the coding, and nothing else."""

    def embed_images(self, crops: Sequence[Pixels]) -> Embeddings:
        raise AssertionError("no test shows it a picture")

    def embed_texts(self, sentences: Sequence[str]) -> F32:
        vectors = np.full((len(sentences), len(WORDS) + 1), 0.05, np.float32)
        for row, sentence in enumerate(sentences):
            heard = {"bag" if word == "shoulder" else word for word in sentence.lower().replace(",", " ").split()}
            for place, word in enumerate(WORDS):
                vectors[row, place] += word in heard or f"{word}s" in heard
            vectors[row, -1] = 0.5
        return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), np.float32)


def archive() -> Rows:
    """Two tracklets of everybody: the words that are true of them, and noise."""
    told = []
    for codes in CODED.values():
        words = [colour for colour in UPPER_COLOURS if codes[f"up{colour}"] == 2]
        words += [colour for colour in LOWER_COLOURS if codes[f"down{colour}"] == 2]
        words += [word for word in ("backpack", "bag") if codes[word] == 2]
        words += ["skirt"] if codes["clothes"] == 1 else ["shorts"] if codes["down"] == 2 else []
        told.append(" ".join([*words, "man" if codes["gender"] == 1 else "woman"]))
    vectors = np.repeat(CodedEncoder().embed_texts(told), 2, axis=0)
    vectors += 0.05 * np.random.default_rng(1).standard_normal(vectors.shape)
    count = len(vectors)
    return Rows(
        vectors=(vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32),
        global_ids=np.repeat(np.array(list(CODED)), 2),
        cameras=np.zeros(count, np.int64),
        started_at=np.zeros(count),
        ended_at=np.ones(count),
        tracklet_ids=[TrackletId(str(place)) for place in range(count)],
        camera_ids=(CameraId("any"),),
    )


def files(folder: Path) -> tuple[Path, Path]:
    captions, attributes = folder / "captions.json", folder / "attributes.json"
    written = [
        {"image": "x.jpg", "identity": f"{who:04}", "split": "val", "captions": [f"somebody in {colour}"]}
        for who, codes in CODED.items()
        for colour in UPPER_COLOURS
        if codes[f"up{colour}"] == 2
    ]
    captions.write_text(json.dumps(written))
    attributes.write_text(json.dumps({f"{who:04}": {**codes, "split": "val"} for who, codes in CODED.items()}))
    return captions, attributes


def test_a_question_is_true_of_exactly_those_whose_codes_say_so() -> None:
    questions = attribute_questions(CODED, 5, np.random.default_rng(2))
    assert {question.kind for question in questions} == {Kind.ATTRIBUTES, Kind.NEGATION}
    for question in questions:
        assert question.right
        for colour in UPPER_COLOURS:
            if f"{colour} shirt" in question.text:
                assert all(CODED[who][f"up{colour}"] == 2 for who in question.right)
        if question.denied:
            name, code = THINGS[question.denied]
            assert all(CODED[who][name] != code for who in question.right)
            assert f"no {question.denied}" in question.text or f"without a {question.denied}" in question.text


def test_an_encoder_that_hears_the_coding_is_scored_and_calibrated_on_people_it_was_not_fitted_on(
    tmp_path: Path,
) -> None:
    scores = score_search(CodedEncoder(), archive(), *files(tmp_path))
    figures = scores.figures
    assert figures["attributes_rank_5"] > 0.9
    assert figures["negation_denied_among_first_5"] < figures["negation_ignored_negation_denied_among_first_5"]
    assert figures["attributes_false_answer_share_at_recall_80"] <= 0.5
    assert 0 <= figures["expected_calibration_error"] < 0.15
    assert (figures["people"], figures["judged_people"]) == (40, 20)
    assert scores.curve.slope > 0 and scores.curve.thing_slope > 0 and 0 < scores.curve.least < 1


def test_the_least_probability_holds_the_share_of_false_answers_where_it_was_fitted() -> None:
    rows, encoder = archive(), CodedEncoder()
    part = part_of(rows, attribute_questions(CODED, 3, np.random.default_rng(3)), frozenset(CODED))
    strict, lax = (fit_text_calibration(part, CODED, encoder.embed_texts, share) for share in (0.02, 0.4))
    assert lax.least < strict.least
    assert (strict.slope, strict.intercept) == (lax.slope, lax.intercept)
    assert strict.leasts == lax.leasts and [least for _, least in lax.leasts] == sorted(
        (least for _, least in lax.leasts), reverse=True
    )
    assert dict(strict.leasts)[0.02] == strict.least
    assert strict.thing_slope != START.thing_slope


def test_files_about_other_people_are_refused(tmp_path: Path) -> None:
    others = replace(archive(), global_ids=np.repeat(np.arange(500, 540), 2))
    with pytest.raises(ConfigurationError, match="belong together"):
        score_search(CodedEncoder(), others, *files(tmp_path))


def test_the_plot_is_a_picture_that_is_darkest_where_most_was_said(tmp_path: Path) -> None:
    plot_reliability(tmp_path / "plot.png", [Bin(0.05, 0.1, 0.9), Bin(0.95, 0.8, 0.1)], "a model")
    picture = Image.open(tmp_path / "plot.png").convert("L")
    often, seldom = picture.getpixel((75, 535)), picture.getpixel((530, 520))
    assert isinstance(often, int) and isinstance(seldom, int)
    assert often < seldom < 255


def test_a_kept_curve_leaves_the_digest(tmp_path: Path) -> None:
    (tmp_path / MANIFEST).write_bytes((DEFAULT_BUNDLE / MANIFEST).read_bytes())
    before = read_manifest(tmp_path)
    curve = WordCurve(
        slope=1.0, intercept=2.0, per_word=3.0, thing_slope=4.0, thing_intercept=5.0, least=0.5, measured_on="a test"
    )
    keep_word_curve(tmp_path, curve)
    after = read_manifest(tmp_path)
    assert after.calibration is not None and after.calibration.words == curve
    assert after.digest == before.digest


def test_a_model_that_went_on_learning_keeps_the_curve_that_nobody_measured_again() -> None:
    former = read_manifest(DEFAULT_BUNDLE).calibration
    assert former is not None and former.words is not None
    found = former.model_copy(update={"words": None, "measured_on": "a night"})
    anew = measured_anew(former, found)
    assert anew is not None and (anew.words, anew.measured_on) == (former.words, "a night")
    assert measured_anew(None, found) == found and measured_anew(former, None) == former
