"""Which samples form a batch."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from itertools import islice

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from pipeline.errors import ConfigurationError
from reid_models.samplers import I64, camera_draws, domain_draws, identity_batches, identity_draws, pair_batches

some_labels = st.lists(st.integers(-1, 8), min_size=1, max_size=80)
seeds = st.integers(0, 2**31)


def generator(seed: int) -> np.random.Generator:
    return np.random.default_rng(seed)


def assert_holds(batch: I64, labels: I64, identities: int, images: int) -> None:
    counts = Counter(labels[batch].tolist())
    assert len(counts) == identities
    assert set(counts.values()) == {images}
    assert min(counts) >= 0


@settings(max_examples=60, deadline=None)
@given(some_labels, st.integers(1, 4), st.integers(1, 5), seeds)
def test_every_batch_of_an_epoch_holds_p_labels_with_k_samples_each(
    labels: list[int], p: int, k: int, seed: int
) -> None:
    array = np.array(labels)
    for batch in identity_batches(array, p, k, generator(seed)):
        assert_holds(batch, array, p, k)


def test_an_epoch_shows_nearly_every_image_of_equal_identities_once() -> None:
    labels = np.repeat(np.arange(32), 8)
    seen = Counter(np.concatenate(list(identity_batches(labels, 8, 4, generator(0)))).tolist())
    assert max(seen.values()) == 1
    assert len(seen) >= 0.85 * len(labels)


@settings(max_examples=60, deadline=None)
@given(some_labels, st.integers(1, 4), st.integers(1, 5), st.integers(0, 9), seeds)
def test_draws_are_as_many_as_asked_for_with_p_labels_and_k_samples_each(
    labels: list[int], p: int, k: int, batches: int, seed: int
) -> None:
    array = np.array(labels)
    assume(len(set(labels) - {-1}) >= p)
    drawn = list(identity_draws(array, p, k, batches, generator(seed)))
    assert len(drawn) == batches
    for batch in drawn:
        assert_holds(batch, array, p, k)


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 9), st.integers(1, 9), seeds)
def test_every_label_is_drawn_once_before_any_is_drawn_again(count: int, p: int, seed: int) -> None:
    assume(p <= count)
    labels = np.arange(count)
    drawn = np.concatenate(list(identity_draws(labels, p, 1, 3 * count, generator(seed))))
    for turn in drawn.reshape(-1, count):
        assert sorted(turn.tolist()) == list(range(count))


def test_a_label_with_too_few_samples_repeats_them_evenly() -> None:
    labels = np.array([0, 0, 0, 1, -1])
    for batch in identity_draws(labels, 2, 8, 5, generator(1)):
        counts = Counter(batch.tolist())
        assert counts[3] == 8
        assert sorted(counts[place] for place in range(3)) == [2, 3, 3]


def test_a_label_with_enough_samples_shows_none_twice_in_a_batch() -> None:
    labels = np.repeat(np.arange(3), 5)
    for batch in identity_draws(labels, 2, 5, 20, generator(2)):
        assert len(set(batch.tolist())) == 10


def test_draws_reach_every_sample_and_begin_differently_in_every_round() -> None:
    labels = np.repeat(np.arange(4), 6)
    drawn = list(identity_draws(labels, 2, 2, 200, generator(3)))
    assert set(np.concatenate(drawn).tolist()) == set(range(24))
    assert {int(labels[batch[0]]) for batch in drawn} == {0, 1, 2, 3}


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(-1, 5), st.integers(0, 2)), min_size=1, max_size=60), st.integers(1, 4), seeds)
def test_a_batch_within_one_camera_holds_one_camera(samples: list[tuple[int, int]], p: int, seed: int) -> None:
    labels, cameras = (np.array(column) for column in zip(*samples, strict=True))
    assume((labels >= 0).any())
    for batch in camera_draws(labels, cameras, p, 2, 9, generator(seed)):
        (camera,) = set(cameras[batch].tolist())
        available = len(set(labels[(cameras == camera) & (labels >= 0)].tolist()))
        assert_holds(batch, labels, min(p, available), 2)


def test_every_camera_gives_a_batch_before_any_gives_another() -> None:
    cameras = np.repeat(np.arange(4), 5)
    labels = np.arange(20)
    drawn = [int(cameras[batch[0]]) for batch in camera_draws(labels, cameras, 2, 1, 12, generator(4))]
    for turn in np.array(drawn).reshape(-1, 4):
        assert sorted(turn.tolist()) == [0, 1, 2, 3]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(2, 9), min_size=1, max_size=4), st.integers(1, 2), seeds)
def test_a_batch_over_domains_holds_as_many_identities_of_each(sizes: list[int], share: int, seed: int) -> None:
    domain_of_label = np.repeat(np.arange(len(sizes)), sizes)
    labels = np.append(np.repeat(np.arange(sum(sizes)), 3), -1)
    domains = np.append(np.repeat(domain_of_label, 3), 0)
    for batch in domain_draws(labels, domains, share * len(sizes), 2, 6, generator(seed)):
        assert_holds(batch, labels, share * len(sizes), 2)
        counts = Counter(domain_of_label[np.unique(labels[batch])].tolist())
        assert counts == dict.fromkeys(range(len(sizes)), share)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 50), st.integers(1, 12), seeds)
def test_an_epoch_of_pairs_shows_each_once(count: int, size: int, seed: int) -> None:
    batches = list(pair_batches(count, size, generator(seed)))
    assert sorted(int(place) for batch in batches for place in batch) == list(range(count))
    assert all(len(batch) == size for batch in batches[:-1])


LABELS = np.repeat(np.arange(6), 5)
GROUPS = np.repeat(np.arange(2), 15)
SAMPLERS: dict[str, Callable[[np.random.Generator], Iterator[I64]]] = {
    "identity_batches": lambda rng: identity_batches(LABELS, 2, 2, rng),
    "identity_draws": lambda rng: identity_draws(LABELS, 2, 2, 6, rng),
    "camera_draws": lambda rng: camera_draws(LABELS, GROUPS, 2, 2, 6, rng),
    "domain_draws": lambda rng: domain_draws(LABELS, GROUPS, 4, 2, 6, rng),
    "pair_batches": lambda rng: pair_batches(30, 5, rng),
}


@pytest.mark.parametrize("name", SAMPLERS)
def test_one_seed_gives_one_order_and_another_seed_another(name: str) -> None:
    first, again, other = (np.stack(list(islice(SAMPLERS[name](generator(seed)), 5))) for seed in (4, 4, 5))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


OUTLIERS = np.full(4, -1)


@pytest.mark.parametrize(
    ("draws", "found"),
    [
        (identity_draws(np.array([0, 0, 1, -1]), 3, 2, 1, generator(0)), "only 2"),
        (camera_draws(OUTLIERS, np.zeros(4, np.int64), 2, 2, 1, generator(0)), "none of 4 samples has a label"),
        (domain_draws(OUTLIERS, np.zeros(4, np.int64), 2, 2, 1, generator(0)), "none of 4 samples has a label"),
        (domain_draws(LABELS, GROUPS, 3, 2, 1, generator(0)), "3 identities per batch cannot be shared equally by 2"),
        (domain_draws(LABELS, GROUPS, 8, 2, 1, generator(0)), "4 labels per batch were asked for"),
    ],
)
def test_batches_that_cannot_be_filled_are_refused_with_what_was_found(draws: Iterator[I64], found: str) -> None:
    with pytest.raises(ConfigurationError, match=found):
        next(draws)
