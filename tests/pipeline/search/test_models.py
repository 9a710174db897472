"""What a model is asked to embed, and when."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from pipeline.adapters.store import SqlStore
from pipeline.contracts import F32
from pipeline.search import models
from pipeline.search.models import SearchConfig, SearchModel
from tests.small_site import CALIBRATION, WORDS, WardrobeEncoder


class Noted(WardrobeEncoder):
    """Notes the sentences of each pass; none works after `is_broken`."""

    def __init__(self) -> None:
        self.passes: list[list[str]] = []
        self.is_broken = False

    def embed_texts(self, sentences: Sequence[str]) -> F32:
        if self.is_broken:
            raise RuntimeError("the tower fell")
        self.passes.append(list(sentences))
        return super().embed_texts(sentences)


@pytest.fixture
def encoder() -> Noted:
    return Noted()


@pytest.fixture
def model(encoder: Noted) -> SearchModel:
    return SearchModel(SqlStore.in_memory(), encoder, SearchConfig(text=WORDS, appearance=CALIBRATION))


def test_a_sentence_is_embedded_once_and_each_question_gets_its_own_in_order(
    encoder: Noted, model: SearchModel
) -> None:
    model.embed_texts(["a man", "a red coat"])
    again = model.embed_texts(["a blue coat", "a man", "a blue coat"])
    assert encoder.passes == [["a man", "a red coat"], ["a blue coat"]]
    np.testing.assert_array_equal(again, WardrobeEncoder().embed_texts(["a blue coat", "a man", "a blue coat"]))


def test_the_sentence_asked_for_longest_ago_makes_room(
    encoder: Noted, model: SearchModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(models, "_MOST_SENTENCES", 2)
    for sentence in ("red", "blue", "red", "green", "red", "blue"):
        model.embed_texts([sentence])
    assert encoder.passes == [["red"], ["blue"], ["green"], ["blue"]]


def test_whether_a_model_answers_is_never_told_from_memory(encoder: Noted, model: SearchModel) -> None:
    model.check()
    encoder.is_broken = True
    with pytest.raises(RuntimeError, match="the tower fell"):
        model.check()
