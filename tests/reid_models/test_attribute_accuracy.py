"""What a model knows of people is measured by what it is asked."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.contracts import F32, Embeddings, Image
from reid_models.attribute_accuracy import area_under_curve, attribute_accuracy
from reid_models.benchmarks import EmbeddedSet
from reid_models.datasets.attribute_sentences import LOWER_COLOURS, UPPER_COLOURS


class KnowsRedAndWomen:
    """Its space has one axis for women, one for each upper colour that it knows, and one for everything else."""

    def embed_images(self, crops: Sequence[Image]) -> Embeddings:
        raise NotImplementedError

    def embed_texts(self, sentences: Sequence[str]) -> F32:
        vectors = np.full((len(sentences), 3), 0.01, np.float32)
        for row, sentence in enumerate(sentences):
            vectors[row, 0] += "woman" in sentence
            vectors[row, 1] += "red shirt" in sentence
        return vectors


def coded(gender: int, colour: str) -> dict[str, int]:
    plain = dict.fromkeys(("backpack", "bag", "handbag", "hat", "hair", "up", "down", "clothes"), 1) | {
        "gender": gender
    }
    plain |= {f"up{name}": 1 + (name == colour) for name in UPPER_COLOURS}
    return plain | {f"down{name}": 1 for name in LOWER_COLOURS}


def people(vectors: F32) -> EmbeddedSet:
    """Each person with one query and one gallery image of one vector."""
    both = Embeddings(vectors, vectors)
    numbers = np.arange(len(vectors))
    return EmbeddedSet(both, both, numbers, numbers * 0, numbers, numbers * 0 + 1)


def test_only_what_is_known_scores() -> None:
    truth = {0: coded(2, "red"), 1: coded(1, "red"), 2: coded(2, ""), 3: coded(1, "blue")}
    vectors = np.eye(3, dtype=np.float32)
    shown = np.stack([vectors[0] + vectors[1], vectors[1], vectors[0], vectors[2]])
    found = attribute_accuracy(KnowsRedAndWomen(), people(shown), truth)
    assert found.keys() == {"gender_auc", "up_colour_accuracy"}
    assert found["gender_auc"] == 1.0
    assert found["up_colour_accuracy"] == pytest.approx(2 / 3)


@given(st.lists(st.tuples(st.integers(0, 4), st.booleans()), min_size=2, max_size=12))
def test_the_area_equals_a_naive_count_of_pairs(pairs: list[tuple[int, bool]]) -> None:
    scores = np.array([float(score) for score, _ in pairs], np.float32)
    has = np.array([flag for _, flag in pairs])
    if has.all() or not has.any():
        return
    wins = [float(a > b) + 0.5 * float(a == b) for a in scores[has] for b in scores[~has]]
    assert area_under_curve(scores, has) == pytest.approx(sum(wins) / len(wins))
