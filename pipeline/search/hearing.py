"""A description as a model hears it: a search asks it once, a standing query asks it of everybody who comes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.contracts import F32
from pipeline.search.models import SearchModel
from pipeline.search.query import Ask, Filters
from pipeline.search.text_calibration import TextCalibration
from pipeline.search.wording import Wording, ask_vectors, is_heard, wording


@dataclass(frozen=True, slots=True)
class Heard:
    """What a model makes of a description; no verdict changes it."""

    wording: Wording
    present: F32  # (L,) to be compared with vectors of `language`
    absent: F32  # (A, L) what each denied thing adds to anybody; often none
    unknown_words: tuple[str, ...]
    is_understood: bool  # enough of it to call anybody a match

    def ask(self, curve: TextCalibration, filters: Filters) -> Ask:
        """As a question to the vectors, with what similarities mean now."""
        return Ask(self.present, self.absent, filters, curve.asked(self.wording.words))


def hear(model: SearchModel, description: str) -> Heard:
    """Raises `InvalidQuery` for nothing or far too much."""
    (heard,) = hear_all(model, [description], [wording(description)])
    return heard


def hear_all(model: SearchModel, descriptions: Sequence[str], asked: Sequence[Wording]) -> list[Heard]:
    """Descriptions beside the `wording` of each; one pass of the model serves them all."""
    vectors = model.embed_texts([sentence for each in asked for sentence in each.sentences])
    ends = np.cumsum([len(each.sentences) for each in asked])
    return [
        _heard(model, description, each, own)
        for description, each, own in zip(descriptions, asked, np.split(vectors, ends[:-1]), strict=True)
    ]


def _heard(model: SearchModel, description: str, asked: Wording, vectors: F32) -> Heard:
    present, absent = ask_vectors(asked, vectors, model.neutral())
    unknown_words = tuple(model.unknown_words(description))
    return Heard(asked, present, absent, unknown_words, is_heard(description, unknown_words))
