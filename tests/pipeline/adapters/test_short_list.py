"""The nearest of all are always on the short list, whatever bfloat16 makes of the vectors."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.adapters.exact_gallery import ExactGallery
from pipeline.adapters.short_list import ShortList
from pipeline.contracts import F32
from tests.fakes import unit_vectors

DIMENSION, TOP_K = 16, 5


def missed(vectors: F32, queries: F32, short_list: ShortList, count: int) -> list[tuple[int, int]]:
    """Queries and rows that a full comparison finds among the nearest, and that are not on the list."""
    products = queries.astype(np.float64) @ vectors[:count].T.astype(np.float64)
    best = np.argsort(-products, axis=1)[:, :TOP_K]
    listed = short_list.candidates(queries, count, TOP_K)
    return [(query, row) for query, rows in enumerate(best.tolist()) for row in rows if row not in set(listed[query])]


@settings(max_examples=50, deadline=None)
@given(
    st.integers(0, 2**32 - 1),
    st.integers(1, 700),
    st.sampled_from([1.0, 1e-2, 1e-3]),
    st.sampled_from([-1.0, 0.3, 1.0]),
)
def test_the_nearest_are_listed_however_alike_the_others_are(
    seed: int, count: int, spread: float, length: float
) -> None:
    rng = np.random.default_rng(seed)
    centre = unit_vectors(rng, 1, DIMENSION)
    vectors = centre + spread * unit_vectors(rng, count + 40, DIMENSION)
    vectors = (length * vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    queries = (centre + spread * unit_vectors(rng, 3, DIMENSION)).astype(np.float32)
    assert missed(vectors, queries, ShortList(vectors), count) == []


def test_nobody_is_listed_who_is_not_there() -> None:
    vectors = unit_vectors(np.random.default_rng(5), 100, DIMENSION)
    listed = ShortList(vectors).candidates(-vectors[:2], 70, TOP_K)
    assert [rows.max() for rows in listed] == [69, 69]


def test_a_row_that_has_changed_is_listed_as_it_is_now() -> None:
    rng = np.random.default_rng(1)
    vectors, queries = unit_vectors(rng, 1000, DIMENSION), unit_vectors(rng, 3, DIMENSION)
    short_list = ShortList(np.zeros_like(vectors))
    for part in np.split(rng.permutation(1000), 4):
        short_list.put(part, vectors[part])
    assert missed(vectors, queries, short_list, 1000) == []


def test_the_list_is_short() -> None:
    rng = np.random.default_rng(2)
    vectors, queries = unit_vectors(rng, 20_000, 64), unit_vectors(rng, 8, 64)
    assert max(map(len, ShortList(vectors).candidates(queries, 20_000, TOP_K))) < 100


def test_what_a_large_gallery_removes_is_in_none_of_its_copies(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.adapters.exact_gallery.processor_precisions", lambda: frozenset({"fp32", "bf16"}))
    rng = np.random.default_rng(4)
    gallery, vectors = ExactGallery(DIMENSION, short_list_from=50), unit_vectors(rng, 100, DIMENSION)
    gallery.add(np.arange(100), vectors)
    gone = rng.permutation(100)[:40]
    gallery.remove(gone)
    assert gallery._short_list is not None
    for held in (gallery._vectors, gallery._short_list._rows.float().numpy()):
        assert np.count_nonzero(np.linalg.norm(held, axis=1)) == 60
        assert (held @ vectors[gone].T).max() < 0.99


def test_a_large_gallery_answers_as_a_small_one_while_rows_come_and_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.adapters.exact_gallery.processor_precisions", lambda: frozenset({"fp32", "bf16"}))
    rng = np.random.default_rng(3)
    large, small = ExactGallery(DIMENSION, short_list_from=200), ExactGallery(DIMENSION, short_list_from=10**9)
    for begin in range(0, 1600, 400):
        vectors = unit_vectors(rng, 400, DIMENSION)
        for gallery in (large, small):
            gallery.add(np.arange(begin, begin + 400), vectors)
            gallery.remove(np.arange(begin, begin + 400, 7))
        queries = unit_vectors(rng, 4, DIMENSION)
        found, expected = large.nearest(queries, TOP_K), small.nearest(queries, TOP_K)
        np.testing.assert_array_equal(found[0], expected[0])
        np.testing.assert_allclose(found[1], expected[1], atol=1e-6)
