"""What every gallery promises, and that they agree."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.adapters.exact_gallery import ExactGallery
from pipeline.adapters.faiss_gallery import FaissGallery
from pipeline.adapters.galleries import open_gallery
from pipeline.adapters.milvus_gallery import MilvusGallery, parse_milvus_address
from pipeline.contracts import F32, I64
from pipeline.errors import ConfigurationError
from pipeline.gallery import Gallery, GalleryFacts, GalleryFilter
from tests.fakes import unit_vectors

DIMENSION = 8
Open = Callable[[], Gallery]  # empty, as by a process that has just started


@pytest.fixture(scope="module")
def milvus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Open]:
    pytest.importorskip("milvus_lite", reason="milvus-lite is not installed: pip install 'sightline[milvus-lite]'")
    address = parse_milvus_address(f"milvus://{tmp_path_factory.mktemp('milvus') / 'vectors.db'}")
    openings = itertools.count()
    opened: list[MilvusGallery] = []

    def open_one() -> Gallery:
        opened.append(MilvusGallery(address, "a-site.of-ours", DIMENSION, f"opening{next(openings)}"))
        return opened[-1]

    yield open_one
    for each in opened:
        each.close()


@pytest.fixture(params=["exact", "faiss", "milvus"])
def open_one(request: pytest.FixtureRequest) -> Open:
    if request.param == "milvus":
        opener: Open = request.getfixturevalue("milvus")
        return opener
    return lambda: open_gallery(request.param, DIMENSION)


@pytest.fixture
def gallery(open_one: Open) -> Gallery:
    return open_one()


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


FACTS = GalleryFacts(
    sites=["main", "main", "annex", "annex"],
    camera_ids=["gate", "hall", "gate", 'it\'s "quoted"'],
    model_digests=["old", "new", "new", "new"],
    started_at=np.array([10.0, 20.0, 30.0, 40.0]),
    ended_at=np.array([15.0, 25.0, 35.0, 45.0]),
)


@pytest.mark.parametrize(
    ("only", "expected"),
    [
        (GalleryFilter(), [0, 1, 2, 3, 9]),
        (GalleryFilter(sites=("main",)), [0, 1]),
        (GalleryFilter(sites=("main", "annex")), [0, 1, 2, 3]),
        (GalleryFilter(camera_ids=("gate",)), [0, 2]),
        (GalleryFilter(camera_ids=('it\'s "quoted"', "nowhere")), [3]),
        (GalleryFilter(model_digests=("new",)), [1, 2, 3]),
        (GalleryFilter(since_at=25.0), [1, 2, 3]),
        (GalleryFilter(until_at=30.0), [0, 1, 2]),
        (GalleryFilter(since_at=26.0, until_at=29.0), []),
        (GalleryFilter(("annex",), ("gate",), ("new",), 0.0, 99.0), [2]),
    ],
)
def test_only_rows_that_pass_the_filter_are_found(gallery: Gallery, only: GalleryFilter, expected: list[int]) -> None:
    gallery.add(rows(0, 1, 2, 3), axes(0, 1, 2, 3), FACTS)
    gallery.add(rows(9), axes(4))
    found, similarities = gallery.nearest(axes(0), 6, only)
    assert sorted(found[found >= 0].tolist()) == expected
    assert np.isneginf(similarities[found < 0]).all()


def test_a_filter_leaves_the_order_and_as_many_as_asked_for(gallery: Gallery) -> None:
    looks = np.stack([axes(0)[0], (0.8 * axes(0) + 0.6 * axes(1))[0], (0.6 * axes(0) + 0.8 * axes(1))[0], axes(1)[0]])
    gallery.add(rows(0, 1, 2, 3), looks, FACTS)
    assert gallery.nearest(axes(0), 2, GalleryFilter(model_digests=("new",)))[0].tolist() == [[1, 2]]


def test_facts_go_and_change_with_their_rows(gallery: Gallery) -> None:
    gallery.add(rows(0, 1, 2, 3), axes(0, 1, 2, 3), FACTS)
    annex = GalleryFilter(sites=("annex",))
    gallery.remove(rows(2))
    assert gallery.nearest(axes(2), 4, annex)[0].tolist() == [[3, -1, -1, -1]]
    gallery.add(rows(3, 0), axes(3, 0))
    gallery.add(rows(2), axes(2), GalleryFacts(["annex"], ["lift"], ["new"], np.array([1.0]), np.array([2.0])))
    assert gallery.nearest(axes(2), 4, annex)[0].tolist() == [[2, -1, -1, -1]]
    assert gallery.nearest(axes(2), 4, GalleryFilter(camera_ids=("lift",)))[0][0, 0] == 2


def test_what_was_removed_is_found_by_no_question(gallery: Gallery) -> None:
    rng = np.random.default_rng(4)
    looks = unit_vectors(rng, 300, DIMENSION)
    gallery.add(np.arange(300), looks)
    erased = rng.permutation(300)[:150]
    gallery.remove(erased)
    found, _ = gallery.nearest(looks[erased[:20]], 300)
    assert not np.isin(found, erased).any()
    assert sorted(found[0][found[0] >= 0].tolist()) == sorted(set(range(300)) - set(erased.tolist()))


def test_one_that_is_opened_again_is_empty_and_built_anew_answers_as_before(open_one: Open) -> None:
    rng = np.random.default_rng(6)
    looks, questions = unit_vectors(rng, 200, DIMENSION), unit_vectors(rng, 5, DIMENSION)
    first = open_one()
    first.add(np.arange(200), looks)
    before = first.nearest(questions, 7)
    again = open_one()
    assert len(again) == 0
    assert (again.nearest(questions, 7)[0] == -1).all()
    again.add(np.arange(200), looks)
    after = again.nearest(questions, 7)
    np.testing.assert_array_equal(before[0], after[0])
    np.testing.assert_allclose(before[1], after[1], atol=1e-6)


def test_an_unknown_kind_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ConfigurationError, match="auto, exact, faiss"):
        open_gallery("oracle", DIMENSION)


steps = st.lists(
    st.tuples(st.sampled_from(["add", "remove"]), st.lists(st.integers(0, 30), min_size=1, max_size=12)), max_size=8
)


@settings(max_examples=60, deadline=None)
@given(steps, st.integers(1, 40), st.integers(0, 2**32 - 1))
def test_galleries_in_memory_agree_after_any_history(
    history: list[tuple[str, list[int]]], top_k: int, seed: int
) -> None:
    check_agreement(FaissGallery(DIMENSION), history, top_k, seed)


@settings(max_examples=5, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps, st.integers(1, 40), st.integers(0, 2**32 - 1))
def test_milvus_agrees_after_any_history(
    milvus: Open, history: list[tuple[str, list[int]]], top_k: int, seed: int
) -> None:
    check_agreement(milvus(), history, top_k, seed)


def check_agreement(other: Gallery, history: list[tuple[str, list[int]]], top_k: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    exact = ExactGallery(DIMENSION)
    for step, numbers in history:
        vectors = unit_vectors(rng, len(numbers), DIMENSION)
        for gallery in (exact, other):
            if step == "add":
                gallery.add(rows(*numbers), vectors)
            else:
                gallery.remove(rows(*numbers))
    assert len(exact) == len(other)
    queries = unit_vectors(rng, 3, DIMENSION)
    exact_rows, exact_similarities = exact.nearest(queries, top_k)
    other_rows, other_similarities = other.nearest(queries, top_k)
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
