from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.contracts import Embeddings, Image
from pipeline.embedding.isolation import CropVectors, embed_each
from pipeline.errors import InvalidMessage, Unavailable
from tests.fakes import ColourEncoder, painted

GOOD = painted((10, 120, 60))
POISON = painted((255, 255, 255))


@given(st.lists(st.booleans(), min_size=1, max_size=20))
def test_exactly_the_crops_that_the_encoder_stumbles_over_are_left_out(is_poison: list[bool]) -> None:
    found = embed_each(ColourEncoder(), [POISON if bad else GOOD for bad in is_poison])
    assert [isinstance(each, InvalidMessage) for each in found] == is_poison


def test_without_trouble_there_is_one_pass() -> None:
    encoder = ColourEncoder()
    embed_each(encoder, [GOOD] * 9)
    assert encoder.passes == [9]


class SmallMemory(ColourEncoder):
    def embed_images(self, crops: Sequence[Image]) -> Embeddings:
        if len(crops) > 4:
            raise MemoryError("4 crops at most")
        return super().embed_images(crops)


def test_a_batch_too_large_for_the_memory_goes_through_in_parts() -> None:
    encoder = SmallMemory()
    found = embed_each(encoder, [painted((number, 90, 10)) for number in range(10)])
    whole = ColourEncoder().embed_images([painted((number, 90, 10)) for number in range(10)])
    vectors = [each.appearance for each in found if isinstance(each, CropVectors)]
    np.testing.assert_array_equal(np.stack(vectors), whole.appearance)
    assert max(encoder.passes) <= 4


class Broken(ColourEncoder):
    def embed_images(self, crops: Sequence[Image]) -> Embeddings:
        found = super().embed_images(crops)
        found.language[0] = np.nan
        return found


def test_a_vector_of_nan_is_no_vector() -> None:
    first, second = embed_each(Broken(), [GOOD, GOOD])
    assert isinstance(first, InvalidMessage)
    assert "language vector of length nan" in str(first)
    assert isinstance(second, CropVectors)


class Away(ColourEncoder):
    def embed_images(self, crops: Sequence[Image]) -> Embeddings:
        raise Unavailable("the accelerator is gone")


def test_an_encoder_that_is_away_is_not_held_against_the_crops() -> None:
    with pytest.raises(Unavailable):
        embed_each(Away(), [GOOD, GOOD])
