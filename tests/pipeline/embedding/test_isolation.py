from __future__ import annotations

import weakref
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.contracts import Embeddings, Image
from pipeline.embedding.isolation import CropVectors, PassLimit, embed_each
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
    def __init__(self, most: int = 4) -> None:
        super().__init__()
        self.most = most
        self.failed: list[int] = []

    def embed_images(self, crops: Sequence[Image]) -> Embeddings:
        if len(crops) > self.most:
            self.failed.append(len(crops))
            raise MemoryError(f"{self.most} crops at most")
        return super().embed_images(crops)


def test_a_batch_too_large_for_the_memory_goes_through_in_parts() -> None:
    encoder = SmallMemory()
    found = embed_each(encoder, [painted((number, 90, 10)) for number in range(10)])
    whole = ColourEncoder().embed_images([painted((number, 90, 10)) for number in range(10)])
    vectors = [each.appearance for each in found if isinstance(each, CropVectors)]
    np.testing.assert_array_equal(np.stack(vectors), whole.appearance)
    assert max(encoder.passes) <= 4


def test_a_size_that_failed_is_remembered() -> None:
    encoder, limit = SmallMemory(), PassLimit()
    for _ in range(5):
        embed_each(encoder, [GOOD] * 16, limit)
    assert encoder.failed == [16, 8, 8]
    assert encoder.passes == [4] * 20


def test_larger_passes_are_tried_again_after_a_while() -> None:
    encoder, limit = SmallMemory(), PassLimit(patience=6)
    embed_each(encoder, [GOOD] * 16, limit)
    encoder.most = 100  # the memory is free again
    for _ in range(8):
        embed_each(encoder, [GOOD] * 16, limit)
    assert encoder.passes[-1] == 16


@given(st.lists(st.booleans(), min_size=1, max_size=24), st.integers(1, 9))
def test_little_memory_and_poison_together_lose_no_good_crop(is_poison: list[bool], most: int) -> None:
    limit = PassLimit()
    found = embed_each(SmallMemory(most), [POISON if bad else GOOD for bad in is_poison], limit)
    assert [isinstance(each, InvalidMessage) for each in found] == is_poison


@given(st.integers(0, 15))
def test_a_poison_crop_does_not_make_passes_smaller(place: int) -> None:
    limit = PassLimit()
    embed_each(ColourEncoder(), [POISON if number == place else GOOD for number in range(16)], limit)
    assert limit.crops is None


class FailedPass(ColourEncoder):
    """Holds memory in the frame of a failed pass, and finds out whether it is gone when the next one begins."""

    def __init__(self) -> None:
        super().__init__()
        self.held: list[weakref.ref[np.ndarray]] = []
        self.alive: list[bool] = []

    def embed_images(self, crops: Sequence[Image]) -> Embeddings:
        self.alive += [each() is not None for each in self.held]
        if len(crops) > 1:
            activations = np.zeros(8)
            self.held.append(weakref.ref(activations))
            raise MemoryError("too much")
        return super().embed_images(crops)


def test_the_memory_of_a_failed_pass_is_free_when_its_halves_are_tried() -> None:
    encoder = FailedPass()
    embed_each(encoder, [GOOD] * 4)
    assert encoder.alive and not any(encoder.alive)


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
