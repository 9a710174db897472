"""The short list: exact while it is long enough, near to exact beyond, and right after every change."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from pipeline.adapters.half_means import HalfMeans
from pipeline.contracts import CameraId, GlobalId, TrackletId
from pipeline.search import crowd as crowd_module
from pipeline.search.crowd import Crowd, Means
from pipeline.search.query import Ask, Calibration, Filters, Rows, rank
from pipeline.search.text_calibration import TextCalibration
from tests.fakes import unit_vectors

CURVE = TextCalibration(slope=20.0, intercept=-10.0, per_word=0.0, thing_slope=20.0, thing_intercept=0.0, least=0.7)
LOOKS = Calibration(slope=10.0, intercept=-5.0, threshold=0.5)
DIMENSION = 16


def archive(people: int, each: int, seed: int = 1) -> Rows:
    """`people` who look like themselves, seen `each` times one after the other before two cameras in turn."""
    rng = np.random.default_rng(seed)
    owners = np.tile(np.arange(people), each)
    looks = unit_vectors(rng, people, DIMENSION)[owners] + 0.15 * rng.standard_normal((people * each, DIMENSION))
    count = len(owners)
    return Rows(
        vectors=(looks / np.linalg.norm(looks, axis=1, keepdims=True)).astype(np.float32),
        global_ids=owners + 1,
        cameras=np.arange(count) % 2,
        started_at=np.arange(count, dtype=np.float64),
        ended_at=np.arange(count) + 1.0,
        tracklet_ids=[TrackletId(f"t{place}") for place in range(count)],
        camera_ids=(CameraId("gate"), CameraId("hall")),
    )


MEANS = [lambda: None, HalfMeans]


def crowd_of(rows: Rows, means: Callable[[], Means | None] = MEANS[0]) -> tuple[Crowd, np.ndarray]:
    crowd = Crowd(means())
    middle = len(rows) // 3
    owners = [
        crowd.add(part.start, rows.global_ids[part], rows.vectors[part], rows.ended_at[part] - rows.started_at[part])
        for part in (slice(0, middle), slice(middle, len(rows)))
    ]
    return crowd, np.concatenate(owners)


ASKS = [
    Filters(),
    Filters(camera_ids=frozenset({CameraId("hall")})),
    Filters(since_at=40.0, until_at=160.0),
    Filters(shortest_s=3.0),
    Filters(since_at=1e9),
]


@pytest.mark.parametrize("longest", [3, 1000])
@pytest.mark.parametrize("filters", ASKS)
def test_where_everybody_fits_into_the_short_list_the_answer_is_that_of_all_rows(
    filters: Filters, longest: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(crowd_module, "_LONG", longest)
    rows = archive(60, 5)
    crowd, owners = crowd_of(rows)
    query, thing = unit_vectors(np.random.default_rng(9), 2, DIMENSION)
    asks = [Ask.alike(query, filters, LOOKS), Ask(query, thing[None], filters, CURVE)]
    for ask, (chosen, candidates) in zip(asks, crowd.near(asks, rows, owners), strict=True):
        exact = rank(ask, rows)
        assert rank(ask, rows, chosen) == exact
        assert candidates == len(exact.candidates)


@pytest.mark.parametrize("means", MEANS)
def test_of_many_the_short_list_holds_whom_all_rows_would_name_first(
    means: Callable[[], Means | None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(crowd_module, "SHORT_LIST", 40)
    rows = archive(600, 4)
    crowd, owners = crowd_of(rows, means)
    rng = np.random.default_rng(5)
    asks = [Ask(query, unit_vectors(rng, 1, DIMENSION), Filters(), CURVE) for query in rows.vectors[:30]]
    for ask, (chosen, candidates) in zip(asks, crowd.near(asks, rows, owners), strict=True):
        listed, exact = rank(ask, rows, chosen).candidates, rank(ask, rows, most=5).candidates
        assert listed[:5] == exact
        assert (len(listed), candidates) == (40, 600)


def test_a_row_that_moves_is_found_with_its_new_owner() -> None:
    rows = archive(3, 4)
    crowd, owners = crowd_of(rows)
    for row in np.flatnonzero(rows.global_ids == 2).tolist():
        owners[row] = crowd.move(row, int(owners[row]), 7, rows.vectors[row], 1.0)
    moved = replace(rows, global_ids=np.where(rows.global_ids == 2, 7, rows.global_ids))
    ask = Ask.alike(rows.vectors[1], Filters(), LOOKS)
    [(chosen, candidates)] = crowd.near([ask], moved, owners)
    assert candidates == 3
    assert rank(ask, moved, chosen) == rank(ask, moved)
    assert rank(ask, moved, chosen).candidates[0].global_id == GlobalId(7)


@pytest.mark.parametrize("means", MEANS)
def test_rough_products_are_those_with_the_means_after_every_change(means: Callable[[], Means | None]) -> None:
    rows = archive(40, 6)
    crowd, owners = crowd_of(rows, means)
    for row in range(5, 60, 3):
        owners[row] = crowd.move(row, int(owners[row]), 100 + row % 4, rows.vectors[row], 1.0)
    kept = np.flatnonzero(np.arange(len(rows)) % 5 > 0)
    owners = crowd.keep(kept, owners, rows.vectors[kept].astype(np.float16), np.ones(len(kept)))
    late = crowd.add(len(kept), np.array([500, 500]), rows.vectors[:2], np.ones(2))
    owners, vectors = np.concatenate([owners, late]), np.concatenate([rows.vectors[kept], rows.vectors[:2]])
    means_of = np.stack([vectors[owners == place].mean(axis=0) for place in range(owners.max() + 1)])
    terms = unit_vectors(np.random.default_rng(3), 4, DIMENSION)
    np.testing.assert_allclose(crowd._products(terms), terms @ means_of.T, atol=0.02)


def test_nobody_is_near_in_an_empty_crowd() -> None:
    rows = archive(1, 1)
    [(chosen, candidates)] = Crowd().near([Ask.alike(rows.vectors[0], Filters(), LOOKS)], rows, np.zeros(0, np.int64))
    assert len(chosen) == candidates == 0
