"""What every gallery promises, and that the two agree."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.adapters.exact_gallery import ExactGallery
from pipeline.adapters.faiss_gallery import FaissGallery, open_gallery
from pipeline.contracts import F32, I64
from pipeline.errors import ConfigurationError
from pipeline.interfaces import Gallery
from tests.fakes import unit_vectors

DIMENSION = 8
KINDS = ("exact", "faiss")


@pytest.fixture(params=KINDS)
def gallery(request: pytest.FixtureRequest) -> Gallery:
    return open_gallery(request.param, DIMENSION)


def rows(*numbers: int) -> I64:
    return np.array(numbers, np.int64)


def axes(*numbers: int) -> F32:
    return np.eye(DIMENSION, dtype=np.float32)[list(numbers)]


def test_the_nearest_come_best_first_with_their_similarity(gallery: Gallery) -> None:
    gallery.add(rows(7, 5), np.stack([axes(0)[0], (0.6 * axes(0) + 0.8 * axes(1))[0]]))
    found, similarities = gallery.nearest(axes(0, 1), 2)
    assert found.tolist() == [[7, 5], [5, 7]]
    np.testing.assert_allclose(similarities, [[1.0, 0.6], [0.8, 0.0]], atol=1e-6)


def test_what_is_missing_is_filled(gallery: Gallery) -> None:
    gallery.add(rows(3), axes(0))
    found, similarities = gallery.nearest(axes(0), 3)
    assert found.tolist() == [[3, -1, -1]]
    assert similarities.tolist() == [[1.0, -np.inf, -np.inf]]


def test_an_empty_gallery_answers(gallery: Gallery) -> None:
    found, similarities = gallery.nearest(axes(0, 1), 2)
    assert found.tolist() == [[-1, -1], [-1, -1]]
    assert np.isneginf(similarities).all()
    assert len(gallery) == 0


def test_no_question_gets_no_answer(gallery: Gallery) -> None:
    gallery.add(rows(3), axes(0))
    found, similarities = gallery.nearest(np.zeros((0, DIMENSION), np.float32), 2)
    assert found.shape == similarities.shape == (0, 2)


def test_a_row_that_exists_is_replaced(gallery: Gallery) -> None:
    gallery.add(rows(1, 2), axes(0, 1))
    gallery.add(rows(1), axes(2))
    assert len(gallery) == 2
    found, similarities = gallery.nearest(axes(2), 1)
    assert (found[0, 0], similarities[0, 0]) == (1, 1.0)
    assert gallery.nearest(axes(0), 1)[1][0, 0] == 0.0


def test_of_a_row_given_twice_the_last_vector_counts(gallery: Gallery) -> None:
    gallery.add(rows(1, 1), axes(0, 1))
    assert len(gallery) == 1
    assert gallery.nearest(axes(1), 1)[1][0, 0] == 1.0


def test_removed_rows_are_found_no_more_and_unknown_ones_are_passed_over(gallery: Gallery) -> None:
    gallery.add(rows(1, 2, 3), axes(0, 1, 2))
    gallery.remove(rows(1, 99, 1))
    assert len(gallery) == 2
    assert gallery.nearest(axes(0), 3)[0].tolist()[0][2] == -1
    assert gallery.nearest(axes(2), 1)[0][0, 0] == 3


@pytest.mark.parametrize("shape", [(2, DIMENSION + 1), (DIMENSION,)])
def test_vectors_of_another_dimension_are_refused(gallery: Gallery, shape: tuple[int, ...]) -> None:
    with pytest.raises(ConfigurationError, match="dimension 8"):
        gallery.add(rows(1, 2), np.ones(shape, np.float32))
    with pytest.raises(ConfigurationError, match="dimension 8"):
        gallery.nearest(np.ones(shape, np.float32), 1)
    assert len(gallery) == 0


def test_nan_never_enters(gallery: Gallery) -> None:
    with pytest.raises(ConfigurationError, match="NaN"):
        gallery.add(rows(1), np.full((1, DIMENSION), np.nan, np.float32))
    assert len(gallery) == 0


def test_an_unknown_kind_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ConfigurationError, match="auto, exact, faiss"):
        open_gallery("milvus", DIMENSION)


steps = st.lists(
    st.tuples(st.sampled_from(["add", "remove"]), st.lists(st.integers(0, 30), min_size=1, max_size=12)), max_size=8
)


@settings(max_examples=60, deadline=None)
@given(steps, st.integers(1, 40), st.integers(0, 2**32 - 1))
def test_both_galleries_agree_after_any_history(history: list[tuple[str, list[int]]], top_k: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    exact, approximate = ExactGallery(DIMENSION), FaissGallery(DIMENSION)
    for step, numbers in history:
        vectors = unit_vectors(rng, len(numbers), DIMENSION)
        for gallery in (exact, approximate):
            if step == "add":
                gallery.add(rows(*numbers), vectors)
            else:
                gallery.remove(rows(*numbers))
    assert len(exact) == len(approximate)
    queries = unit_vectors(rng, 3, DIMENSION)
    exact_rows, exact_similarities = exact.nearest(queries, top_k)
    other_rows, other_similarities = approximate.nearest(queries, top_k)
    np.testing.assert_allclose(exact_similarities, other_similarities, atol=1e-5)
    np.testing.assert_array_equal(exact_rows, other_rows)  # random directions leave no ties


def test_the_exact_gallery_finds_across_its_blocks_what_one_product_finds() -> None:
    rng = np.random.default_rng(5)
    vectors, queries = unit_vectors(rng, 40_000, DIMENSION), unit_vectors(rng, 4, DIMENSION)
    gallery = ExactGallery(DIMENSION)
    gallery.add(np.arange(40_000), vectors)
    expected = np.sort(queries @ vectors.T, axis=1)[:, ::-1][:, :10]
    found, similarities = gallery.nearest(queries, 10)
    np.testing.assert_allclose(similarities, expected, atol=1e-6)
    np.testing.assert_allclose(np.einsum("qd,qkd->qk", queries, vectors[found]), expected, atol=1e-6)
